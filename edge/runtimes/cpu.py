"""TensorFlow Lite on the CPU, through `ai-edge-litert` or the older `tflite-runtime`."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Optional

from edge.errors import ModelError, RuntimeUnavailableError
from edge.extras import how_to_install
from edge.runtimes import OnEvent, TensorDetails


class _Cpu:
    """One interpreter; the two packages offer the same `Interpreter`."""

    package: ClassVar[str]
    module: ClassVar[str]
    advice: ClassVar[str]
    backend = "cpu"

    @classmethod
    def require(cls) -> Any:
        """The package's interpreter module.

        Raises:
            RuntimeUnavailableError: it is not installed or cannot be imported.
        """
        try:
            return importlib.import_module(f"{cls.module}.interpreter")
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] != cls.module:
                raise RuntimeUnavailableError(f"{cls.package} needs {error.name}, which is not installed.") from None
            raise RuntimeUnavailableError(f"{cls.package} is not installed: {cls.advice}.") from None
        except (ImportError, AttributeError) as error:  # tflite-runtime beside numpy 2 raises AttributeError
            raise RuntimeUnavailableError(
                f"{cls.package} is installed but cannot be imported ({error}): {cls.advice}."
            ) from None

    def __init__(self, model: Path, threads: int, delegate: Optional[object] = None) -> None:
        """Load a model.

        Args:
            model: the .tflite file.
            threads: of the interpreter.
            delegate: takes over what it can, and may write to stderr; see `load_delegate` of TensorFlow Lite.

        Raises:
            RuntimeUnavailableError: the package cannot be imported.
            ModelError: it refuses the model.
        """
        interpreters = self.require()
        self.name = self.package
        self.version = str(importlib.import_module(self.module).__version__)
        self.threads = threads
        self._model = model
        try:
            with contextlib.nullcontext() if delegate else _quiet_stderr():
                self._interpreter: Any = interpreters.Interpreter(
                    model_path=str(model), num_threads=threads, experimental_delegates=[delegate] if delegate else None
                )
                self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError, MemoryError) as error:  # UnicodeDecodeError, of a name, is a ValueError
            raise self._refused(error) from None
        except (SystemError, ImportError):  # what tflite-runtime makes of a numpy that it was not built for
            raise RuntimeUnavailableError(
                f"{self.package} {self.version} is installed but does not fit this numpy: {self.advice}."
            ) from None
        self.input_details = tuple(_details(entry) for entry in inputs)
        self.output_details = tuple(_details(entry) for entry in outputs)
        if not inputs or not outputs:
            raise ModelError(f"{model} has {len(inputs)} inputs and {len(outputs)} outputs: expected one of each.")
        self._input: Any = self._interpreter.tensor(inputs[0]["index"])
        self._output: Any = self._interpreter.tensor(outputs[0]["index"])

    def input(self) -> Any:
        return self._input()

    def output(self) -> Any:
        return self._output()

    def invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise self._refused(error) from None

    @property
    def answered_by(self) -> str:
        return self.backend

    def listen(self, _: OnEvent) -> None: ...

    def _refused(self, error: Exception) -> ModelError:
        return ModelError(f"{self.package} {self.version} cannot run {self._model}: {' '.join(str(error).split())}.")

    def close(self) -> None:
        self._input = self._output = self._interpreter = None


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what TensorFlow Lite itself writes to stderr: chatter, or what our own error repeats."""
    try:
        kept = os.dup(2)
    except OSError:  # started without a stderr: nothing to hold back
        yield
        return
    if sys.stderr:
        sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class LiteRt(_Cpu):
    """Google's maintained runtime."""

    package = "ai-edge-litert"
    module = "ai_edge_litert"
    advice = "`pip install ai-edge-litert` (64-bit x86 or ARM, Python 3.9 to 3.13)"


class TfliteRuntime(_Cpu):
    """The last release of the old runtime, for those who run Coral's older stack."""

    package = "tflite-runtime"
    module = "tflite_runtime"
    advice = f"{how_to_install('tflite')} (Python 3.11 and older, numpy below 2)"


def _details(entry: dict[str, Any]) -> TensorDetails:
    scales = entry["quantization_parameters"]["scales"]
    quantized = len(scales) == 1
    return TensorDetails(
        name=entry["name"],
        shape=tuple(int(size) for size in entry["shape"]),
        dtype=entry["dtype"].__name__,
        scale=float(scales[0]) if quantized else None,
        zero_point=int(entry["quantization_parameters"]["zero_points"][0]) if quantized else None,
    )
