"""Varied views of a picture for training: what a camera could have seen instead.

A view is drawn from the picture's content and the view's number alone, so that what a network makes of it can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError

Pixels = NDArray[np.uint8]

_LEAST_SIDE = 0.75  # of the picture that a crop keeps, each way: the subject usually stays inside
_MOST_COLOUR = 0.2  # brightness, contrast and saturation vary by this share


def flip(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Left and right exchanged, half of the time."""
    return np.ascontiguousarray(pixels[:, ::-1]) if random.random() < 0.5 else pixels


def crop(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A part of the picture with its own proportions, at least three quarters of each side."""
    share = random.uniform(_LEAST_SIDE, 1.0, 2)
    height, width = (max(1, round(size * part)) for size, part in zip(pixels.shape[:2], share))
    top, left = (int(random.integers(0, room + 1)) for room in (pixels.shape[0] - height, pixels.shape[1] - width))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def colour(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Brightness, contrast and saturation each changed by up to a fifth."""
    brightness, contrast, saturation = random.uniform(1 - _MOST_COLOUR, 1 + _MOST_COLOUR, 3)
    real = pixels.astype(np.float32)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    real = (grey + (real - grey) * saturation) * brightness
    mean = real.mean()
    changed: Pixels = np.clip(np.rint(mean + (real - mean) * contrast), 0, 255).astype(np.uint8)
    return changed


KINDS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {"flip": flip, "crop": crop, "colour": colour}


def check(kinds: Sequence[str]) -> None:
    """Refuse kinds that do not exist.

    Raises:
        ConfigError: there is no such kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"No augmentation {kind!r}: expected some of {', '.join(KINDS)}, with commas between.")


def view(pixels: Pixels, kinds: Sequence[str], number: int, sha256: str) -> Pixels:
    """A view of a picture.

    Args:
        pixels: uint8 RGB, shape (height_px, width_px, 3).
        kinds: names from `KINDS`.
        number: 0 is the picture as it is.
        sha256: of the picture's file, in hexadecimal; the random numbers begin from it and from `number`.
    """
    if number == 0:
        return pixels
    random = np.random.default_rng([number, int(sha256[:16], 16)])
    for kind in kinds:
        pixels = KINDS[kind](pixels, random)
    return pixels
