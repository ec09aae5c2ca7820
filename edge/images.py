"""Picture files to RGB pixels."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ImageError

_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", 0)  # since OpenCV 4.11; saves a conversion and a copy
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_MOST_BYTES = 256 * 1024 * 1024  # far more than a picture has; a pipe may never end
_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_ALONE = frozenset(
    bytes([code]) for code in (0x01, *range(0xD0, 0xD8))
)  # JPEG markers without a length: TEM, RST0 to RST7 (ITU-T T.81, B.1)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a picture as uint8 RGB, shape (height_px, width_px, 3).

    EXIF orientation is applied; grey becomes three equal channels; alpha is dropped; 16 bits become 8;
    CMYK becomes RGB.

    A pipe, such as /dev/stdin, is read to its end.

    Raises:
        ImageError: the file cannot be read or is not a picture.
    """
    return decode_rgb(_content(path), path_text(path))


def decode_rgb(content: bytes, source: str) -> NDArray[np.uint8]:
    """Decode the bytes of a picture file; `source` names it in errors. See `read_rgb`."""
    if not content:
        raise ImageError(f"{source} is empty: expected a JPEG, PNG, BMP or WebP picture.")
    # Found here because OpenCV fills what a JPEG lacks with grey, and libpng writes of its own on stderr.
    if content.startswith(_JPEG_START) and _is_cut_short(content):
        raise ImageError(f"{source} is a truncated JPEG picture: copy it again.")
    if content.startswith(_PNG_START) and _is_broken(content):
        raise ImageError(f"{source} is a truncated or damaged PNG picture: copy it again.")
    silence_opencv()
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), _READ_RGB or cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{source} cannot be decoded: {' '.join(str(error).split())}.") from None
    if pixels is None:
        raise ImageError(f"{source} is not a picture or is damaged: expected JPEG, PNG, BMP or WebP.")
    rgb = pixels if _READ_RGB else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return rgb.astype(np.uint8, copy=False)


def silence_opencv() -> None:
    """Keep OpenCV's own messages off stderr, since each becomes an error of ours; OPENCV_LOG_LEVEL brings them back."""
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 4 has the function at the top, OpenCV 5 in `utils.logging`; 0 is silent in both.
        function = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        function(0)


def path_text(path: Path) -> str:
    """A path as text that can be shown and encoded, also when the file's name is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ImageError(f"{path_text(path)} is a device: expected a picture file or a pipe.")
        with path.open("rb") as file:  # a folder fails here, with the system's own words
            content = file.read(min(status.st_size or _MOST_BYTES, _MOST_BYTES) + 1)
    except OSError as error:
        raise ImageError(f"Cannot read the picture {path_text(path)}: {error.strerror or error}.") from None
    if len(content) > _MOST_BYTES:
        raise ImageError(f"{path_text(path)} is no picture: it holds more than {_MOST_BYTES >> 20} MB.")
    return content


def _is_cut_short(jpeg: bytes) -> bool:
    """Whether a JPEG lacks its end."""
    position = 2
    while jpeg[position : position + 1] == b"\xff":
        while jpeg[position + 1 : position + 2] == b"\xff":  # a marker may be filled up from the left
            position += 1
        marker, size = jpeg[position + 1 : position + 2], jpeg[position + 2 : position + 4]
        if marker in _ALONE:
            position += 2
            continue
        if len(size) < 2:
            return True
        if marker == b"\xda":  # start of scan: from here on the end marker can only be the end
            return jpeg.find(b"\xff\xd9", position) < 0
        position += 2 + int.from_bytes(size, "big")
    return position >= len(jpeg)


def _is_broken(png: bytes) -> bool:
    """Whether a PNG lacks its end, or a part that it cannot be decoded without has a wrong checksum."""
    view = memoryview(png)
    position = len(_PNG_START)
    while True:
        # size, kind, data, checksum of kind and data (PNG specification, 5.3)
        end = position + 12 + int.from_bytes(view[position : position + 4], "big")
        if end > len(png):
            return True
        kind = png[position + 4 : position + 8]
        if kind == b"IEND":
            return False
        critical = not kind[0] & 0x20  # a capital letter
        if critical and zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return True
        position = end
