"""Cameras by name, imported when one is opened.

A camera is a class with `name`, `live`, `ended` and two methods, see `Camera`. One row in `CAMERAS` and
one line in tests/test_cameras.py make a new one.
"""

from __future__ import annotations

from typing import Optional, Protocol

import msgspec

from edge.records import Frame

CAMERAS = {
    "picamera": "edge.cameras.picamera:Picamera",
    "opencv": "edge.cameras.opencv:OpenCv",
    "directory": "edge.cameras.directory:Directory",
    "scene": "edge.cameras.scene:Scene",
}


class Camera(Protocol):
    """A source of frames."""

    name: str
    """What a person would call it, with what was really got: "USB camera /dev/video0, 640x480 MJPG at 30 fps"."""
    live: bool
    """True: the newest frame wins and gaps in `sequence` count what was dropped. False: nothing is dropped."""
    ended: bool
    """True once the source has no more frames."""

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        """The next frame (of a live camera: the newest), or None when none came in time or the source ended.

        Raises:
            CameraError: the camera is gone, or gave nothing for `CameraSettings.stall_s`.
        """

    def close(self) -> None:
        """Let go of the device. Safe to call twice."""


class CameraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which camera, and what is asked of it."""

    source: str = "auto"
    """auto, picamera, scene, a V4L2 device (/dev/video0 or 0), a video file, an rtsp:// or http:// address, a folder."""
    width_px: int = 640
    height_px: int = 480
    fps: float = 30.0
    """Frames a second asked of a live camera and drawn by the scene."""
    fourcc: str = "MJPG"
    """Pixel format asked of a V4L2 camera: MJPG or YUYV."""
    loop: bool = False
    """Start a video file or folder again when it ends."""
    realtime: bool = False
    """Play a video file at its own rate, as a live camera would; the newest frame wins."""
    isp_resize: bool = False
    """Let the Pi's image processor make frames of just the size that the model needs."""
    stall_s: float = 5.0
    """A live camera that gives nothing for so long is an error."""
    seed: int = 0
    """Of the scene's noise and motion."""
