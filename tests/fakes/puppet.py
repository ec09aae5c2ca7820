"""A camera on strings: a thread fills the real newest-frame slot with coloured pictures, and a test breaks it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple, Optional

import numpy as np

from edge.cameras import CameraSettings
from edge.cameras.newest import LiveCamera, NewestFrame, Shot
from edge.errors import CameraError

HEIGHT, WIDTH = 48, 64
COLOURS = {"red": (225, 20, 20), "green": (20, 225, 20), "blue": (20, 20, 225)}
_NOISY_ROWS = 4


class Given(NamedTuple):
    """A picture that the puppet gave."""

    captured_ns: int
    colour: Optional[str]
    """None: black or white."""


class Strings:
    """What all puppets of a test hang on."""

    def __init__(self, period_s: float, seed: int) -> None:
        self.period_s = period_s
        self.fault: Optional[str] = None
        """stalled, read error, gone, frozen, dark, saturated or slow."""
        self.absent = self.refused = 0
        """So many attempts to open it fail: it is not there; it is not ours."""
        self.release_s = 0.0
        """It takes so long to be closed."""
        self.given: deque[Given] = deque(maxlen=100_000)
        self.pictures = 0
        self.random = np.random.default_rng(seed)


class Puppet(LiveCamera):
    """A row for `edge.cameras.CAMERAS`, made by `functools.partial(Puppet, strings)`."""

    def __init__(self, strings: Strings, settings: CameraSettings) -> None:
        self._strings = strings
        if strings.absent:
            strings.absent -= 1
            raise CameraError("The puppet is not there.", "gone")
        if strings.refused:
            strings.refused -= 1
            raise CameraError("The puppet is not ours.", "refused")
        self.name = f"puppet {settings.source}"
        self.again = lambda before: before
        self._shown = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        self._colour: Optional[str] = None
        self._slot = NewestFrame(self, self.name, settings.stall_s)
        self._slot.wait_first()

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        strings = self._strings
        closing.wait(0.05 if strings.fault == "slow" else strings.period_s)
        while strings.fault == "stalled":
            if closing.wait(0.01):
                return None
        if strings.fault == "read error":
            raise RuntimeError("the puppet's driver failed")
        if strings.fault == "gone":
            raise CameraError("The puppet is gone.", "gone")
        if strings.fault != "frozen":
            self._show()
        captured_ns = time.monotonic_ns()
        strings.given.append(Given(captured_ns, self._colour))
        return Shot(self._shown.copy(), captured_ns)

    def release(self) -> None:
        time.sleep(self._strings.release_s)

    def _show(self) -> None:
        strings = self._strings
        strings.pictures += 1
        if strings.fault in ("dark", "saturated"):
            self._colour = None
            self._shown[:] = 2 if strings.fault == "dark" else 254
            return
        self._colour = list(COLOURS)[strings.pictures % 3]
        self._shown[:] = COLOURS[self._colour]
        noise = strings.random.bytes(_NOISY_ROWS * WIDTH * 3)
        self._shown[:_NOISY_ROWS] = np.frombuffer(noise, np.uint8).reshape(_NOISY_ROWS, WIDTH, 3)
