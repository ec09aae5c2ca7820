"""The loop: read a frame, classify it, hand the record to the sinks, until told to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Optional

import msgspec

from edge.ahead import Ahead
from edge.cameras import Camera
from edge.classifier import Answer, Classifier
from edge.records import Record
from edge.sinks import Sink

_POLL_S = 0.25  # the longest that a stop request waits for a camera that gives nothing


class Limits(msgspec.Struct, frozen=True):
    """When to end, and how fast to go."""

    frames: Optional[int] = None
    seconds: Optional[float] = None
    fps: Optional[float] = None


class Totals(msgspec.Struct):
    """What a run did."""

    frames: int = 0
    dropped: int = 0
    with_truth: int = 0
    right: int = 0
    """Of those with truth, how many had it as their first prediction."""
    seconds: float = 0.0
    """From the start of the loop to the last result."""

    def add(self, record: Record) -> None:
        """Count one record."""
        self.frames += 1
        self.dropped += record.dropped
        if record.truth is not None:
            self.with_truth += 1
            self.right += record.predictions[0].label == record.truth


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set. A second one ends the process at once; handlers are restored."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def request(_number: int, _frame: object) -> None:
        stop.set()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def run(camera: Camera, classifier: Classifier, sinks: Sequence[Sink], limits: Limits, stop: threading.Event) -> Totals:
    """Classify until a limit, the end of the source or `stop`.

    A live camera is read as frames are wanted, so that each is the newest. With any other the model works ahead,
    so that it never waits: see `edge.ahead`.

    Raises:
        EdgeError: the camera or the model failed.
    """
    totals = Totals()
    ahead = None if camera.live else Ahead(camera, classifier)
    started_ns = time.monotonic_ns()
    period_ns = round(1e9 / limits.fps) if limits.fps else 0
    due_ns = started_ns
    expected: Optional[int] = None
    try:
        while not stop.is_set() and totals.frames != limits.frames:
            now_ns = time.monotonic_ns()
            if limits.seconds is not None and now_ns - started_ns >= limits.seconds * 1e9:
                break
            if now_ns < due_ns:
                stop.wait(min((due_ns - now_ns) / 1e9, _POLL_S))
                continue
            answer = ahead.read(_POLL_S) if ahead else _newest(camera, classifier)
            if answer is None:
                if (ahead or camera).ended:
                    break
                continue
            due_ns = max(due_ns + period_ns, now_ns)
            sequence = answer.frame.sequence
            dropped = 0 if expected is None else max(0, sequence - expected)
            expected = sequence + 1
            record = classifier.finish(answer, dropped)
            totals.add(record)
            totals.seconds = (time.monotonic_ns() - started_ns) / 1e9
            for sink in sinks:
                sink.write(record)
    finally:
        if ahead:
            ahead.close()
    return totals


def _newest(camera: Camera, classifier: Classifier) -> Optional[Answer]:
    frame = camera.read(_POLL_S)
    return None if frame is None else classifier.infer(frame)
