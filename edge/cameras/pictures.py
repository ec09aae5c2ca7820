"""What a camera's pictures tell of its health, from a few thousand of their points: frozen, dark, saturated."""

from __future__ import annotations

from typing import Literal, Optional

import numpy as np
from numpy.typing import NDArray

LIGHT_S = 10.0
"""So long must pictures be dark, saturated or neither before that is told."""
_ROWS, _COLUMNS = 48, 64  # that are looked at, about
_DARK, _BRIGHT = 16, 250  # levels of 255: darker and brighter than these, a picture shows nothing
_EXCEPTIONS = 0.01  # the share of points, such as hot pixels, that may be otherwise

Light = Literal["dark", "saturated"]


def coarse(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Some points, each of one colour, of all three colours in turn, shape (rows, columns).

    Args:
        pixels: shape (height_px, width_px, 3).
    """
    height, width, channels = pixels.shape
    step = max(1, width * channels // _COLUMNS)
    if step > 1 and step % channels == 0:  # else all would be of the same colour
        step += 1
    return np.ascontiguousarray(pixels.reshape(height, -1)[:: max(1, height // _ROWS), ::step])


def light(points: NDArray[np.uint8]) -> Optional[Light]:
    """Whether a picture is black or fully saturated; None for all others."""
    exceptions = points.size * _EXCEPTIONS
    if np.count_nonzero(points > _DARK) <= exceptions:
        return "dark"
    return "saturated" if np.count_nonzero(points < _BRIGHT) <= exceptions else None


class Freeze:
    """Knows for how long a camera has given the very same picture."""

    def __init__(self) -> None:
        self._points: Optional[bytes] = None
        self._since_s = 0.0

    def see(self, points: NDArray[np.uint8], shown: Optional[Light], now_s: float) -> float:
        """How old, in seconds, the picture is that was seen now: 0.0 when it is another one than before.

        In the dark and in glare even an honest camera's pictures may be all the same: those are never old, and those
        before them are not forgotten.

        Args:
            points: of the picture, from `coarse`.
            shown: what `light` says of them.
            now_s: on any clock that goes forward.
        """
        if shown is not None:
            return 0.0
        seen = points.tobytes()
        if seen != self._points:
            self._points, self._since_s = seen, now_s
        return now_s - self._since_s


class Lighting:
    """Tells once when pictures have been dark or saturated for `LIGHT_S`, and once when they no more are."""

    def __init__(self) -> None:
        self._told: Optional[Light] = None
        self._seen: Optional[Light] = None
        self._since_s = 0.0

    def see(self, seen: Optional[Light], now_s: float) -> list[str]:
        """The events that a picture brings, of which `light` says `seen`: "camera dark", "camera dark over" and so on.

        Mostly none.
        """
        if seen != self._seen:
            self._seen, self._since_s = seen, now_s
        if seen == self._told or now_s - self._since_s < LIGHT_S:
            return []
        events = [f"camera {self._told} over"] if self._told else []
        if seen:
            events.append(f"camera {seen}")
        self._told = seen
        return events
