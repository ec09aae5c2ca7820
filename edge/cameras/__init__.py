"""Cameras by name, imported when one is opened.

A camera is a class with `name`, `live`, `ended`, `lost` and two methods, see `Camera`. One row in `CAMERAS`, its place
in `_kind` and one line in tests/test_cameras.py make a new one.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import stat
from pathlib import Path
from typing import Annotated, Any, Callable, Optional, Protocol, cast

import msgspec
from msgspec import Meta

from edge.errors import CameraError
from edge.expectations import unmet
from edge.records import Frame

CAMERAS = {
    "picamera": "edge.cameras.picamera:Picamera",
    "device": "edge.cameras.opencv:Device",
    "video": "edge.cameras.video:Video",
    "stream": "edge.cameras.opencv:Stream",
    "directory": "edge.cameras.directory:Directory",
    "scene": "edge.cameras.scene:Scene",
}
CHOICES = (
    "auto, camera, picamera, scene, a V4L2 device (0 or /dev/video0), a video file, an rtsp:// or http:// address, "
    "a folder of pictures or one picture"
)
_ADDRESSES = ("rtsp://", "rtsps://", "http://", "https://")


class Camera(Protocol):
    """A source of frames. For one reader; `close` may come from another thread."""

    @property
    def name(self) -> str:
        """What a person would call it, with what was really got: "USB camera /dev/video0, 640x480 MJPG at 30 fps"."""

    @property
    def live(self) -> bool:
        """True: the newest frame wins and gaps in `sequence` count what was dropped. False: nothing is dropped."""

    @property
    def ended(self) -> bool:
        """True once the source has no more frames, or was closed."""

    @property
    def lost(self) -> Optional[str]:
        """Why it gives nothing at present and is being opened again; None while all is well."""

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        """The next frame (of a live camera: the newest), or None when none came in time or the source ended.

        No frame is handed out twice, and its pixels belong to the caller. A source that is not live decodes
        when it is read, and takes the time that this takes.

        Raises:
            CameraError: the camera is gone, or gave nothing for `CameraSettings.stall_s`.
        """

    def close(self) -> None:
        """Let go of the device. Safe to call twice; returns within a second even when the device is stuck."""


class CameraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which camera, and what is asked of it."""

    source: str = "auto"
    """auto, camera (auto without the scene), picamera, scene, a V4L2 device (0, /dev/video0), a video file, an rtsp://
    or http:// address, pictures."""
    width_px: Annotated[int, Meta(ge=1, le=65_535)] = 640
    height_px: Annotated[int, Meta(ge=1, le=65_535)] = 480
    fps: Annotated[float, Meta(ge=0.001, le=10_000)] = 30.0
    """Frames a second asked of a live camera and drawn by the scene."""
    fourcc: Annotated[str, Meta(pattern=r"^[ -~]{4}$", description="four letters, such as MJPG or YUYV")] = "MJPG"
    """Pixel format asked of a V4L2 camera: MJPG or YUYV."""
    loop: bool = False
    """Start a video file or folder again when it ends."""
    realtime: bool = False
    """Play a video file at its own rate, as a live camera would; the newest frame wins."""
    isp_resize: bool = False
    """Let the Pi's image processor make frames of just the size that the model needs; only with a CSI camera."""
    stall_s: Annotated[float, Meta(ge=0.001, le=86_400)] = 5.0
    """A live camera that gives nothing for so long is lost, and opened again."""
    frozen_s: Optional[Annotated[float, Meta(ge=0.001, le=86_400)]] = 30.0
    """So is one that gives the very same picture for so long; null: it may. Real pictures differ by their noise."""
    give_up_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    """So long is a lost camera opened again before the program ends; 0: it ends at once."""
    password_file: Optional[str] = None
    """A file that holds the password for an address such as rtsp://user@camera/stream."""
    seed: Annotated[int, Meta(ge=0, le=4_294_967_295)] = 0
    """Of the scene's noise and motion."""


