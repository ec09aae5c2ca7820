"""The newest-frame slot: a thread reads a blocking source and keeps only its last frame."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from typing import Callable, NamedTuple, Optional, Protocol, Union

import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings
from edge.errors import CameraError
from edge.records import Frame

# For a source to notice that it is closed; one that is stuck is left to its daemon thread. A program that closes its
# camera on a signal is to end within a second.
CLOSE_S = 0.7


# A reader that lets so many frames pass is slow: then they are decoded only when it asks, and it gets the next one.
_SELDOM_FRAMES = 10


class Shot(NamedTuple):
    """What a source gives: a frame without its number."""

    pixels: Union[NDArray[np.uint8], Callable[[], Optional[NDArray[np.uint8]]]]
    """Shape (height_px, width_px, 3), RGB; not touched again by the source. Or what decodes them, before the next
    `grab`: None where they are broken."""
    captured_ns: int
    """On the monotonic clock."""
    step: int = 1
    """Frames of the source since the previous shot, this one included; more than 1 when it skipped some."""


class Source(Protocol):
    """What the slot's thread drives. Both methods are called on that thread only."""

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        """Wait for the next frame; None when there are no more. A wait of its own ends when `closing` is set.

        Raises:
            CameraError: the source is gone.
        """

    def release(self) -> None:
        """Let go of the device. Called once, after the last `grab`."""


def patience_s(stall_s: float, fps: float) -> float:
    """How long a source may give nothing: `stall_s`, and never less than three of its own frames."""
    return max(stall_s, 3 / fps) if fps > 0 else stall_s


class NewestFrame:
    """Holds the newest frame of a source until it is read."""

    def __init__(self, source: Source, name: str, stall_s: float) -> None:
        """Start the thread; `name` begins the sentences of errors."""
        self.name = name
        self._source = source
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._frame: Optional[Frame] = None
        self._error: Optional[CameraError] = None
        self._done = False
        self._waiting = False
        self._passed = 0
        self._seldom = False
        self._arrived_s = time.monotonic()
        # A daemon: a driver that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        # OpenCV aborts the process when the interpreter ends during a read.
        atexit.register(self.close)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """True when the source gave its last frame and it was read, or after `close`."""
        with self._changed:
            return self._closing.is_set() or (self._done and self._frame is None and self._error is None)

    def read(self, timeout_s: float) -> Optional[Frame]:
        """The newest frame that was not handed out yet; None when none came in time or the source ended.

        Raises:
            CameraError: the source failed, or gave nothing for `stall_s`.
        """
        with self._changed:
            self._seldom = self._passed >= _SELDOM_FRAMES
            frame = self._wait(timeout_s)
            self._frame = None
            if frame is not None:
                self._passed = 0
            return frame

    def wait_first(self) -> None:
        """Wait for a frame, for `read` to take; when there is none, close.

        Raises:
            CameraError: the source failed, ended, or gave nothing for `stall_s`.
        """
        try:
            with self._changed:
                if self._wait(self._stall_s + 1.0) is None:
                    raise CameraError(f"{self.name} gave no frame at all.")
        except CameraError as error:
            self.close()
            error.stuck = self._thread if self._thread.is_alive() else None
            raise

    def _wait(self, timeout_s: float) -> Optional[Frame]:
        deadline_s = time.monotonic() + timeout_s
        while True:
            if self._closing.is_set():
                return None
            if self._error is not None:
                failed = self._error
                raise CameraError(str(failed), failed.cause, needs_restart=failed.needs_restart) from failed.__cause__
            now_s = time.monotonic()
            stalled_s = self._arrived_s + self._stall_s
            if self._done or (self._frame is not None and now_s < stalled_s):
                return self._frame
            # A frame that nobody took and none followed tells what was, not what is.
            if now_s >= stalled_s:
                raise CameraError(
                    f"{self.name} gave no frame for {now_s - self._arrived_s:.1f} s: it is stuck or lost; "
                    "check its cable and power, or open it again.",
                    "stalled",
                )
            if now_s >= deadline_s:
                return None
            self._waiting = True
            self._changed.wait(min(deadline_s, stalled_s) - now_s)
            self._waiting = False

    def close(self) -> None:
        """Stop the thread and let it release the device; waits a bounded time, once."""
        with self._changed:
            if self._closing.is_set():
                return
            self._closing.set()
            self._frame = None
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        atexit.unregister(self.close)

    def wait_released(self) -> None:
        """After `close`: until the source has let go of its device, which may be never."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._fill()
        except CameraError as error:
            self._end(error)
        except Exception as error:  # whatever a driver's binding raises is told by the reader's thread
            failure = CameraError(
                f"{self.name} failed: {type(error).__name__}: {' '.join(str(error).split())}.", "read error"
            )
            failure.__cause__ = error
            self._end(failure)
        finally:
            self._release()

    def _release(self) -> None:
        try:
            self._source.release()
        except Exception as error:  # nobody waits for this thread any more; a lost device may refuse to be closed
            logging.getLogger(__name__).warning(
                "%s could not be closed: %s: %s", self.name, type(error).__name__, error
            )

    def _fill(self) -> None:
        sequence = -1
        while not self._closing.is_set():
            shot = self._source.grab(self._closing)
            if shot is None:
                self._end(None)
                return
            sequence += shot.step
            with self._changed:
                self._arrived_s = time.monotonic()
                self._passed += 1
                if callable(shot.pixels) and self._seldom and not self._waiting:
                    self._frame = None  # which is the newest no more
                    continue
            pixels = shot.pixels() if callable(shot.pixels) else shot.pixels
            if pixels is None:
                continue
            frame = Frame(pixels, sequence, shot.captured_ns)
            with self._changed:
                if self._closing.is_set():
                    return
                self._frame = frame
                self._changed.notify_all()

    def _end(self, error: Optional[CameraError]) -> None:
        with self._changed:
            self._done, self._error = True, error
            self._changed.notify_all()


class LiveCamera:
    """What the cameras with a slot have in common; `_slot` is set when they are open."""

    live = True
    lost: Optional[str] = None
    again: Callable[[CameraSettings], CameraSettings]
    """What opens the very same camera again, also where it has another number now; see `edge.cameras.lasting`. It does
    not hold the camera itself, and raises CameraError where the camera is not there."""
    _slot: NewestFrame

    @property
    def ended(self) -> bool:
        return self._slot.ended

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        return self._slot.read(timeout_s)

    def close(self) -> None:
        self._slot.close()

    def wait_released(self) -> None:
        """After `close`: until the device is let go of, which may be never."""
        self._slot.wait_released()
