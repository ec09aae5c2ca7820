"""The loop: read a frame, classify it, hand the record to the sinks, until told to stop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Optional, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.ahead import Ahead
from edge.cameras import Camera
from edge.classifier import Answer, Classifier
from edge.labels import ClassNames
from edge.records import Frame, Record
from edge.sinks import Sink

_POLL_S = 0.25
"""The longest that a stop request waits for a camera that gives nothing."""
_PATIENCE_S = 1.0
"""The longest sleep between two frames: a stop request ends it."""


class Limits(msgspec.Struct, frozen=True):
    """When to end, and how fast to go."""

    frames: Optional[int] = None
    seconds: Optional[float] = None
    fps: Optional[float] = None


class Watch(Protocol):
    """Knows more of the moment than the camera does, and sees each frame with its record."""

    @property
    def truth(self) -> Optional[str]:
        """What stands before the camera now, where somebody said so."""

    @property
    def throttled(self) -> Optional[int]:
        """The board's throttling bits, where it tells them."""

    def see(self, frame: Frame, record: Record) -> None:
        """Look at a frame and its record; must not take long."""


class Pulse(Protocol):
    """Is told that the loop lives; may set the event that ends it."""

    def classified(self, record: Record) -> None:
        """A new frame has been classified."""

    def waits(self, lost: Optional[str]) -> None:
        """No frame came, or none is due; called several times a second.

        Args:
            lost: why there is no camera at present, while it is being opened again.
        """


class Gate(Protocol):
    """Decides which frames are worth an inference."""

    def passes(self, pixels: NDArray[np.uint8], now_ns: int) -> bool:
        """Whether to classify a frame, RGB of shape (height_px, width_px, 3), read at a monotonic time."""


class Totals(msgspec.Struct):
    """What a run did."""

    frames: int = 0
    dropped: int = 0
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
        self.unchanged += record.unchanged
        if record.truth is None:
            return
        meant = classes.find(record.truth)
        self.with_truth += bool(meant)
        self.unknown_truth += not meant
        self.right += record.predictions[0].class_id in meant


def run(
    camera: Camera,
    classifier: Classifier,
    sinks: Sequence[Sink],
    limits: Limits,
    stop: threading.Event,
    totals: Optional[Totals] = None,
    watch: Optional[Watch] = None,
    pulse: Optional[Pulse] = None,
    gate: Optional[Gate] = None,
    keep_pixels: bool = False,
) -> Totals:
    """Classify until a limit, the end of the source or `stop`.

    A live camera is read as frames are wanted, so that each is the newest. With any other the model works ahead,
    so that it never waits: see `edge.ahead`. `totals` are counted as it goes; those of an earlier call go on.
    `keep_pixels` is for a watch that wants them also of a source that is read ahead.

    Raises:
        EdgeError: the camera or the model failed.
    """
    loop = _Loop(camera, classifier, limits, totals or Totals(), pulse, gate, keep_pixels)
    classes = ClassNames(classifier.bundle.labels)
    try:
        while not stop.is_set() and not loop.over():
            answer = loop.next(stop)
            if answer is None:
                continue
            known = (watch.truth, watch.throttled) if watch else (None, None)
            record = loop.finish(answer, *known)
            loop.totals.add(record, classes)
            for sink in sinks:
                sink.write(record)
            if watch:
                watch.see(answer.frame, record)
            if pulse:
                pulse.classified(record)
    finally:
        loop.end()
    return loop.totals


class _Loop:
    """When the next frame is due, which one it is, and what was passed over for it."""

    def __init__(
        self,
        camera: Camera,
        classifier: Classifier,
        limits: Limits,
        totals: Totals,
        pulse: Optional[Pulse],
        gate: Optional[Gate],
        keep_pixels: bool,
    ) -> None:
        self.totals = totals
        self._camera, self._classifier, self._limits = camera, classifier, limits
        self._pulse, self._gate = pulse, gate
        # At a limited rate nothing waits for the model, and what was read ahead would only grow old.
        works_ahead = not (camera.live or limits.fps or gate)
        self._ahead = Ahead(camera, classifier, keep_pixels) if works_ahead else None
        self._period_ns = round(1e9 / limits.fps) if limits.fps else 0
        self._began_ns = self._due_ns = time.monotonic_ns()
        self._before_s = totals.seconds
        self._paced = self._ended = False

    def over(self) -> bool:
        """Whether a limit or the end of the source is reached."""
        self._count_time()
        limits, totals = self._limits, self.totals
        if totals.frames == limits.frames or (limits.seconds is not None and totals.seconds >= limits.seconds):
            return True
        return self._ended

    def next(self, stop: threading.Event) -> Optional[Answer]:
        """Wait a moment for the next frame that is due, and classify it."""
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            self._paced = True
            self._waits(None)
            stop.wait(min((self._due_ns - now_ns) / 1e9, self._left_s(), _PATIENCE_S))
            return None
        read = self._ahead.read(_POLL_S) if self._ahead else self._camera.read(_POLL_S)
        if read is None:
            self._ended = (self._ahead or self._camera).ended
            self._waits(self._camera.lost)
            return None
        # After a stall the rate begins anew: what was missed is not made up for.
        taken_ns, period_ns = time.monotonic_ns(), self._period_ns
        self._due_ns = period_ns + (self._due_ns if self._due_ns + period_ns > taken_ns else taken_ns)
        frame = read.frame if isinstance(read, Answer) else read
        expected = self.totals.next_sequence
        self.totals.passed_over += 0 if expected is None else max(0, frame.sequence - expected)
        self.totals.next_sequence = frame.sequence + 1
        if isinstance(read, Answer):
            return read
        if self._gate and not self._gate.passes(frame.pixels, taken_ns):
            self.totals.kept_back += 1
            self._waits(None)
            return None
        return self._classifier.infer(frame)

    def finish(self, answer: Answer, truth: Optional[str], throttled: Optional[int]) -> Record:
        """The record of an answer, with what was passed over since the one before."""
        reason = "paced" if self._paced else "busy"
        totals = self.totals
        record = self._classifier.finish(answer, totals.passed_over, reason, truth, throttled, totals.kept_back)
        totals.passed_over = totals.kept_back = 0
        self._paced = False
        return record

    def end(self) -> None:
        self._count_time()
        if self._ahead:
            self._ahead.close()

    def _left_s(self) -> float:
        return math.inf if self._limits.seconds is None else max(0.0, self._limits.seconds - self.totals.seconds)

    def _count_time(self) -> None:
        self.totals.seconds = self._before_s + (time.monotonic_ns() - self._began_ns) / 1e9

    def _waits(self, lost: Optional[str]) -> None:
        if self._pulse:
            self._pulse.waits(lost)
