"""When the next frame is due, which one it is, and what was passed over for it."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Generic, NamedTuple, Optional, Protocol, TypeVar, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import Camera
from edge.classifier import Answer, Prepared
from edge.labels import ClassNames
from edge.records import NO_BACKEND, Frame, Record


class Limits(msgspec.Struct, frozen=True):
    """When to end, and how fast to go."""

    frames: Optional[int] = None
    seconds: Optional[float] = None
    fps: Optional[float] = None


class Pulse(Protocol):
    """Is told that the loop lives; may set the event that ends it."""

    def classified(self, record: Record) -> None:
        """A new frame has been classified."""

    def waits(self, lost: Optional[str], what: str = "camera") -> None:
        """No frame came, or none is due, or nobody can classify one; called several times a second.

        Args:
            lost: why there is no camera, or no accelerator, at present, while it is being opened again.
            what: which of the two that is.
        """


class Gate(Protocol):
    """Decides which frames are worth an inference."""

    def passes(self, pixels: NDArray[np.uint8], now_ns: int) -> bool:
        """Whether to classify a frame, RGB of shape (height_px, width_px, 3), read at a monotonic time."""


class Totals(msgspec.Struct):
    """What a run did."""

    frames: int = 0
    dropped: int = 0
    unserved: int = 0
    """Of those dropped, how many were because no accelerator worked."""
    answered_by: Counter[str] = msgspec.field(default_factory=Counter)
    """Frames by what ran the model."""
    unchanged: int = 0
    """Frames that the gate did not let through."""
    with_truth: int = 0
    """Frames whose truth is one of the model's classes."""
    right: int = 0
    """Of those, how many had it as their first prediction."""
    unknown_truth: int = 0
    """Frames whose truth, such as a folder's name, is no class of the model."""
    seconds: float = 0.0
    """Length of the loop."""
    next_sequence: Optional[int] = None
    """Of the frame after the last that was read; None before the first of a camera."""
    passed_over: int = 0
    """Frames that nobody classified since the last record, of which the next one tells."""
    kept_back: int = 0
    """The same of those that the gate did not let through."""

    def add(self, record: Record, classes: ClassNames) -> None:
        """Count one record."""
        self.frames += 1
        self.dropped += record.dropped
        self.unserved += record.dropped if record.drop_reason == NO_BACKEND else 0
        self.answered_by[record.backend] += 1
        self.unchanged += record.unchanged
        if record.truth is None:
            return
        meant = classes.find(record.truth)
        self.with_truth += bool(meant)
        self.unknown_truth += not meant
        self.right += record.predictions[0].class_id in meant


class Passed(NamedTuple):
    """Frames between one that is classified and the one before it."""

    over: int
    """Nobody classified them."""
    reason: str
    """Why, see `Record.drop_reason`."""
    unchanged: int
    """The gate kept them back."""


_Item = TypeVar("_Item", bound=Union[Frame, Prepared, Answer])
_Given_co = TypeVar("_Given_co", covariant=True)


class Source(Protocol[_Given_co]):
    """A camera, or what reads one ahead."""

    @property
    def ended(self) -> bool: ...
    def read(self, timeout_s: float) -> Optional[_Given_co]: ...


class Intake(Generic[_Item]):
    """Takes frames from a source at the rate that is asked for, through a gate, and counts."""

    def __init__(
        self,
        source: Source[_Item],
        camera: Camera,
        limits: Limits,
        totals: Totals,
        pulse: Optional[Pulse],
        gate: Optional[Gate],
    ) -> None:
        """Begin the clock.

        Args:
            source: the camera itself, or what reads it ahead; a gate sees frames of a camera only.
            camera: knows whether it is lost.
            limits: when to end, and how fast to go.
            totals: are counted; those of an earlier run go on.
            pulse: is told why no frame comes.
            gate: decides which frames are worth an inference.
        """
        self.totals = totals
        self.ended = False
        """The source has no more frames."""
        self._source, self._camera, self._limits, self._pulse, self._gate = source, camera, limits, pulse, gate
        self._period_ns = round(1e9 / limits.fps) if limits.fps else 0
        self._began_ns = self._due_ns = time.monotonic_ns()
        self._before_s = totals.seconds
        self._paced = self._nobody = False

    def over(self, under_way: int = 0) -> bool:
        """Whether a limit or the end of the source is reached, and none of so many frames is still being classified."""
        self.count_time()
        limits, totals = self._limits, self.totals
        if totals.frames == limits.frames or (limits.seconds is not None and totals.seconds >= limits.seconds):
            return True
        return self.ended and not under_way

    def wants(self, under_way: int) -> bool:
        """Whether there may be one more frame to classify while so many are being classified."""
        limit = self._limits.frames
        return not self.ended and (limit is None or self.totals.frames + under_way < limit)

    def early_s(self) -> float:
        """How long to wait for the next frame to be due, no longer than to the limit of time; 0 where it is due.

        Asked by who could classify one now: what passes meanwhile is passed over because fewer frames are wanted.
        """
        now_ns = time.monotonic_ns()
        if now_ns >= self._due_ns:
            return 0.0
        self._paced = True
        self._waits(None)
        return min((self._due_ns - now_ns) / 1e9, self._left_s())

    def take(self, timeout_s: float) -> Optional[_Item]:
        """The next frame, or what was made of it ahead; None where none came in time, at the end, or behind the gate.

        Raises:
            EdgeError: what the source raised.
        """
        item = self._source.read(timeout_s)
        if item is None:
            self.ended = self._source.ended
            self._waits(self._camera.lost)
            return None
        # After a stall the rate begins anew: what was missed is not made up for.
        taken_ns, period_ns = time.monotonic_ns(), self._period_ns
        self._due_ns = period_ns + (self._due_ns if self._due_ns + period_ns > taken_ns else taken_ns)
        frame = item if isinstance(item, Frame) else item.frame
        expected = self.totals.next_sequence
        self.totals.passed_over += 0 if expected is None else max(0, frame.sequence - expected)
        self.totals.next_sequence = frame.sequence + 1
        if self._gate and not self._gate.passes(frame.pixels, taken_ns):
            self.totals.kept_back += 1
            self._waits(None)
            return None
        return item

    def has_nobody(self, lost: str) -> None:
        """Nobody can classify a frame at present, as the accelerator is lost; says why."""
        self._nobody = True
        if self._pulse:
            self._pulse.waits(lost, "accelerator")

    def passed(self) -> Passed:
        """What was passed over for the frame that was taken last."""
        reason = NO_BACKEND if self._nobody else "paced" if self._paced else "busy"
        totals = self.totals
        passed = Passed(totals.passed_over, reason, totals.kept_back)
        totals.passed_over = totals.kept_back = 0
        self._paced = self._nobody = False
        return passed

    def abandon(self, passed: Passed) -> None:
        """A frame that was taken gets no answer: it is passed over, with what was passed over for it."""
        self.totals.passed_over += passed.over + 1
        self.totals.kept_back += passed.unchanged

    def count_time(self) -> None:
        """Bring the length of the loop up to date."""
        self.totals.seconds = self._before_s + (time.monotonic_ns() - self._began_ns) / 1e9

    def _left_s(self) -> float:
        return math.inf if self._limits.seconds is None else max(0.0, self._limits.seconds - self.totals.seconds)

    def _waits(self, lost: Optional[str]) -> None:
        if self._pulse:
            self._pulse.waits(lost)
