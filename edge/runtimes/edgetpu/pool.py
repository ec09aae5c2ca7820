"""Edge TPUs, each held by a process of its own, with the CPU in their place while they do not work."""

from __future__ import annotations

import functools
import math
import select
import time
from collections import deque
from pathlib import Path
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edge.errors import AcceleratorError
from edge.runtimes import Done, Judge, OnEvent, Runtime, TensorDetails, require
from edge.runtimes.edgetpu.lane import Job, Lane
from edge.runtimes.edgetpu.options import require_devices
from edge.runtimes.edgetpu.process import Child, Over
from edge.runtimes.edgetpu.words import Failure, Opened, Order
from edge.runtimes.settings import RuntimeSettings

_BESIDE_TWIN_S = 5.0
"""So long a start waits for an Edge TPU where the CPU could begin without it; its firmware takes seconds to load."""
_PATIENCE_S = 0.1
_REFUSES = "libedgetpu refuses it, as one that is unplugged or in use"
"""TensorFlow Lite knows no more than that it was refused."""
_SYNCHRONOUS, _VETTING = 2**64 - 1, 2**64 - 2
"""The tickets of `invoke`, and of what an Edge TPU is tried with."""


class EdgeTpu:
    """A model on one Edge TPU or several; a `ConcurrentRuntime`.

    What an Edge TPU does not answer, because it fails, is run again by another one or by the CPU, else by the same one
    when it has been opened again: each input gets its own answer, named after what really gave it.
    """

    def __init__(
        self, model: Path, threads: int, settings: Optional[RuntimeSettings] = None, twin: Optional[Runtime] = None
    ) -> None:
        """Open the Edge TPUs.

        Args:
            model: a .tflite compiled for the Edge TPU.
            threads: of the interpreter, for what the compiler left to the CPU.
            settings: which Edge TPUs, and how they are treated.
            twin: the same model, uncompiled and opened; answers whenever no Edge TPU works, and is closed with this.

        Raises:
            ConfigError: the devices' names are none, or not different.
            RuntimeUnavailableError: no interpreter is installed.
            AcceleratorError: an Edge TPU cannot be opened, and there is no twin.
        """
        self._settings = settings = settings or RuntimeSettings(name="edgetpu")
        self._model, self._twin = model, twin
        self._lanes: list[Lane] = []
        self._jobs: deque[Job] = deque()
        self._done: deque[Done] = deque()
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._on_event: Optional[OnEvent] = None
        self._starting, self._fell_back = True, False
        self._vetting: Optional[tuple[NDArray[np.generic], Judge]] = None
        self._last: Optional[tuple[str, Failure]] = None
        self.devices, self.threads = settings.devices, threads
        self.faults = 0
        self.troubles: dict[str, str] = {}
        self.lost: Optional[str] = None
        self.backend = self.answered_by = "edgetpu"
        self.name = self.version = ""
        self.library_version = ""
        """What libedgetpu calls itself; empty before an Edge TPU is open."""
        self.first_ns: Optional[int] = None
        """What the first inference on the Edge TPU took, in its process; None before it."""
        self.input_details: tuple[TensorDetails, ...] = ()
        self.output_details: tuple[TensorDetails, ...] = ()
        try:
            self.require(settings.interpreter)
            require_devices(settings.devices)
            self._open()
        except BaseException:
            self.close()
            raise

    @classmethod
    def require(cls, interpreter: str = "auto") -> None:
        """Make sure that there is an interpreter to put an Edge TPU under.

        Raises:
            RuntimeUnavailableError: there is none.
        """
        require(interpreter)

    def vet(self, tensor: NDArray[np.generic], judge: Judge) -> None:
        self._vetting = tensor, judge

    def takes(self) -> bool:
        if self._jobs:
            return False
        return any(lane.free for lane in self._lanes) or (self._twin_answers() and not self._done)

    def begin(self, ticket: int, tensor: NDArray[np.generic]) -> None:
        self._jobs.append(Job(ticket, tensor))
        self._serve()

    def finished(self, timeout_s: float) -> Optional[Done]:
        deadline_s = time.monotonic() + timeout_s
        while True:
            due_s = min((lane.due_s for lane in self._lanes if not lane.free), default=deadline_s)
            # Also while the CPU answers all at once: a lane that works again must be noticed.
            self._look(0.0 if self._done else max(0.0, min(deadline_s, due_s) - time.monotonic()))
            if self._done:
                done = self._done.popleft()
                self.answered_by = done.backend
                return done
            if self._twin is None and all(lane.used_up for lane in self._lanes):
                raise AcceleratorError(f"{self._diagnosis()} Opening it again has not helped.")
            if time.monotonic() >= deadline_s:
                return None

    def input(self) -> Any:
        return self._input

    def output(self) -> Any:
        return self._output

    def invoke(self) -> None:
        self.begin(_SYNCHRONOUS, self._input)
        while True:
            done = self.finished(_PATIENCE_S)
            if done and done.ticket == _SYNCHRONOUS:
                break
        self._output[...] = done.output

    def listen(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        events, self._events = self._events, []
        for kind, detail in events:
            on_event(kind, detail)

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
        if self._twin:
            self._twin.close()

    def _open(self) -> None:
        """Start a process for each Edge TPU, and wait for them; for not too long where there is a twin."""
        devices = ", ".join(self._settings.devices)
        self.lost = f"The Edge TPU ({devices}) is being opened."
        if self._twin:
            self.name, self.version = self._twin.name, self._twin.version
            self.input_details, self.output_details = self._twin.input_details, self._twin.output_details
        deadline_s = time.monotonic() + (_BESIDE_TWIN_S if self._twin else math.inf)
        for device in self._settings.devices:
            order = Order.of(self._model, self._settings, device, self.threads)
            lane = Lane(device, functools.partial(Child, order), self._settings)
            self._lanes.append(lane)
            self._start(lane)
            # One after the other: while its firmware is loaded, one on USB is not there for those that count.
            while lane.child and not lane.opened and time.monotonic() < deadline_s:
                self._look(_PATIENCE_S)
        self._input, self._output = self.input_details[0].zeros(), self.output_details[0].zeros()
        self._starting = False
        if self._twin and self.lost and not self.faults:
            self._tell("backend lost", backend=self.backend, device=devices, cause="opening", why=self.lost)

    def _twin_answers(self) -> bool:
        return self._twin is not None and not any(lane.opened for lane in self._lanes)

    def _look(self, wait_s: float) -> None:
        """Wait for a word from any of the processes; take in what they said, and see to those that do not work."""
        looked_ns, poll = time.monotonic_ns(), select.poll()
        for lane in self._lanes:
            if lane.child:
                poll.register(lane.child, select.POLLIN)
        poll.poll(wait_s * 1000)
        for lane in self._lanes:
            heard = lane.hear()
            if isinstance(heard, Over):
                self._take(lane, heard, looked_ns)
                continue
            if isinstance(heard, Opened):
                self._find(lane, heard)
            elif heard:
                self._lose(lane, heard)
            elif lane.child is None and time.monotonic() >= lane.due_s:
                self._start(lane)
            else:
                continue
            looked_ns = time.monotonic_ns()  # the others' answers waited for this
        if self._jobs:
            self._serve()

    def _serve(self) -> None:
        """Give what waits to whoever is free."""
        while self._jobs:
            free = (lane for lane in self._lanes if lane.free)
            lane = min(free, key=lambda each: each.sent_ns, default=None)  # in turn: none is lost without notice
            if lane:
                lane.give(self._jobs.popleft())
            elif self._twin_answers():
                self._run_twin(self._jobs.popleft())
            else:
                return

    def _run_twin(self, job: Job) -> None:
        twin = self._twin
        assert twin is not None  # `_twin_answers`
        began_ns = time.monotonic_ns()
        memoryview(twin.input()).cast("B")[:] = memoryview(job.tensor).cast("B")  # type: ignore[arg-type]
        twin.invoke()
        output = twin.output().copy()
        took_ns = time.monotonic_ns() - began_ns
        self._done.append(Done(job.ticket, output, twin.answered_by, took_ns, took_ns))

    def _take(self, lane: Lane, over: Over, looked_ns: int) -> None:
        job, lane.job = lane.job, None
        if not (job and lane.child and lane.opened and job.ticket == over.ticket):
            return
        if job.ticket == _VETTING:
            wrong = self._vetting[1](lane.child.output) if self._vetting else None
            if wrong:
                self._lose(lane, Failure("inference", "error", wrong))
            else:
                self._works(lane, lane.opened)
        else:
            # What lay there before anybody looked was not at work but waited.
            waited_ns = max(0, looked_ns - over.done_ns)
            invoke_ns = time.monotonic_ns() - lane.sent_ns - waited_ns
            self._done.append(Done(job.ticket, lane.child.output, lane.opened.backend, invoke_ns, over.inner_ns))

    def _start(self, lane: Lane) -> None:
        try:
            lane.open()
        except OSError as error:  # no memory, no descriptors: what may pass
            self._lose(lane, Failure("start", "refused", str(error)))

    def _find(self, lane: Lane, opened: Opened) -> None:
        """An Edge TPU is open; whether it works is seen when it has answered what it is tried with, if anything."""
        tensors = zip(self.input_details + self.output_details, opened.inputs + opened.outputs)
        if any(ours.differs(theirs) for ours, theirs in tensors):
            self._lose(lane, Failure("allocate", "refused", "its model's input or output is not that of its twin"))
        elif self._vetting:
            lane.give(Job(_VETTING, self._vetting[0]))
        else:
            self._works(lane, opened)

    def _works(self, lane: Lane, opened: Opened) -> None:
        self.name, self.version = opened.interpreter, opened.interpreter_version
        self.input_details, self.output_details = opened.inputs, opened.outputs
        self.backend, self.library_version = opened.backend, opened.library_version
        self.first_ns = self.first_ns or opened.first_ns
        told, after_s = bool(lane.told) or not self._starting, lane.found()
        self.lost, self._fell_back = None, False
        self.troubles.pop(lane.device, None)
        if told:
            self._tell("backend found", backend=opened.backend, device=lane.device, after=round(after_s, 3))

    def _lose(self, lane: Lane, failure: Failure) -> None:
        """An Edge TPU does not work, or not any more."""
        job, was_open = lane.job, lane.opened is not None
        lane.fail(failure.cause)
        self._last = lane.device, failure
        if self._starting:  # later nothing may take long
            sentence = self._diagnosis()
        else:
            said = _REFUSES if failure.stage == "delegate" and failure.cause == "refused" else failure.said
            sentence = f"The Edge TPU ({lane.device}) {'is lost' if was_open else 'cannot be opened'}: {said}."
        if self._starting and self._twin is None:
            raise AcceleratorError(sentence)
        self.faults += 1
        self.troubles[lane.device] = sentence
        if job and job.ticket != _VETTING:
            self._jobs.appendleft(job)
        if not any(other.opened for other in self._lanes):
            self.lost = sentence
        if failure.cause not in lane.told:
            lane.told.add(failure.cause)
            self._tell("backend lost", backend=self.backend, device=lane.device, cause=failure.cause, why=sentence)
        if self._twin and not self._fell_back and all(other.used_up for other in self._lanes):
            self._fell_back = True
            self._tell("fell back", to=self._twin.backend, why=sentence)

    def _diagnosis(self) -> str:
        """Why the last failure came about, and what to do; takes some 30 ms, and seconds where libedgetpu hangs."""
        from edge.runtimes.edgetpu.diagnosis import why

        assert self._last is not None  # after a failure
        device, failure = self._last
        return why(failure.stage, failure.said, self._settings, device)

    def _tell(self, kind: str, **detail: Any) -> None:
        if self._on_event:
            self._on_event(kind, detail)
        else:
            self._events.append((kind, detail))