def open_camera(
    settings: CameraSettings,
    isp_size_px: Optional[tuple[int, int]] = None,
    on_skip: Optional[Callable[[str], None]] = None,
) -> Camera:
    """Open the camera that `settings.source` names.

    Only "auto" and "camera" choose: a CSI camera, else the first V4L2 device that really gives a frame, and "auto"
    else the drawn scene; its `name` says which. Everything else works or fails.

    Args:
        settings: which camera, and what is asked of it.
        isp_size_px: (height, width) that the model needs; used when `settings.isp_resize` is set.
        on_skip: gets a sentence for each picture of a folder that cannot be read; without it, the log gets them.

    Raises:
        CameraError: no camera has that name, or it cannot be opened.
    """
    _check(settings)
    if settings.isp_resize and isp_size_px is None:
        raise CameraError("isp_resize needs the size of the model's input, and none was given.")
    if settings.source in ("auto", "camera"):
        return _choose(settings, isp_size_px)
    kind = _kind(settings.source)
    if kind == "picamera":
        return _load(kind, settings, isp_size_px if settings.isp_resize else None)
    if settings.isp_resize:
        raise CameraError(f"isp_resize is for a CSI camera (picamera), and {settings.source!r} is none.")
    return _load(kind, settings, on_skip) if kind == "directory" else _load(kind, settings)


def can_be_lost(source: str) -> bool:
    """Whether a source is a camera that may go and come back; not a file, a folder or the scene.

    Raises:
        CameraError: no camera has that name.
    """
    return source in ("auto", "camera") or _kind(source) in ("picamera", "device", "stream")


def _check(settings: CameraSettings) -> None:
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        expected = unmet(value, field.type)
        if expected:
            raise CameraError(f"The camera's {field.name} is {value!r}: expected {expected}.")


def _kind(source: str) -> str:
    """The row of `CAMERAS` for a source."""
    if source == "scene":
        return source
    if source.partition(":")[0] == "picamera":
        return "picamera"
    if source.isdecimal():
        return "device"
    if source.lower().startswith(_ADDRESSES):
        return "stream"
    return _kind_of_file(source)


def _kind_of_file(source: str) -> str:
    mode = file_mode(source)
    if mode is None:
        if source.startswith("/dev/"):
            return "device"  # not plugged in, or not yet
        raise CameraError(f"No camera {source!r} and no file or folder of that name: expected {CHOICES}.")
    if stat.S_ISCHR(mode):
        return "device"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        from edge.images import SUFFIXES  # brings OpenCV, which `--help` must not wait for

        return "directory" if source.lower().endswith(SUFFIXES) else "video"
    raise CameraError(f"{source!r} is a pipe or the like, which cannot be a camera: expected {CHOICES}.")


def file_mode(source: str) -> Optional[int]:
    """Type and permissions of the file or folder that a source names; None where there is none.

    Raises:
        CameraError: it is not ours to look at.
    """
    try:
        return local_path(source).stat().st_mode if source else None
    except ValueError:  # no file can have such a name
        return None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise CameraError(f"Cannot read {source!r}: {error.strerror}.") from None
        return None


def local_path(source: str) -> Path:
    """The file or folder that a source names; a "~" that stands for nobody's home stays."""
    return Path(os.path.expanduser(source))


def _choose(settings: CameraSettings, isp_size_px: Optional[tuple[int, int]]) -> Camera:
    from edge.cameras import picamera, v4l2

    failure: Optional[CameraError] = None
    if picamera.installed():
        try:
            if picamera.csi_cameras():
                return _load("picamera", settings, isp_size_px if settings.isp_resize else None)
        except CameraError as error:
            failure = _passed_over(error)
    without_isp = msgspec.structs.replace(settings, isp_resize=False)
    for path in v4l2.capture_devices():
        try:
            return _load("device", msgspec.structs.replace(without_isp, source=path))
        except CameraError as error:  # noqa: PERF203 - opening a device takes far longer
            failure = _passed_over(error)
    if settings.source == "auto":
        return _load("scene", without_isp, "no camera could be opened" if failure else "no camera found")
    raise failure or v4l2.no_camera()


def _passed_over(error: CameraError) -> CameraError:
    """Tell why a camera that is there is not taken."""
    logging.getLogger(__name__).warning("%s", error)
    return error


def _load(kind: str, *arguments: object) -> Camera:
    module_name, _, class_name = CAMERAS[kind].partition(":")
    opened: Any = getattr(importlib.import_module(module_name), class_name)(*arguments)
    return cast(Camera, opened)
