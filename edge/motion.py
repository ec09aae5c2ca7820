"""Lets only those pictures through that differ from the last one that was let through."""

from __future__ import annotations

from typing import Annotated, Optional

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

_COLUMNS, _ROWS = 32, 24
_ROWS_A_PART = 10
"""Of each part's rows so many are looked at: that is enough for noise to average out."""
_NOISE = 10.0
"""Levels of 255 by which the mean of a part differs at most without a change."""
_SHAKE = 0.15
"""Of the contrast with its neighbours: so much its mean differs when the camera shakes by a tenth of its width."""
_EXPOSURE = 1.25
"""A camera corrects its exposure by factors up to this; larger ones are light that went on or off."""


class MotionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as a change."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """Share of the picture that must have changed; something that moves must be about so large."""
    at_least_every_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 10.0
    """A picture is classified so often even when nothing moves."""


class Gate:
    """Compares pictures with the last one that passed: what changes slowly passes once it has changed enough.

    A picture is the mean brightness of 32 x 24 parts. A part has changed when it is brighter or darker than the old one
    by more than noise and a slight shake of the camera explain, and by more than they do after the whole old picture is
    made brighter or darker as exposure control may have done. That factor is the median, over the parts, of new to old
    brightness, which is right as long as less than half of the picture changes. Lamps on the mains that make bands of
    light wander through the picture are a change when the bands are deeper than about a twentieth.

    Source: R. J. Radke et al., "Image change detection algorithms: a systematic survey", IEEE Transactions on Image
    Processing 14 (3), 2005: simple differencing with a threshold after a global adjustment of intensity.
    """

    def __init__(self, settings: MotionSettings) -> None:
        """Let the first picture pass, whatever it is."""
        self._parts = settings.threshold * _COLUMNS * _ROWS
        self._longest_ns = round(settings.at_least_every_s * 1e9)
        self._passed_ns = 0
        self._old: Optional[NDArray[np.float32]] = None
        self._tolerated: NDArray[np.float32] = np.zeros(0, np.float32)

    def passes(self, pixels: NDArray[np.uint8], now_ns: int) -> bool:
        """Whether to classify a picture.

        Args:
            pixels: RGB, shape (height_px, width_px, 3).
            now_ns: when it was read, on the monotonic clock.
        """
        new = _coarse(pixels)
        if self._old is not None and now_ns - self._passed_ns < self._longest_ns and not self._differs(self._old, new):
            return False
        self._old, self._passed_ns = new, now_ns
        around = np.ones((3, 3), np.uint8)
        self._tolerated = _NOISE + _SHAKE * (cv2.dilate(new, around) - cv2.erode(new, around))
        return True

    def _differs(self, old: NDArray[np.float32], new: NDArray[np.float32]) -> bool:
        ratios = new / old
        middle = ratios.size // 2
        factor = float(np.partition(ratios, middle, axis=None)[middle])
        exposed = old * min(max(factor, 1 / _EXPOSURE), _EXPOSURE)
        # Between the two lies what is clipped, or corrected in part of the picture.
        above = new - np.maximum(old, exposed)
        below = np.minimum(old, exposed) - new
        return int(np.count_nonzero(np.maximum(above, below) > self._tolerated)) >= self._parts


def _coarse(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean brightness of the parts, at least 1."""
    every = max(1, pixels.shape[0] // (_ROWS * _ROWS_A_PART))
    means = cv2.resize(pixels[::every], (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    grey: NDArray[np.float32] = cv2.cvtColor(means, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.maximum(grey, 1.0, out=grey)
