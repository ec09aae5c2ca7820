"""The loop: read a frame, classify it, hand the record to the sinks, until told to stop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Optional, Protocol, Union

from edge.cameras import Camera
from edge.classifier import Answer, Classifier
from edge.labels import ClassNames
from edge.loop.abreast import Abreast
from edge.loop.ahead import Ahead, Reading
from edge.loop.intake import Gate, Intake, Limits, Passed, Pulse, Totals
from edge.records import Frame, Record
from edge.runtimes import ConcurrentRuntime
from edge.sinks import Sink

__all__ = ["Limits", "Totals", "Viewer", "Watch", "run"]

_POLL_S = 0.25
"""The longest that a stop request waits for a camera that gives nothing."""
_PATIENCE_S = 1.0
"""The longest sleep between two frames: a stop request ends it."""
_READ_AHEAD = 2
"""Tensors beside those that are with the model: one ready, one being filled."""


class Watch(Protocol):
    """Knows more of the moment than the camera does."""

    @property
    def truth(self) -> Optional[str]:
        """What stands before the camera now, where somebody said so."""

    @property
    def throttled(self) -> Optional[int]:
        """The board's throttling bits, where it tells them."""


class Viewer(Protocol):
    """Sees each frame with its record."""

    def see(self, frame: Frame, record: Record) -> None:
        """Look at them; must not take long."""


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
    viewers: Sequence[Viewer] = (),
    keep_pixels: bool = False,
) -> Totals:
    """Classify until a limit, the end of the source or `stop`.

    A live camera is read as frames are wanted, so that each is the newest. With any other the model works ahead,
    so that it never waits: see `edge.loop.ahead`. A runtime that works elsewhere is kept busy: see `edge.loop.abreast`.
    `totals` are counted as it goes; those of an earlier call go on. `keep_pixels` is for viewers that want them
    also of a source that is read ahead.

    Raises:
        EdgeError: the camera or the model failed.
    """
    totals = totals or Totals()
    loop = _loop(camera, classifier, limits, totals, pulse, gate, keep_pixels)
    classes = ClassNames(classifier.bundle.labels)
    try:
        while not stop.is_set() and not loop.over():
            seen = loop.next(stop)
            if seen is None:
                continue
            answer, passed = seen
            truth, throttled = (watch.truth, watch.throttled) if watch else (None, None)
            record = classifier.finish(answer, passed.over, passed.reason, truth, throttled, passed.unchanged)
            totals.add(record, classes)
            for sink in sinks:
                sink.write(record)
            for viewer in viewers:
                viewer.see(answer.frame, record)
            if pulse:
                pulse.classified(record)
    finally:
        loop.end()
    return totals


def _loop(
    camera: Camera,
    classifier: Classifier,
    limits: Limits,
    totals: Totals,
    pulse: Optional[Pulse],
    gate: Optional[Gate],
    keep_pixels: bool,
) -> Union[_OneByOne, Abreast]:
    """What gives the answers, by where the model runs and what the camera is."""
    # At a limited rate nothing waits for the model, and what was read ahead would only grow old.
    works_ahead = not (camera.live or limits.fps or gate)
    runtime = classifier.runtime
    if isinstance(runtime, ConcurrentRuntime):
        if works_ahead:
            reading = Reading(camera, classifier, len(runtime.devices) + _READ_AHEAD, keep_pixels)
            return Abreast(Intake(reading, camera, limits, totals, pulse, gate), classifier, runtime, True, reading)
        frames = Intake(camera, camera, limits, totals, pulse, gate)
        return Abreast(frames, classifier, runtime, not camera.live, None)
    if works_ahead:
        ahead = Ahead(camera, classifier, keep_pixels)
        return _OneByOne(Intake(ahead, camera, limits, totals, pulse, gate), classifier, ahead)
    return _OneByOne(Intake(camera, camera, limits, totals, pulse, gate), classifier, None)


class _OneByOne:
    """Classifies in this process, the frames one after the other."""

    def __init__(self, intake: Union[Intake[Frame], Intake[Answer]], classifier: Classifier, ahead: Optional[Ahead]):
        self._intake, self._classifier, self._ahead = intake, classifier, ahead

    def over(self) -> bool:
        """Whether a limit or the end of the source is reached."""
        return self._intake.over()

    def next(self, stop: threading.Event) -> Optional[tuple[Answer, Passed]]:
        """Wait a moment for the next frame that is due, and classify it."""
        early_s = self._intake.early_s()
        if early_s > 0:
            stop.wait(min(early_s, _PATIENCE_S))
            return None
        item = self._intake.take(_POLL_S)
        if item is None:
            return None
        answer = self._classifier.infer(item) if isinstance(item, Frame) else item
        return answer, self._intake.passed()

    def end(self) -> None:
        """Leave what was made ahead."""
        self._intake.count_time()
        if self._ahead:
            self._ahead.close()
