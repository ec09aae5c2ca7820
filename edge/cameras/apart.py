"""Opening and closing cameras on threads of their own, since either may never return."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Optional

from edge.cameras import Camera
from edge.cameras.newest import LiveCamera
from edge.errors import CameraError

CLOSING_S = 5.0
"""For a lost camera to be closed, before it is left behind."""


class Opening:
    """An attempt to open a camera. When it is `done` there is a `camera` or an `error`, or it was abandoned."""

    def __init__(self, open_one: Callable[[], Camera], began_s: float) -> None:
        """Begin."""
        self._open = open_one
        self.began_s = began_s
        self.done = threading.Event()
        self.camera: Optional[Camera] = None
        self.error: Optional[CameraError] = None
        self._abandoned = False
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, name="camera opening", daemon=True)
        self.thread.start()

    def abandon(self) -> None:
        """Nobody wants it any more: it is closed as soon as it is open."""
        with self._lock:
            self._abandoned = True
            camera, self.camera = self.camera, None
        self.done.set()
        if camera:
            closed_apart(camera)

    def _run(self) -> None:
        try:
            camera = self._open()
        except CameraError as error:
            self.error = error
        except Exception as error:  # whatever a driver's binding raises is no reason to end
            self.error = CameraError(f"The camera cannot be opened: {type(error).__name__}: {error}.", "refused")
            self.error.__cause__ = error
        else:
            with self._lock:
                unwanted = self._abandoned
                self.camera = None if unwanted else camera
            if unwanted:
                _close(camera)
        self.done.set()


class Closings:
    """Lost cameras that are being closed, and those that cannot be and are left to their threads."""

    def __init__(self) -> None:
        self._latest: Optional[threading.Thread] = None
        self._until_s = 0.0
        self._left: list[threading.Thread] = []

    @property
    def stuck(self) -> int:
        """How many were left behind and have not let go of their device since."""
        return sum(thread.is_alive() for thread in self._left)

    def close(self, camera: Camera, now_s: float, timeout_s: float) -> None:
        """Begin to close a camera, and wait a little: most are closed at once."""
        if self._latest:
            self.leave(self._latest)
        self._latest, self._until_s = closed_apart(camera), now_s + CLOSING_S
        self._latest.join(max(0.0, timeout_s))

    def busy(self, now_s: float) -> bool:
        """Whether a camera is still being closed, which was begun less than `CLOSING_S` ago."""
        if self._latest is None:
            return False
        if self._latest.is_alive() and now_s < self._until_s:
            return True
        self.leave(self._latest)
        self._latest = None
        return False

    def leave(self, thread: threading.Thread) -> None:
        """Count on nothing more from a thread."""
        self._left = [one for one in (*self._left, thread) if one.is_alive()]


def closed_apart(camera: Camera) -> threading.Thread:
    """Closes a camera on a thread, which ends when the camera has let go of its device: maybe never."""
    thread = threading.Thread(target=_close, args=(camera,), name="camera closing", daemon=True)
    thread.start()
    return thread


def _close(camera: Camera) -> None:
    try:
        camera.close()
        if isinstance(camera, LiveCamera):
            camera.wait_released()
    except Exception as error:  # a lost device may refuse to be closed
        logging.getLogger(__name__).warning("%s could not be closed: %s: %s", camera.name, type(error).__name__, error)
