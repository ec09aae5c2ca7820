"""One frame in, its predictions and the time of each stage out."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timezone
from typing import Any, Optional, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, golden_picture
from edge.errors import ModelError
from edge.loading import BareOptions, open_model
from edge.records import Frame, Record, Timings
from edge.runtimes import Runtime
from edge.tensors import InputSpec, OutputSpec, Preprocessor, top


class Prepared(msgspec.Struct, frozen=True):
    """A frame whose input tensor was filled ahead of time, on another thread."""

    frame: Frame
    tensor: NDArray[np.generic]
    preprocess_ns: int


class Classifier:
    """A model on a runtime. Not for use by several threads at once."""

    def __init__(self, bundle: Bundle, runtime: Runtime, top_count: int = 5) -> None:
        """Take over an opened model; see `open` for the usual way."""
        if bundle.input is None or bundle.output is None:
            raise ModelError(f"{bundle.path} was opened without its input and output: use edge.loading.open_model.")
        self.bundle = bundle
        self.runtime = runtime
        self.run = uuid.uuid4().hex[:12]
        self.input: InputSpec = bundle.input
        self.output: OutputSpec = bundle.output
        self._top_count = top_count
        self._preprocessor = Preprocessor(bundle.input)

    @classmethod
    def open(
        cls,
        model: str,
        *,
        runtime: str = "auto",
        threads: Optional[int] = None,
        top: int = 5,
        options: Optional[BareOptions] = None,
        check_golden: bool = True,
    ) -> Classifier:
        """Open a bundle (by name or folder) or a bare .tflite; see `edge.loading.open_model` for the errors."""
        opened = cls(*open_model(model, runtime, threads, options), top)
        try:
            if check_golden:
                opened.check_golden()
        except ModelError:
            opened.close()
            raise
        return opened

    def classify(self, given: Union[Frame, Prepared, NDArray[np.uint8]], dropped: int = 0) -> Record:
        """Classify one frame.

        Args:
            given: a frame, a prepared frame, or bare pixels (uint8 RGB, shape (height_px, width_px, 3)).
            dropped: frames lost since the previous one, for the record.

        Raises:
            ImageError: the pixels are not an RGB picture of bytes.
            ModelError: the model's output is not made of numbers.
        """
        started_ns = time.monotonic_ns()
        if isinstance(given, Prepared):
            frame = given.frame
            np.copyto(self.runtime.input(), given.tensor)
            invoking_ns = time.monotonic_ns()
            preprocess_ns = given.preprocess_ns + invoking_ns - started_ns
        else:
            frame = given if isinstance(given, Frame) else Frame(given, 0, started_ns)
            self._preprocessor.fill(frame.pixels, self.runtime.input())
            invoking_ns = time.monotonic_ns()
            preprocess_ns = invoking_ns - started_ns
        self.runtime.invoke()
        invoked_ns = time.monotonic_ns()
        predictions = top(self.runtime.output(), self.output, self.bundle.labels, self._top_count)
        done_ns = time.monotonic_ns()
        invoke_ns, postprocess_ns = invoked_ns - invoking_ns, done_ns - invoked_ns
        wait_ns = done_ns - frame.captured_ns - preprocess_ns - invoke_ns - postprocess_ns
        return Record(
            run=self.run,
            sequence=frame.sequence,
            utc=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            timings=Timings(max(0, wait_ns), preprocess_ns, invoke_ns, postprocess_ns),
            predictions=predictions,
            backend=self.runtime.backend,
            truth=frame.label,
            dropped=dropped,
            source=frame.source,
        )

    def check_golden(self) -> None:
        """Run the bundle's golden input and compare the top 5; a bare file has none and passes.

        Raises:
            ModelError: the answer differs: the runtime or the file does not do what was verified.
        """
        contract = self.bundle.contract
        if contract is None:
            return
        picture = golden_picture(contract.golden.seed, self.input.height_px, self.input.width_px)
        given = tuple(prediction.class_id for prediction in self._answer(picture))
        expected = contract.golden.top5
        if given != expected:
            raise ModelError(
                f"The bundle {contract.name} fails its golden input on {self.runtime.name} {self.runtime.version}: "
                f"its top 5 are {list(given)}, {contract.name} promises {list(expected)}; "
                "restore the bundle or use another runtime version."
            )

    def _answer(self, picture: NDArray[np.uint8]) -> Any:
        Preprocessor(msgspec.structs.replace(self.input, resize="squash")).fill(picture, self.runtime.input())
        self.runtime.invoke()
        return top(self.runtime.output(), self.output, self.bundle.labels, 5)

    def close(self) -> None:
        """Free the interpreter."""
        self.runtime.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
