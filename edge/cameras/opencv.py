"""Cameras that OpenCV reads: a V4L2 device such as a USB camera, a network stream, a video file."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings, v4l2
from edge.cameras.newest import NewestFrame, Shot
from edge.errors import CameraError
from edge.records import Frame

_RETRY_S = 0.02
_PLAUSIBLE_NS = 1_000_000_000  # how old a driver's time stamp may be to be believed
_BUFFERS = 2  # the driver fills one while the other is read; more would only make frames older
_JPEG_START = b"\xff\xd8"


class Device:
    """A V4L2 camera. The first frame is waited for when it is opened, so that what opens also works."""

    live = True

    def __init__(self, settings: CameraSettings) -> None:
        """Open the device, ask for format, size and rate, and wait for a frame.

        Raises:
            CameraError: it is not there, is no camera, is not ours to open, or gives no picture.
        """
        source = settings.source
        self._path = f"/dev/video{int(source)}" if source.isdecimal() else source
        card = v4l2.require_camera(self._path)
        _prepare(settings.stall_s)
        self._capture = cv2.VideoCapture(self._path, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(f"{self._path} ({card}) cannot be opened: another program may be using it.")
        asked = (settings.fourcc.upper(), settings.width_px, settings.height_px, settings.fps)
        # The format comes first: a driver limits sizes by format and rates by size.
        self._capture.set(cv2.CAP_PROP_FOURCC, float(_fourcc_number(asked[0])))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, float(settings.width_px))
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, float(settings.height_px))
        self._capture.set(cv2.CAP_PROP_FPS, settings.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, float(_BUFFERS))
        self._size_px = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        )
        fourcc = _fourcc_name(int(self._capture.get(cv2.CAP_PROP_FOURCC)))
        got = (fourcc, self._size_px[1], self._size_px[0], self._capture.get(cv2.CAP_PROP_FPS))
        self.name = f"V4L2 camera {self._path} ({card}), {_mode(got)}"
        if got[:3] != asked[:3] or abs(got[3] - asked[3]) > 0.5:
            self.name += f" (asked for {_mode(asked)})"
        self._slot = NewestFrame(self, self.name, settings.stall_s)
        self._slot.wait_first()

    @property
    def ended(self) -> bool:
        return self._slot.ended

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        return self._slot.read(timeout_s)

    def close(self) -> None:
        self._slot.close()

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        """The slot's source: see `newest.Source`."""
        while True:
            given, image = self._capture.read()
            if given:
                now_ns = time.monotonic_ns()
                return Shot(to_rgb(image, self.name, self._size_px), self._captured_ns(now_ns))
            if not os.path.exists(self._path):
                raise CameraError(f"{self.name} is gone: it was unplugged or reset itself.")
            # One broken JPEG or one time-out is no end: the slot tells when it lasts.
            if closing.wait(_RETRY_S):
                return None

    def release(self) -> None:
        """The slot's source: see `newest.Source`."""
        self._capture.release()

    def _captured_ns(self, now_ns: int) -> int:
        """The driver's time stamp, where it is one of the monotonic clock; else now."""
        stamp_ns = int(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamp_ns if 0 <= now_ns - stamp_ns <= _PLAUSIBLE_NS else now_ns


class Stream:
    """An RTSP or HTTP address, read as it comes; the newest frame wins."""

    live = True

    def __init__(self, settings: CameraSettings) -> None:
        """Connect and wait for a frame.

        Raises:
            CameraError: nothing answers there, or it gives no picture.
        """
        self.name = f"stream {without_password(settings.source)}"
        _prepare(settings.stall_s)
        timeout_ms = math.ceil(settings.stall_s * 1000)
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        self._capture = cv2.VideoCapture(settings.source, cv2.CAP_FFMPEG, options)
        if not self._capture.isOpened():
            raise CameraError(
                f"The {self.name} cannot be opened within {settings.stall_s:g} s: check the address, the network "
                "and the password, and that it is a video."
            )
        self._finite = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        width, height = (int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.name += f", {width}x{height}"
        # FFmpeg's own time-out ends a read that waits; the slot is a little more patient, so that its reason is told.
        self._slot = NewestFrame(self, self.name, settings.stall_s * 1.5)
        self._slot.wait_first()

    @property
    def ended(self) -> bool:
        return self._slot.ended

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        return self._slot.read(timeout_s)

    def close(self) -> None:
        self._slot.close()

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        """The slot's source: see `newest.Source`."""
        given, image = self._capture.read()
        if given:
            return Shot(to_rgb(image, self.name), time.monotonic_ns())
        if self._finite or closing.is_set():
            return None
        raise CameraError(f"The {self.name} gives no more frames: it ended, or the network was lost.")

    def release(self) -> None:
        """The slot's source: see `newest.Source`."""
        self._capture.release()


class _File:
    """A video file's frames in order, from the start again when it loops."""

    def __init__(self, settings: CameraSettings) -> None:
        self.path = Path(settings.source).expanduser()
        self._loop = settings.loop
        self._capture = self._open()
        self._in_pass = 0
        self.frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        size = tuple(int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.mode = f"{size[0]}x{size[1]}"
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 0 < rate < 1000 else settings.fps

    def _open(self) -> cv2.VideoCapture:
        try:
            with self.path.open("rb"):
                pass
        except OSError as error:
            raise CameraError(f"Cannot read the video {self.path}: {error.strerror or error}.") from None
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise CameraError(f"{self.path} is not a video that OpenCV can read, or is damaged.")
        return capture

    def advance(self) -> bool:
        """Go to the next frame; False at the end."""
        while not self._capture.grab():
            if not self._in_pass:
                raise CameraError(f"{self.path} holds no frame that can be decoded: it is damaged, or has no picture.")
            if not self._loop:
                return False
            # Opened anew: seeking to the start is not exact with every container.
            self.release()
            self._capture, self._in_pass = self._open(), 0
        self._in_pass += 1
        return True

    def pixels(self) -> NDArray[np.uint8]:
        """The frame that `advance` went to, shape (height_px, width_px, 3), RGB."""
        given, image = self._capture.retrieve()
        if not given:
            raise CameraError(f"{self.path}: frame {self._in_pass - 1} cannot be decoded.")
        return to_rgb(image, str(self.path))

    def release(self) -> None:
        self._capture.release()


class _Playback:
    """A video file at its own rate; what comes too late is passed over. A source for the slot."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self._start_s: Optional[float] = None
        self._index = -1

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        step = 0
        while True:
            if not self._file.advance():
                return None
            step += 1
            self._index += 1
            if self._start_s is None:
                self._start_s = time.monotonic()
            early_s = self._start_s + self._index / self._file.fps - time.monotonic()
            if early_s > -1 / self._file.fps:
                break
        pixels = self._file.pixels()
        if closing.wait(max(0.0, early_s)):
            return None
        return Shot(pixels, time.monotonic_ns(), step)

    def release(self) -> None:
        self._file.release()


class Video:
    """A video file: every frame in order as fast as they are read, or (`realtime`) as a camera would give them."""

    def __init__(self, settings: CameraSettings) -> None:
        """Open the file.

        Raises:
            CameraError: it cannot be read or is not a video.
        """
        _prepare(settings.stall_s)
        self._file = _File(settings)
        frames = f", {self._file.frames} frames" if self._file.frames > 0 else ""
        self.name = f"video {self._file.path}, {self._file.mode} at {self._file.fps:g} fps{frames}"
        self.live = settings.realtime
        self._lock = threading.Lock()
        self._ended = False
        self._sequence = 0
        self._slot: Optional[NewestFrame] = None
        if settings.realtime:
            self._slot = NewestFrame(_Playback(self._file), self.name, settings.stall_s)

    @property
    def ended(self) -> bool:
        return self._slot.ended if self._slot else self._ended

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        if self._slot:
            return self._slot.read(timeout_s)
        with self._lock:  # OpenCV crashes when a capture is released while it is read
            if self._ended or not self._file.advance():
                self._ended = True
                return None
            frame = Frame(self._file.pixels(), self._sequence, time.monotonic_ns())
            self._sequence += 1
            return frame

    def close(self) -> None:
        if self._slot:
            self._slot.close()
            return
        with self._lock:
            self._ended = True
            self._file.release()


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
        "another fourcc (MJPG or YUYV) or size."
    )


_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 2: cv2.COLOR_YUV2RGB_YUY2, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


def _unpack(row: cv2.typing.MatLike, size_px: tuple[int, int]) -> Optional[cv2.typing.MatLike]:
    """A driver's buffer that OpenCV did not convert; None when it cannot be told what it holds."""
    if row[0, :2].tobytes() == _JPEG_START:
        picture = cv2.imdecode(row, cv2.IMREAD_COLOR)
        return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    if row.size == size_px[0] * size_px[1] * 2:
        return cv2.cvtColor(row.reshape(*size_px, 2), cv2.COLOR_YUV2RGB_YUY2)
    return None


def without_password(address: str) -> str:
    """An address that may be shown: names end up in logs and on pages."""
    parts = urlsplit(address)
    if parts.password is None:
        return address
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))


def _prepare(stall_s: float) -> None:
    """Settings of OpenCV that hold for the process; what the user set in the environment stays.

    Its complaints are silenced because each becomes a `CameraError`; and a V4L2 read waits for a frame as long
    as `stall_s`, not 10 s. OpenCV reads the variables when the first capture of a kind is opened or read.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(stall_s)))
    if "OPENCV_LOG_LEVEL" not in os.environ:
        _set_log_level(0)


def _set_log_level(level: int) -> None:
    """OpenCV 4 has the function at the top, OpenCV 5 in `utils.logging`; 0 is silent in both."""
    function = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    function(level)


def _fourcc_number(name: str) -> int:
    return int.from_bytes(name.encode("ascii"), "little")


def _fourcc_name(number: int) -> str:
    name = number.to_bytes(4, "little", signed=number < 0).decode("ascii", "replace").strip("\0 ")
    return name or "unknown format"


def _mode(mode: tuple[str, int, int, float]) -> str:
    return f"{mode[1]}x{mode[2]} {mode[0]} at {mode[3]:g} fps"
