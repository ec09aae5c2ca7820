"""A drawn scene for a machine with no camera: things that an ImageNet model knows, with their truth."""

from __future__ import annotations

import math
import random
import threading
import time
from typing import Callable, NamedTuple, Optional

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings, drawings
from edge.errors import CameraError
from edge.records import Frame

TURN_S = 4.0  # how long each thing is shown
_NOISE = 16  # levels from darkest to brightest speck
_SLACK_PX = 64  # the noise picture is so much larger than a frame; each frame takes another part of it
_MOST_PX = 4096


_Picture = NDArray[np.uint8]


class _Thing(NamedTuple):
    label: str
    """As the ImageNet label files have it."""
    begin: Callable[[], Callable[[float], _Picture]]
    """Draws what does not move; what it gives makes a picture (RGB, of the frame's size) of the seconds since the
    start. Called when the thing's turn begins, so that only one thing's pictures are in memory."""


class Scene:
    """Wall clock, traffic light, computer keyboard and crossword in turn, `TURN_S` each.

    Drawn when read, in the reader's thread: the frame that is due now, stamped when it is finished. So the number
    of a frame follows the clock and tells what a slow reader missed. Pixels depend on seed, number and frame
    rate alone, except for the hands of the clock, which show the local time.
    """

    live = True
    lost: Optional[str] = None

    def __init__(
        self,
        settings: CameraSettings,
        why: str = "",
        local_time: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        """Draw what does not move.

        Args:
            settings: size, rate and seed.
            why: what to add to the name, such as "no camera found".
            local_time: what the clock shows.

        Raises:
            CameraError: the size is not one that can be drawn.
        """
        height, width = settings.height_px, settings.width_px
        if not (32 <= height <= _MOST_PX and 32 <= width <= _MOST_PX):
            raise CameraError(f"The drawn scene cannot be {width}x{height}: expected 32 to {_MOST_PX} pixels a side.")
        self.name = f"drawn scene{f' ({why})' if why else ''}, {width}x{height} at {settings.fps:g} fps"
        self._size_px = (width, height)
        self._fps = settings.fps
        self._seed = settings.seed
        self._local_time = local_time
        self._things = (
            _Thing("wall clock", self._clock),
            _Thing("traffic light", self._traffic_light),
            _Thing("computer keyboard", lambda: _still(drawings.keyboard(height, width))),
            _Thing("crossword puzzle", lambda: _still(drawings.crossword(height, width, settings.seed))),
        )
        self._shown = 0
        self._draw = self._things[0].begin()
        rows, columns = height + _SLACK_PX, width + _SLACK_PX
        specks = np.frombuffer(random.Random(settings.seed).randbytes(rows * columns * 3), np.uint8)
        self._noise: _Picture = (specks % np.uint8(_NOISE + 1)).reshape(rows, columns, 3)
        self._closing = threading.Event()
        self._start_s = time.monotonic()
        self._sequence = -1

    @property
    def ended(self) -> bool:
        return self._closing.is_set()

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        now_s = time.monotonic()
        due_s = self._start_s + (self._sequence + 1) / self._fps
        if due_s > now_s:
            if self._closing.wait(min(timeout_s, due_s - now_s)):
                return None
            now_s = time.monotonic()
            if now_s < due_s:
                return None
        if self._closing.is_set():
            return None
        self._sequence = max(self._sequence + 1, int((now_s - self._start_s) * self._fps))
        pixels, label = self.draw(self._sequence)
        return Frame(pixels, self._sequence, time.monotonic_ns(), label)

    def close(self) -> None:
        self._closing.set()

    def draw(self, sequence: int) -> tuple[NDArray[np.uint8], str]:
        """The frame of a number, RGB of shape (height_px, width_px, 3), and what it shows."""
        at_s = sequence / self._fps
        index = int(at_s / TURN_S) % len(self._things)
        if index != self._shown:
            self._shown, self._draw = index, self._things[index].begin()
        chance = random.Random(self._seed * 1_000_003 + sequence)
        moved = cv2.warpAffine(
            self._draw(at_s), self._motion(at_s), self._size_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        top, left = chance.randrange(_SLACK_PX), chance.randrange(_SLACK_PX)
        noise = self._noise[top : top + self._size_px[1], left : left + self._size_px[0]]
        label = self._things[index].label
        return cv2.addWeighted(moved, 1.0, noise, 1.0, -_NOISE / 2, dst=moved).astype(np.uint8, copy=False), label

    def _clock(self) -> Callable[[float], _Picture]:
        face = drawings.clock_face(self._size_px[1], self._size_px[0])
        return lambda _: drawings.with_hands(face, self._local_time())

    def _traffic_light(self) -> Callable[[float], _Picture]:
        lights = drawings.traffic_lights(self._size_px[1], self._size_px[0])
        return lambda at_s: lights[int(at_s / 1.3) % len(lights)]

    def _motion(self, at_s: float) -> NDArray[np.float64]:
        """A hand-held camera's sway: a few degrees and a few hundredths of the frame, as a 2x3 affine matrix."""
        width, height = self._size_px
        phase = at_s + self._seed % 1000
        turn_deg = 2.0 * math.sin(0.9 * phase)
        zoom = 1.02 + 0.02 * math.sin(0.7 * phase + 1.0)
        matrix = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, zoom), np.float64)
        matrix[0, 2] += 0.012 * width * math.sin(1.1 * phase)
        matrix[1, 2] += 0.012 * height * math.sin(1.3 * phase + 2.0)
        return matrix


def _still(picture: _Picture) -> Callable[[float], _Picture]:
    return lambda _: picture
