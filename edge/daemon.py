"""The loop: read a frame, classify it, hand the record to the sinks, until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Optional, Protocol

import msgspec

from edge.ahead import Ahead
from edge.cameras import Camera
from edge.classifier import Answer, Classifier
from edge.labels import ClassNames
from edge.records import Frame, Record
from edge.sinks import Sink

_POLL_S = 0.25  # the longest that a stop request waits for a camera that gives nothing


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


class Totals(msgspec.Struct):
    """What a run did."""

    frames: int = 0
    dropped: int = 0
    with_truth: int = 0
    """Frames whose truth is one of the model's classes."""
    right: int = 0
    """Of those, how many had it as their first prediction."""
    unknown_truth: int = 0
    """Frames whose truth, such as a folder's name, is no class of the model."""
    seconds: float = 0.0
    """Length of the loop."""

    def add(self, record: Record, classes: ClassNames) -> None:
        """Count one record."""
        self.frames += 1
        self.dropped += record.dropped
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
    keep_pixels: bool = False,
) -> Totals:
    """Classify until a limit, the end of the source or `stop`.

    A live camera is read as frames are wanted, so that each is the newest. With any other the model works ahead,
    so that it never waits: see `edge.ahead`. `totals` are counted as it goes. `keep_pixels` is for a watch that wants
    them also of a source that is read ahead.

    Raises:
        EdgeError: the camera or the model failed.
    """
    totals = totals or Totals()
    classes = ClassNames(classifier.bundle.labels)
    # At a limited rate nothing waits for the model, and what was read ahead would only grow old.
    ahead = None if camera.live or limits.fps else Ahead(camera, classifier, keep_pixels)
    started_ns = time.monotonic_ns()
    period_ns = round(1e9 / limits.fps) if limits.fps else 0
    due_ns = started_ns
    expected: Optional[int] = None
    paced = False
    try:
        while not stop.is_set() and totals.frames != limits.frames:
            now_ns = time.monotonic_ns()
            if limits.seconds is not None and now_ns - started_ns >= limits.seconds * 1e9:
                break
            if now_ns < due_ns:
                paced = True
                stop.wait(min((due_ns - now_ns) / 1e9, _POLL_S))
                continue
            answer = ahead.read(_POLL_S) if ahead else _newest(camera, classifier)
            if answer is None:
                if (ahead or camera).ended:
                    break
                continue
            # After a stall the rate begins anew: what was missed is not made up for.
            taken_ns = time.monotonic_ns()
            due_ns = due_ns + period_ns if due_ns + period_ns > taken_ns else taken_ns + period_ns
            sequence = answer.frame.sequence
            dropped = 0 if expected is None else max(0, sequence - expected)
            expected = sequence + 1
            known = (watch.truth, watch.throttled) if watch else (None, None)
            record = classifier.finish(answer, dropped, "paced" if paced else "busy", *known)
            paced = False
            totals.add(record, classes)
            totals.seconds = (time.monotonic_ns() - started_ns) / 1e9
            for sink in sinks:
                sink.write(record)
            if watch:
                watch.see(answer.frame, record)
    finally:
        totals.seconds = (time.monotonic_ns() - started_ns) / 1e9
        if ahead:
            ahead.close()
    return totals


def _newest(camera: Camera, classifier: Classifier) -> Optional[Answer]:
    frame = camera.read(_POLL_S)
    return None if frame is None else classifier.infer(frame)
