"""Picture files to RGB pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ImageError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as uint8 RGB, shape (height_px, width_px, 3).

    EXIF orientation is applied; grey becomes three equal channels; alpha is dropped; 16 bits become 8;
    CMYK becomes RGB.

    Raises:
        ImageError: the file cannot be read or is not a picture.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"Cannot read the picture {path}: {error.strerror or error}.") from None
    return decode_rgb(data, str(path))


def decode_rgb(data: NDArray[np.uint8], source: str) -> NDArray[np.uint8]:
    """Decode the bytes of a picture file; `source` names it in errors. See `read_rgb`."""
    if not data.size:
        raise ImageError(f"{source} is empty: expected a JPEG, PNG, BMP or WebP picture.")
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{source} cannot be decoded: {' '.join(str(error).split())}.") from None
    if pixels is None:
        raise ImageError(f"{source} is not a picture or is damaged: expected JPEG, PNG, BMP or WebP.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
