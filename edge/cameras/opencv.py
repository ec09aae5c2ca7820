"""Live cameras that OpenCV reads: a V4L2 device such as a USB camera, and a network stream."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from typing import Callable, Optional
from urllib.parse import quote, urlsplit

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings, local_path, v4l2
from edge.cameras.captures import fourcc_name, fourcc_number, prepare, to_rgb
from edge.cameras.newest import LiveCamera, NewestFrame, Shot, patience_s
from edge.errors import CameraError
from edge.privacy import without_passwords

_RETRY_S = 0.02
_MOST_FAILURES = 50  # reads or pictures, one after the other: about a second when the driver refuses at once
_PLAUSIBLE_NS = 1_000_000_000  # how old a driver's time stamp may be to be believed
_LONGEST_PASSWORD_BYTES = 1024
_ABOUT = 0.9  # FFmpeg's time-outs may end a little early
_JPEG = ("MJPG", "JPEG")
_BUFFERS = 2  # the driver fills one while the other is read; more would only make frames older


class Device(LiveCamera):
    """A V4L2 camera. The first frame is waited for when it is opened, so that what opens also works."""

    def __init__(self, settings: CameraSettings) -> None:
        """Open the device, ask for format, size and rate, and wait for a frame.

        Raises:
            CameraError: it is not there, is no camera, is not ours to open, or gives no picture.
        """
        source = settings.source
        self._path = f"/dev/video{int(source)}" if source.isdecimal() else source
        node = v4l2.require_camera(self._path)
        self.again = _again(self._path, node)
        prepare(settings.stall_s)
        self._capture = cv2.VideoCapture(self._path, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise CameraError(
                f"{self._path} ({node.card}) cannot be opened: another program may be using it.", "refused"
            )
        asked = (settings.fourcc.upper(), settings.width_px, settings.height_px, settings.fps)
        # The format comes first: a driver limits sizes by format and rates by size.
        self._capture.set(cv2.CAP_PROP_FOURCC, float(fourcc_number(asked[0])))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, float(settings.width_px))
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, float(settings.height_px))
        self._capture.set(cv2.CAP_PROP_FPS, settings.fps)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, float(_BUFFERS))
        self._size_px = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        )
        fourcc = fourcc_name(int(self._capture.get(cv2.CAP_PROP_FOURCC)))
        # Told to decode JPEGs, OpenCV gives the picture before a broken one again, as if it were new.
        self._decodes = fourcc in _JPEG and self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0.0)
        self._is_bgr = fourcc == "BGR3"
        got = (fourcc, self._size_px[1], self._size_px[0], self._capture.get(cv2.CAP_PROP_FPS))
        self.name = f"V4L2 camera {self._path} ({node.card}), {_mode(got)}"
        if got[:3] != asked[:3] or abs(got[3] - asked[3]) > 0.5:
            self.name += f" (asked for {_mode(asked)})"
        self._broken = 0
        self._slot = NewestFrame(self, self.name, patience_s(settings.stall_s, got[3]))
        self._slot.wait_first()

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        """The slot's source: see `newest.Source`."""
        failures = 0
        while not self._capture.grab():
            if not os.path.exists(self._path):
                raise CameraError(f"{self.name} is gone: it was unplugged or reset itself.", "gone")
            # One time-out is no end: the slot tells when nothing comes, this when the driver refuses.
            failures += 1
            if failures > _MOST_FAILURES:
                raise CameraError(f"{self.name} gives nothing: {failures} reads failed.", "read error")
            if closing.wait(_RETRY_S):
                return None
        return Shot(self._pixels, self._captured_ns(time.monotonic_ns()))

    def _pixels(self) -> Optional[NDArray[np.uint8]]:
        given, image = self._capture.retrieve()
        if given and len(image) == 1:
            if self._decodes:
                decoded = cv2.imdecode(image, cv2.IMREAD_COLOR)
                given, image = decoded is not None, image if decoded is None else decoded
            elif self._is_bgr and image.size == self._size_px[0] * self._size_px[1] * 3:
                image = image.reshape(*self._size_px, 3)  # OpenCV 4 leaves it as it came
        if given:
            self._broken = 0
            return to_rgb(image, self.name, self._size_px)
        self._broken += 1  # one broken JPEG is no end either
        if self._broken > _MOST_FAILURES:
            raise CameraError(f"{self.name} gives what cannot be decoded: {self._broken} frames.", "read error")
        return None

    def release(self) -> None:
        """The slot's source: see `newest.Source`."""
        self._capture.release()

    def _captured_ns(self, now_ns: int) -> int:
        """The driver's time stamp, where it is one of the monotonic clock; else now."""
        stamp_ns = int(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamp_ns if 0 <= now_ns - stamp_ns <= _PLAUSIBLE_NS else now_ns


def _again(path: str, node: v4l2.Node) -> Callable[[CameraSettings], CameraSettings]:
    # Who named a link said how the camera is to be found.
    identity = None if os.path.islink(path) else v4l2.identify(path, node)

    def again(settings: CameraSettings) -> CameraSettings:
        source = v4l2.find(identity) if identity else path
        return msgspec.structs.replace(settings, source=source, isp_resize=False)

    return again


class Stream(LiveCamera):
    """An RTSP or HTTP address, read as it comes; the newest frame wins."""

    def __init__(self, settings: CameraSettings) -> None:
        """Connect and wait for a frame.

        Raises:
            CameraError: nothing answers there, or it gives no picture.
        """
        self.name = f"stream {without_password(settings.source)}"
        if not settings.source.isprintable():  # OpenCV crashes on text that is not Unicode
            raise CameraError(f"The address {without_password(settings.source)!r} holds what no address may.")
        address = _with_password(settings) if settings.password_file else settings.source
        prepare(settings.stall_s)
        self._stall_s = settings.stall_s
        timeout_ms = math.ceil(settings.stall_s * 1000)
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
        if not self._capture.isOpened():
            raise CameraError(
                f"The {self.name} cannot be opened: check the address, the network "
                "and the password, and that it is a video.",
                "gone",
            )
        self._finite = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        width, height = (int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width > 0 and height > 0:  # else it is not told before the first frame
            self.name += f", {width}x{height}"
        # FFmpeg's own time-out ends a read that waits; the slot is a little more patient, so that its reason is told.
        self.again = lambda settings: settings
        self._slot = NewestFrame(self, self.name, settings.stall_s * 1.5)
        self._slot.wait_first()

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        """The slot's source: see `newest.Source`."""
        began_s = time.monotonic()
        if self._capture.grab():
            return Shot(self._pixels, time.monotonic_ns())
        if self._finite or closing.is_set():
            return None
        timed_out = time.monotonic() - began_s >= self._stall_s * _ABOUT
        raise CameraError(
            f"The {self.name} gives no more frames: it ended, or the network was lost.",
            "stalled" if timed_out else "read error",
        )

    def _pixels(self) -> NDArray[np.uint8]:
        given, image = self._capture.retrieve()
        if not given:
            raise CameraError(f"The {self.name} gives what cannot be decoded.", "read error")
        return to_rgb(image, self.name)

    def release(self) -> None:
        """The slot's source: see `newest.Source`."""
        self._capture.release()


def without_password(address: str) -> str:
    """An address that may be shown: names end up in logs and on pages.

    Raises:
        CameraError: it is no address.
    """
    shown = without_passwords(address)
    try:
        urlsplit(address)
    except ValueError:  # whose words may hold the password
        raise CameraError(f"{shown!r} is no address: expected one like rtsp://camera/stream.") from None
    return shown


def _with_password(settings: CameraSettings) -> str:
    """The address with the password from its file, for opening it and nothing else."""
    path, shown = settings.password_file or "", without_passwords(settings.source)
    scheme, _, rest = settings.source.partition("://")
    user, _, _ = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if not user or ":" in user:
        raise CameraError(
            f"The password in {path} is for an address with a user and no password, such as rtsp://user@camera/stream, "
            f"and {shown!r} is none."
        )
    try:
        with local_path(path).open("rb") as file:
            password = file.read(_LONGEST_PASSWORD_BYTES + 1).removesuffix(b"\n").removesuffix(b"\r")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CameraError(f"Cannot read the password for {shown} from {path!r}: {why}.") from None
    if not 0 < len(password) <= _LONGEST_PASSWORD_BYTES:
        raise CameraError(
            f"{path} holds no password: expected 1 to {_LONGEST_PASSWORD_BYTES} bytes and a line's end at most."
        )
    return f"{scheme}://{user}:{quote(password, safe='')}{rest[len(user) :]}"


def _mode(mode: tuple[str, int, int, float]) -> str:
    return f"{mode[1]}x{mode[2]} {mode[0]} at {mode[3]:g} fps"
