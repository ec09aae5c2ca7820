"""One frame in, its predictions and the time of each stage out."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import NamedTuple, Optional, Union, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError
from edge.model import golden
from edge.model.bundle import Bundle
from edge.model.loading import BareOptions, open_model
from edge.records import Frame, Ran, Record, Timings
from edge.runtimes import ConcurrentRuntime, Runtime
from edge.runtimes.settings import RuntimeSettings
from edge.tensors import InputSpec, OutputSpec, Preprocessor, top

_PATIENCE_S = 0.1  # for an answer of a runtime that works elsewhere, before it is asked again


class Prepared(NamedTuple):
    """A frame as the model takes it."""

    frame: Frame
    tensor: NDArray[np.generic]
    """Shape and dtype of the model's input."""
    preprocess_ns: int
    """What filling it took."""


class Answer(msgspec.Struct, frozen=True):
    """A frame that the model has seen, before anyone has read what it said."""

    frame: Frame
    output: NDArray[np.generic]
    """Shape (classes,), the output's own dtype."""
    preprocess_ns: int
    invoke_ns: int
    backend: str
    """What ran the model."""


class Classifier:
    """A model on a runtime. Not for use by several threads at once."""

    def __init__(self, bundle: Bundle, runtime: Runtime, top_count: int = 5) -> None:
        """Take over an opened model; see `open` for the usual way."""
        if bundle.input is None or bundle.output is None:
            raise ModelError(f"{bundle.path} was opened without its input and output: use model.loading.open_model.")
        self.bundle = bundle
        self.runtime = runtime
        self._elsewhere = runtime if isinstance(runtime, ConcurrentRuntime) else None
        self.begin_run()
        self.input: InputSpec = bundle.input
        self.output: OutputSpec = bundle.output
        self._top_count = top_count
        self._preprocessor = Preprocessor(bundle.input)
        self._first_invoke_ns: Optional[int] = None
        self._under_way: dict[int, Prepared] = {}
        self._tickets = 0

    @classmethod
    def open(
        cls,
        model: str,
        *,
        runtime: Union[str, RuntimeSettings] = "auto",
        threads: Optional[int] = None,
        top: int = 5,
        options: Optional[BareOptions] = None,
        check_golden: bool = True,
    ) -> Classifier:
        """Open a bundle (by name or folder) or a bare .tflite; see `edge.model.loading.open_model` for the errors.

        Args:
            model: its name or path.
            runtime: a runtime's name, or all that can be said about running.
            threads: of the interpreter; None for the settings' own.
            top: predictions in a record.
            options: what a bare file cannot tell.
            check_golden: make sure that a bundle answers its golden input as promised.
        """
        opened = cls(*open_model(model, RuntimeSettings.of(runtime, threads), options), top)
        try:
            if check_golden:
                opened.check_golden()
        except BaseException:
            opened.close()
            raise
        return opened

    def begin_run(self) -> None:
        """Give what comes from now on another run's name."""
        self.run = os.urandom(6).hex()

    @property
    def first_invoke_ns(self) -> Optional[int]:
        """What the first inference took, which often is the golden input's; of an accelerator its own, not its twin's.

        None before it.
        """
        return self._elsewhere.first_ns if self._elsewhere else self._first_invoke_ns

    @property
    def ran(self) -> Ran:
        """What answers here."""
        runtime = self.runtime
        return Ran(
            self.bundle.name, self.bundle.sha256, runtime.name, runtime.version, runtime.backend, runtime.threads
        )

    def classify(self, given: Union[Frame, NDArray[np.uint8]], dropped: int = 0) -> Record:
        """Classify one frame.

        Args:
            given: a frame, or bare pixels (uint8 RGB, shape (height_px, width_px, 3)).
            dropped: frames lost since the previous one, for the record.

        Raises:
            ImageError: the pixels are not an RGB picture of bytes.
            ModelError: the model's output is not made of numbers.
        """
        frame = given if isinstance(given, Frame) else Frame(given, 0, time.monotonic_ns())
        return self.finish(self.infer(frame), dropped)

    def infer(self, frame: Frame) -> Answer:
        """Preprocess a frame into the interpreter's own input and run the model; `finish` makes the record.

        Raises:
            ImageError: the pixels are not an RGB picture of bytes.
            AcceleratorError: see `finished`.
        """
        if self._elsewhere:
            return self._infer_elsewhere(frame, self._elsewhere)
        started_ns = time.monotonic_ns()
        self._preprocessor.fill(frame.pixels, self.runtime.input())
        return self._invoke(frame, started_ns, 0)

    def infer_prepared(self, frame: Frame, tensor: NDArray[np.generic], preprocess_ns: int) -> Answer:
        """Run the model on an input tensor that was filled elsewhere; `finish` makes the record, on any thread.

        Args:
            frame: where the tensor came from.
            tensor: shape and dtype of the model's input.
            preprocess_ns: what filling it took.
        """
        started_ns = time.monotonic_ns()
        # Not np.copyto, which lets go of the GIL: another thread would take it, and the model would wait for it.
        memoryview(self.runtime.input()).cast("B")[:] = memoryview(tensor).cast("B")  # type: ignore[arg-type]
        return self._invoke(frame, started_ns, preprocess_ns)

    def _infer_elsewhere(self, frame: Frame, runtime: ConcurrentRuntime) -> Answer:
        started_ns, tensor = time.monotonic_ns(), runtime.input()
        self._preprocessor.fill(frame.pixels, tensor)
        prepared = Prepared(frame, tensor, time.monotonic_ns() - started_ns)
        while not runtime.takes():
            self.finished(_PATIENCE_S)
        ticket = self.begin(prepared)
        while (heard := self.finished(_PATIENCE_S)) is None or heard[0] != ticket:
            pass  # an answer that a loop did not wait for
        return heard[1]

    def _invoke(self, frame: Frame, started_ns: int, preprocess_ns: int) -> Answer:
        invoking_ns = time.monotonic_ns()
        self.runtime.invoke()
        done_ns = time.monotonic_ns()
        if self._first_invoke_ns is None:
            self._first_invoke_ns = done_ns - invoking_ns
        output = self.runtime.output().reshape(-1).copy()
        preprocess_ns += invoking_ns - started_ns
        return Answer(frame, output, preprocess_ns, done_ns - invoking_ns, self.runtime.answered_by)

    def tensor(self) -> NDArray[np.generic]:
        """A new input tensor, to be filled."""
        spec = self.input
        return np.empty((1, spec.height_px, spec.width_px, 3), spec.dtype)

    def begin(self, prepared: Prepared) -> int:
        """Hand a frame to a `ConcurrentRuntime` that takes one; the tensor stays as it is until it is answered.

        Returns:
            The ticket that `finished` tells with its answer.
        """
        self._tickets += 1
        self._under_way[self._tickets] = prepared
        cast(ConcurrentRuntime, self.runtime).begin(self._tickets, prepared.tensor)
        return self._tickets

    def finished(self, timeout_s: float) -> Optional[tuple[int, Answer]]:
        """Wait for whichever answer comes first, of frames given to `begin`; None when none comes in time.

        Its `invoke_ns` is of the inference itself: what the frame waited for, such as an accelerator that was opened
        again, is left to `wait`.

        Raises:
            AcceleratorError: nothing answers, and nothing will before the program is started again.
        """
        done = cast(ConcurrentRuntime, self.runtime).finished(timeout_s)
        if done is None:
            return None
        prepared = self._under_way.pop(done.ticket)
        output = done.output.reshape(-1)
        return done.ticket, Answer(prepared.frame, output, prepared.preprocess_ns, done.invoke_ns, done.backend)

    def finish(
        self,
        answer: Answer,
        dropped: int = 0,
        drop_reason: str = "busy",
        truth: Optional[str] = None,
        throttled: Optional[int] = None,
        unchanged: int = 0,
    ) -> Record:
        """The record of an answer; `wait` is all of its age that no other stage accounts for.

        Args:
            answer: of `infer`.
            dropped: frames lost since the previous one.
            drop_reason: why they were.
            truth: of a frame that does not know its own.
            throttled: the board's throttling bits.
            unchanged: frames since the previous one that a gate kept back.

        Raises:
            ModelError: the model's output is not made of numbers.
        """
        frame, started_ns = answer.frame, time.monotonic_ns()
        predictions = top(answer.output, self.output, self.bundle.labels, self._top_count)
        finished_ns = time.monotonic_ns()
        postprocess_ns = finished_ns - started_ns
        age_ns = finished_ns - frame.captured_ns
        wait_ns = age_ns - answer.preprocess_ns - answer.invoke_ns - postprocess_ns
        return Record(
            run=self.run,
            sequence=frame.sequence,
            utc=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            monotonic_ns=finished_ns,
            timings=Timings(max(0, wait_ns), answer.preprocess_ns, answer.invoke_ns, postprocess_ns),
            predictions=predictions,
            backend=answer.backend,
            truth=truth if frame.label is None else frame.label,
            dropped=dropped,
            drop_reason=drop_reason,
            unchanged=unchanged,
            source=frame.source,
            throttled=throttled,
        )

    def check_golden(self) -> None:
        """Run the bundle's golden input, see `edge.model.golden`; a bare file has none and passes.

        Each accelerator that is opened later is tried with it too, before it gets a frame.

        Raises:
            ModelError: the answer differs: the runtime or the file does not do what was verified.
        """
        tensor, runtime = golden.tensor(self.bundle), self.runtime
        if tensor is None:
            return
        runtime.input()[...] = tensor
        started_ns = time.monotonic_ns()
        runtime.invoke()
        if self._first_invoke_ns is None:
            self._first_invoke_ns = time.monotonic_ns() - started_ns
        who = f"{runtime.name} {runtime.version}"
        wrong = golden.wrong(self.bundle, runtime.output(), who, runtime.answered_by)
        if wrong:
            raise ModelError(wrong)
        if self._elsewhere:
            bundle, backend = self.bundle, runtime.backend
            self._elsewhere.vet(tensor, lambda output: golden.wrong(bundle, output, who, backend))

    def close(self) -> None:
        """Free the interpreter."""
        self.runtime.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
