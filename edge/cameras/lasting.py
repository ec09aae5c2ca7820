"""A camera that lasts: what is lost is closed, told, and opened again until it is found."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

import msgspec

from edge.cameras import Camera, CameraSettings, can_be_lost
from edge.cameras.apart import Closings, Opening, closed_apart
from edge.cameras.newest import LiveCamera
from edge.cameras.pictures import Freeze, Lighting, coarse, light
from edge.errors import CameraError, LossCause
from edge.privacy import without_passwords
from edge.records import Frame

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Between two attempts to open a lost camera: the shortest comes first, each is twice the one before."""
STEADY_S = 60.0
"""A camera that has worked for so long is opened quickly again when it is lost; one that comes and goes is not."""
MOST_STUCK = 4
"""So many cameras that cannot be closed are left behind on their threads before the process has to be restarted."""
_OPENING_S = 60.0  # beyond `stall_s`, for a camera to be opened, before that is left behind
_POLL_S = 0.1  # how often a camera that is being closed is looked at
_FIRST_S = 10.0  # that the constructor waits for a camera that may be missing
_CLOSE_S = 0.9

OnEvent = Callable[[str, dict[str, Any]], None]


class Lasting:
    """A live camera that survives its faults.

    It is lost when reading raises (it gives nothing, the driver failed, it is gone), or when it gives the very same
    picture for `frozen_s`. Then it is closed and opened again, on threads of their own, since either may never return.
    It counts as found when it has given a frame that may be handed out. Sequence numbers go on without a gap, as nobody
    knows what was missed.

    Files, folders and the scene pass through: what they raise is raised, and where they end it ends.
    """

    def __init__(
        self,
        open_one: Callable[[CameraSettings], Camera],
        settings: CameraSettings,
        on_event: OnEvent,
        wait: bool = False,
        first_sequence: int = 0,
        clock: Callable[[], float] = time.monotonic,
        pause: Optional[Callable[[float], object]] = None,
    ) -> None:
        """Open the camera.

        Args:
            open_one: opens what the settings name, and raises CameraError.
            settings: which camera, and what is asked of it.
            on_event: called in `read` with an event's kind and detail: "camera lost" (why, cause), "camera found"
                (after: seconds, camera: name), "camera dark" or "saturated", and either with " over".
            wait: a camera that is not there is no error but lost from the start.
            first_sequence: of its first frame, where it goes on for a camera that was closed.
            clock: in seconds; goes forward.
            pause: waits so many seconds of the clock, less when the camera is closed.

        Raises:
            CameraError: it cannot be opened, and `wait` is off or the source is one that nothing brings back.
        """
        self._open, self._settings, self._on_event = open_one, settings, on_event
        self._clock = clock
        self._closing = threading.Event()
        self._pause = pause or self._closing.wait
        self._lasts = can_be_lost(settings.source)
        self._lock = threading.Lock()  # over _camera, _opening and _closing together
        self._camera: Optional[Camera] = None
        self._opening: Optional[Opening] = None
        self._again: Callable[[CameraSettings], CameraSettings] = _as_before
        self._closings = Closings()
        self._freeze, self._lighting = Freeze(), Lighting()
        self._attempts = 0
        self._told: set[LossCause] = set()
        self._live = True
        self._next_sequence = first_sequence
        self._offset: Optional[int] = None
        self.faults = 0
        """Losses that were told since the start: of one loss, each cause once."""
        self.name = f"camera {without_passwords(settings.source)}"
        self.lost: Optional[str] = None
        self._lost_s = self._found_s = self._due_s = self._opened_s = clock()
        if not (wait and self._lasts):
            self._adopt(open_one(settings))
            return
        self.lost = f"The {self.name} is being opened."
        self._begin()
        if self._opening and self._opening.done.wait(_FIRST_S) and self._opening.camera:
            self._finish()
            self.lost = None

    @property
    def live(self) -> bool:
        return self._live

    @property
    def ended(self) -> bool:
        camera = self._camera
        return self._closing.is_set() or (camera is not None and camera.ended)

    @property
    def stuck(self) -> int:
        """Cameras that could not be closed so far and are left to their threads."""
        return self._closings.stuck

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        """The next frame, or None when none came in time, as of any camera; a lost one is looked for meanwhile.

        Raises:
            CameraError: it has been lost for `give_up_s`, only a new process can open it again, or too many that cannot
                be closed were left behind.
        """
        deadline_s = self._clock() + timeout_s
        if self.lost is not None and not self._closing.is_set():
            if self._opening and self._opening.done.is_set():
                self._finish()  # it knows why there is none
            self._give_up_in_time()
        camera = self._camera or self._find(deadline_s)
        if camera is None or self._closing.is_set():
            return None
        try:
            frame = camera.read(max(0.0, deadline_s - self._clock()))
        except CameraError as error:
            if not self._closing.is_set():
                self._lose(error, "read error", deadline_s)
            return None
        if frame is None or self._closing.is_set() or (self._lasts and not self._passes(frame, deadline_s)):
            return None
        return self._numbered(frame)

    def close(self) -> None:
        with self._lock:
            self._closing.set()
            camera, self._camera = self._camera, None
            opening, self._opening = self._opening, None
        if opening:
            opening.abandon()
        if camera:
            closed_apart(camera).join(_CLOSE_S)

    def _passes(self, frame: Frame, deadline_s: float) -> bool:
        """Whether a frame may be handed out: a camera that is frozen gives none."""
        now_s = self._clock()
        points = coarse(frame.pixels)
        shown = light(points)
        old_s = self._freeze.see(points, shown, now_s)
        if self._settings.frozen_s is not None and old_s >= self._settings.frozen_s:
            # One that was just opened may begin with a picture of before.
            if self.lost is None or now_s - self._opened_s >= self._settings.stall_s:
                why = (
                    f"{self.name} has given the very same picture for {old_s:.0f} s: it is frozen; where its pictures "
                    "may be all the same, set camera.frozen_s to null."
                )
                self._lose(CameraError(why), "frozen", deadline_s)
            return False
        if self.lost is not None:
            self.lost = None
            self._found_s = now_s
            if self._told:
                self._on_event("camera found", {"after": round(now_s - self._lost_s, 3), "camera": self.name})
        for event in self._lighting.see(shown, now_s):
            self._on_event(event, {})
        return True

    def _numbered(self, frame: Frame) -> Frame:
        if self._offset is None:
            self._offset = self._next_sequence - frame.sequence
        frame = msgspec.structs.replace(frame, sequence=frame.sequence + self._offset)
        self._next_sequence = frame.sequence + 1
        return frame

    def _lose(self, error: CameraError, cause: LossCause, deadline_s: float) -> None:
        """Close the camera, and open it again later; or raise, where that is not wanted."""
        now_s = self._clock()
        with self._lock:
            camera, self._camera = self._camera, None
        if camera:
            self._closings.close(camera, now_s, deadline_s - now_s)
        if self.lost is None:
            self._lost_s, self._told = now_s, set()
            if now_s - self._found_s >= STEADY_S:
                self._attempts = 0
        self._put_off(error, cause)

    def _put_off(self, error: CameraError, cause: LossCause) -> None:
        """Tell why there is no camera, of one loss each cause once, and wait before the next attempt."""
        self.lost = str(error)
        self._due_s = self._clock() + min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2.0**self._attempts)
        self._attempts = min(self._attempts + 1, 10)
        cause = error.cause or cause
        if cause not in self._told:
            self._told.add(cause)
            self.faults += 1
            self._on_event("camera lost", {"why": self.lost, "cause": cause})
        if not self._lasts or self._settings.give_up_s <= 0 or error.needs_restart:
            raise error

    def _give_up_in_time(self) -> None:
        lost_s = self._clock() - self._lost_s
        if not self._lasts or lost_s >= self._settings.give_up_s:
            raise CameraError(f"{self.name} has been lost for {lost_s:.0f} s, last because: {self.lost}")

    def _find(self, deadline_s: float) -> Optional[Camera]:
        """The camera, opened again; None when that takes longer."""
        deadline_s = min(deadline_s, self._lost_s + self._settings.give_up_s)
        while not self._closing.is_set():
            now_s, opening = self._clock(), self._opening
            if opening is None:
                rest_s = self._due_s - now_s
                if self._closings.busy(now_s):
                    rest_s = max(_POLL_S, rest_s)
                if rest_s <= 0:
                    self._refuse_when_stuck()
                    self._begin()
                elif now_s < deadline_s:
                    self._pause(min(rest_s, deadline_s - now_s))
                else:
                    return None
            elif opening.done.wait(max(0.0, deadline_s - now_s)):
                self._finish()
                if self._camera:
                    return self._camera
            elif self._clock() - opening.began_s < self._settings.stall_s + _OPENING_S:
                return None
            else:
                self._abandon()
        return None

    def _refuse_when_stuck(self) -> None:
        stuck = self.stuck
        if stuck >= MOST_STUCK:
            raise CameraError(
                f"{self.name} is lost, and {stuck} times a lost camera could not be closed: restart the program."
            )

    def _begin(self) -> None:
        again, settings, open_one = self._again, self._settings, self._open
        with self._lock:
            if not self._closing.is_set():
                self._opening = Opening(lambda: open_one(again(settings)), self._clock())

    def _finish(self) -> None:
        """Take over what an attempt gave."""
        with self._lock:
            opening, self._opening = self._opening, None
            if opening and opening.camera:
                self._adopt(opening.camera)
        if opening and opening.error:
            if opening.error.stuck:
                self._closings.leave(opening.error.stuck)
            self._put_off(opening.error, "refused")

    def _abandon(self) -> None:
        """Go on without an attempt that takes too long."""
        with self._lock:
            opening, self._opening = self._opening, None
        if opening:
            opening.abandon()
            self._closings.leave(opening.thread)
            stuck_s = self._clock() - opening.began_s
            self._put_off(CameraError(f"{self.name} could not be opened in {stuck_s:.0f} s: it is stuck."), "refused")

    def _adopt(self, camera: Camera) -> None:
        self._camera, self._live, self.name = camera, camera.live, camera.name
        if isinstance(camera, LiveCamera):
            self._again = camera.again
        self._opened_s, self._offset = self._clock(), None


def _as_before(settings: CameraSettings) -> CameraSettings:
    return settings
