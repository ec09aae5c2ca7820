"""Parts of the picture that nobody is to see: blacked out before anything is stored or shown."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

from edge.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BEFORE_AT = re.compile(r"(\w://)((?:[^\s:/@]*:)?)\S+@")
_NAMED = re.compile(r"((?:pass\w*|pwd|token|key)=)[^&\s\"']+", re.IGNORECASE)
Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in fractions of the picture."""


class PrivacySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is blacked out in every picture that is stored or shown; the model sees all of it."""

    mask: tuple[Rectangle, ...] = ()
    """Rectangles: left, top, right, bottom in fractions of the picture, 0 to 1."""

    def __post_init__(self) -> None:
        impossible = [
            f"privacy.mask[{index}] is [{left:g}, {top:g}, {right:g}, {bottom:g}]: expected left, top, right, "
            "bottom in fractions of the picture, 0 to 1, with left < right and top < bottom."
            for index, (left, top, right, bottom) in enumerate(self.mask)
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1)  # so written, it refuses what is no number
        ]
        if impossible:
            raise ConfigError(*impossible)


def without_passwords(text: str) -> str:
    """A text, such as an address, without what looks like a password in it.

    That is all between :// and the last @ (a password may hold an @ or a slash), and what follows `pass…=`, `pwd=`,
    `token=` or `key=`, as cameras' addresses have it.
    """
    return _NAMED.sub(r"\1***", _BEFORE_AT.sub(r"\1\2***@", text))


def black_out(pixels: NDArray[np.uint8], mask: tuple[Rectangle, ...]) -> None:
    """Black out rectangles in place; every pixel that one touches is black.

    Args:
        pixels: shape (height_px, width_px, channels); a copy, as the frame itself belongs to others too. It may be a
            smaller copy of the frame, if each of its pixels is a mean of only those that it covers.
        mask: as in `PrivacySettings`.
    """
    height_px, width_px = pixels.shape[:2]
    for left, top, right, bottom in mask:
        rows = slice(math.floor(top * height_px), math.ceil(bottom * height_px))
        columns = slice(math.floor(left * width_px), math.ceil(right * width_px))
        pixels[rows, columns] = 0
