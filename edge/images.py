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
    if _is_cut_short(data):
        raise ImageError(f"{source} is a truncated JPEG picture: copy it again.")
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{source} cannot be decoded: {' '.join(str(error).split())}.") from None
    if pixels is None:
        raise ImageError(f"{source} is not a picture or is damaged: expected JPEG, PNG, BMP or WebP.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _is_cut_short(data: NDArray[np.uint8]) -> bool:
    """Whether a JPEG lacks its end: OpenCV would fill the missing part with grey and say nothing."""
    content = data.tobytes()
    if not content.startswith(b"\xff\xd8\xff"):
        return False
    position = 2
    while content[position : position + 1] == b"\xff":
        marker = content[position + 1 : position + 2]
        if marker == b"\xda":  # start of scan: from here on the end marker can only be the end
            return content.find(b"\xff\xd9", position) < 0
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return position >= len(content)
