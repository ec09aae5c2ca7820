"""Keeps the lanes of a runtime that works elsewhere busy, such as several Edge TPUs."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Optional, Union

import numpy as np
from numpy.typing import NDArray

from edge.classifier import Answer, Classifier, Prepared
from edge.loop.ahead import Reading
from edge.loop.intake import Intake, Passed
from edge.records import Frame
from edge.runtimes import ConcurrentRuntime
from edge.tensors import Preprocessor

_POLL_S = 0.25
"""The longest that a stop request waits."""
_TURN_S = 0.003
"""How often the camera is looked at while an answer is waited for and a lane is free."""
_LOST_S = 0.05
"""How often a lane that is being opened again is looked for."""
_UNDELIVERED = 4
"""So many frames for each lane may have been handed over while the first of them has no answer yet."""


class _Flight:
    """A frame that was handed over."""

    def __init__(self, tensor: NDArray[np.generic], passed: Passed) -> None:
        self.tensor, self.passed = tensor, passed
        self.answer: Optional[Answer] = None


class Abreast:
    """Hands a frame over whenever a lane is free, and gives the answers.

    In the order of the frames where nothing is dropped. A live camera's answers come as they are ready, and it is not
    waited for while one may come.
    """

    def __init__(
        self,
        intake: Union[Intake[Frame], Intake[Prepared]],
        classifier: Classifier,
        runtime: ConcurrentRuntime,
        in_order: bool,
        reading: Optional[Reading],
    ) -> None:
        """Begin without a frame.

        Args:
            intake: where frames come from.
            classifier: has the runtime.
            runtime: runs the model.
            in_order: of the answers.
            reading: what `intake` takes from, where it reads ahead; closed at the end.
        """
        self._intake, self._classifier, self._runtime = intake, classifier, runtime
        self._in_order, self._reading = in_order, reading
        self._flights: dict[int, _Flight] = {}
        self._failure: Optional[Exception] = None
        self._preprocessor = Preprocessor(classifier.input)
        self._tensors: list[NDArray[np.generic]] = []

    def over(self) -> bool:
        """Whether a limit or the end of the source is reached, and every frame has its answer."""
        return self._intake.over(len(self._flights) + bool(self._failure))

    def next(self, _: threading.Event) -> Optional[tuple[Answer, Passed]]:
        """Wait a moment for an answer, and hand over frames.

        Raises:
            EdgeError: what the source raised, once what came before it is answered; or the runtime, at once.
        """
        wait_s = self._hand_over()
        if self._ready() is None:
            if self._failure and not self._flights:
                raise self._failure
            self._hear(wait_s)
        if self._reading and self._ready() is not None:  # the lanes work while somebody looks at the answer
            self._hand_over()
        ticket = self._ready()
        if ticket is None:
            return None
        flight = self._flights.pop(ticket)
        assert flight.answer is not None  # it is ready
        return flight.answer, flight.passed

    def end(self) -> None:
        """Leave what is under way; it counts as passed over."""
        self._intake.count_time()
        for flight in self._flights.values():
            self._intake.abandon(flight.passed)
        self._flights.clear()
        if self._reading:
            self._reading.close()

    def _ready(self) -> Optional[int]:
        """The ticket of the next frame to be answered for, where it has its answer."""
        candidates = itertools.islice(self._flights.items(), 1 if self._in_order else None)
        return next((ticket for ticket, flight in candidates if flight.answer), None)

    def _hand_over(self) -> float:
        """Hand over a frame where one is wanted, there, and taken; how long to wait for an answer after that."""
        intake, under_way = self._intake, len(self._flights)
        if self._failure or not intake.wants(under_way):
            return _POLL_S
        if under_way >= _UNDELIVERED * len(self._runtime.devices) or not self._runtime.takes():
            return _POLL_S if under_way and self._runtime.lost is None else _LOST_S
        early_s = intake.early_s()
        if early_s > 0:
            return min(early_s, _POLL_S)
        try:
            item = intake.take(0.0 if under_way else _POLL_S)
            prepared = self._prepared(item) if isinstance(item, Frame) else item
        except Exception as error:
            self._failure = error
            return _POLL_S
        if prepared is None:
            return _TURN_S if under_way else 0.0
        passed = intake.passed()
        self._flights[self._classifier.begin(prepared)] = _Flight(prepared.tensor, passed)
        return 0.0

    def _prepared(self, frame: Frame) -> Prepared:
        tensor = self._tensors.pop() if self._tensors else self._classifier.tensor()
        started_ns = time.monotonic_ns()
        self._preprocessor.fill(frame.pixels, tensor)
        return Prepared(frame, tensor, time.monotonic_ns() - started_ns)

    def _hear(self, timeout_s: float) -> None:
        """Take in what is answered first."""
        runtime = self._runtime
        heard = self._classifier.finished(timeout_s)
        if heard is None:
            if runtime.lost is not None and not runtime.takes():
                self._intake.has_nobody(runtime.lost)
            return
        ticket, answer = heard
        flight = self._flights.get(ticket)
        if flight is None:  # of a run that has ended
            return
        flight.answer = answer
        if self._reading:
            self._reading.free(flight.tensor)
        else:
            self._tensors.append(flight.tensor)
