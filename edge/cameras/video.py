"""A video file, as fast as it is read or at its own rate."""

from __future__ import annotations

import logging
import threading
import time
from typing import BinaryIO, Optional

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings, local_path
from edge.cameras.captures import prepare, to_rgb
from edge.cameras.newest import CLOSE_S, NewestFrame, Shot, patience_s
from edge.errors import CameraError
from edge.images import path_text
from edge.records import Frame

_INEXACT = 3  # frames by which some containers' announcements are wrong


class _File:
    """A video file's frames in order, from the start again when it loops."""

    def __init__(self, settings: CameraSettings) -> None:
        self._path = local_path(settings.source)
        self.shown = path_text(self._path)
        self._loop = settings.loop
        self._capture = self._open()
        self._in_pass = 0
        self._told = False
        self.frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        size = tuple(int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.mode = f"{size[0]}x{size[1]}"
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 0 < rate < 1000 else settings.fps

    def _open(self) -> cv2.VideoCapture:
        try:
            with self._path.open("rb") as file:
                capture = self._capture_of(file)
        except OSError as error:
            raise CameraError(f"Cannot read the video {self.shown}: {error.strerror or error}.") from None
        if not capture.isOpened():
            raise CameraError(f"{self.shown} is not a video that OpenCV can read, or is damaged.")
        return capture

    def _capture_of(self, file: BinaryIO) -> cv2.VideoCapture:
        # OpenCV crashes on a name that is not UTF-8: it gets another one of the same file.
        name = self.shown if self.shown == str(self._path) else f"/proc/self/fd/{file.fileno()}"
        # Left alone, it would try others on what FFmpeg refuses, and those write on stderr.
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG)

    def advance(self) -> bool:
        """Go to the next frame; False at the end."""
        while not self._capture.grab():
            if not self._in_pass:
                raise CameraError(f"{self.shown} holds no frame that can be decoded: it is damaged, or has no picture.")
            self._tell_what_is_missing()
            if not self._loop:
                return False
            # Opened anew: seeking to the start is not exact with every container.
            self.release()
            self._capture, self._in_pass = self._open(), 0
        self._in_pass += 1
        return True

    def _tell_what_is_missing(self) -> None:
        if not self._told and self._in_pass < min(self.frames - _INEXACT, self.frames * 0.95):
            self._told = True
            logging.getLogger(__name__).warning(
                "The video %s gave %d frames and announces %d: it may be damaged.",
                self.shown,
                self._in_pass,
                self.frames,
            )

    def pixels(self) -> NDArray[np.uint8]:
        """The frame that `advance` went to, shape (height_px, width_px, 3), RGB."""
        given, image = self._capture.retrieve()
        if not given:
            raise CameraError(f"{self.shown}: frame {self._in_pass - 1} cannot be decoded.")
        return to_rgb(image, self.shown)

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

    lost: Optional[str] = None

    def __init__(self, settings: CameraSettings) -> None:
        """Open the file.

        Raises:
            CameraError: it cannot be read or is not a video.
        """
        prepare(settings.stall_s)
        self._file = _File(settings)
        frames = f", {self._file.frames} frames" if self._file.frames > 0 else ""
        self.name = f"video {self._file.shown}, {self._file.mode} at {self._file.fps:g} fps{frames}"
        self.live = settings.realtime
        self._lock = threading.Lock()
        self._ended = False
        self._closing = False
        self._sequence = 0
        self._slot: Optional[NewestFrame] = None
        if settings.realtime:
            self._slot = NewestFrame(_Playback(self._file), self.name, patience_s(settings.stall_s, self._file.fps))

    @property
    def ended(self) -> bool:
        return self._slot.ended if self._slot else self._ended or self._closing

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        if self._slot:
            return self._slot.read(timeout_s)
        with self._lock:  # OpenCV crashes when a capture is released while it is read
            try:
                if self.ended or not self._file.advance():
                    self._ended = True
                    return None
                frame = Frame(self._file.pixels(), self._sequence, time.monotonic_ns())
                self._sequence += 1
                return frame
            finally:
                if self._closing:  # `close` may have given up
                    self._file.release()

    def close(self) -> None:
        if self._slot:
            self._slot.close()
            return
        self._closing = True
        # A reader can be stuck in the file, on a server that is gone: then the capture is left to it.
        if self._lock.acquire(timeout=CLOSE_S):
            self._file.release()
            self._lock.release()
