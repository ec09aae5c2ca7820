"""What the cameras that OpenCV reads have in common: settings of the process, and pixels as RGB."""

from __future__ import annotations

import math
import os
from typing import Optional

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.images import silence_opencv

_JPEG_START = b"\xff\xd8"
_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 2: cv2.COLOR_YUV2RGB_YUY2, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def to_rgb(image: cv2.typing.MatLike, name: str, size_px: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """What a driver gave, as RGB of shape (height_px, width_px, 3).

    Args:
        image: uint8; BGR, BGRA, grey, YUYV of shape (height, width, 2), or one row with a JPEG file or raw YUYV.
        name: the camera, for errors.
        size_px: (height, width) that the driver announced; for raw YUYV.

    Raises:
        CameraError: it is something else.
    """
    if image.dtype == np.uint8 and image.ndim in (2, 3) and image.size:
        channels = image.shape[2] if image.ndim == 3 else 1
        result: Optional[cv2.typing.MatLike] = None
        if image.shape[0] == 1 and channels == 1 and size_px[0] != 1:
            result = _unpack(image, size_px)
        elif channels in _TO_RGB:
            result = cv2.cvtColor(image, _TO_RGB[channels])
        if result is not None:
            return result.astype(np.uint8, copy=False)
    raise CameraError(
        f"{name} gives raw data of shape {image.shape} and type {image.dtype} instead of pictures: ask for "
        "another fourcc (MJPG or YUYV) or size.",
        "refused",
    )


def _unpack(row: cv2.typing.MatLike, size_px: tuple[int, int]) -> Optional[cv2.typing.MatLike]:
    """A driver's buffer that OpenCV did not convert; None when it cannot be told what it holds."""
    if row[0, :2].tobytes() == _JPEG_START:
        picture = cv2.imdecode(row, cv2.IMREAD_COLOR)
        return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    if row.size == size_px[0] * size_px[1] * 2:
        return cv2.cvtColor(row.reshape(*size_px, 2), cv2.COLOR_YUV2RGB_YUY2)
    return None


def prepare(stall_s: float) -> None:
    """Settings of OpenCV that hold for the process; what the user set in the environment stays.

    Its complaints are silenced because each becomes a `CameraError`; a V4L2 read waits for a frame as long as
    `stall_s`, not 10 s; RTSP comes through TCP where the camera offers it, since UDP loses parts of frames and
    OpenCV 4.11 began with it (5.0 begins with TCP). OpenCV reads the variables when the first capture of a kind
    is opened or read.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(stall_s)))
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;prefer_tcp")
    silence_opencv()


def fourcc_number(name: str) -> int:
    """A format's four letters as the number that V4L2 and OpenCV use."""
    return int.from_bytes(name.encode("ascii"), "little")


def fourcc_name(number: int) -> str:
    """The four letters of a format's number."""
    name = number.to_bytes(4, "little", signed=number < 0).decode("ascii", "replace").strip("\0 ")
    return name or "unknown format"
