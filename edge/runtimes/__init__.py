"""TFLite runtimes by name, imported when one is opened.

A runtime is a class with `name`, `version`, `backend`, `threads`, `input_details`, `output_details` and:

- `input()`, `output()`: the tensor as a NumPy view into the interpreter's memory. Valid until the next
  call of `invoke`, and to be let go of before it: TensorFlow Lite refuses to run while one is held.
- `invoke()`: run the model once. May be called from any one thread at a time; releases the GIL.
- `close()`: free the interpreter.
- `answered_by`: the backend that gave the present output; `backend` is the one that the runtime is for.
- `listen(on_event)`: what to call when a backend is lost or found, see `OnEvent`.

One that works outside this process is a `ConcurrentRuntime` too.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Protocol, cast, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, RuntimeUnavailableError
from edge.extras import how_to_install

RUNTIMES = {
    "litert": "edge.runtimes.cpu:LiteRt",
    "tflite": "edge.runtimes.cpu:TfliteRuntime",
    "edgetpu": "edge.runtimes.edgetpu.pool:EdgeTpu",
}
AUTO_ORDER = ("litert", "tflite")
OnEvent = Callable[[str, dict[str, Any]], None]
"""Called on the thread that classifies, with an event's kind and detail: "backend lost" (backend, device, cause, why),
"backend found" (backend, device, after: seconds since it was lost), "fell back" (to, why), from
when on it is left alone for a while. A cause is "opening" (it takes long) or one of `edge.runtimes.edgetpu.words`."""
Judge = Callable[[NDArray[np.generic]], Optional[str]]
"""Says what is wrong with an output tensor, if anything."""
_SCALE_TOLERANCE = 1e-6  # relative; a compiler may write a float32 anew
MOST_THREADS = 4  # XNNPACK gains little past the four cores of a Pi, and oversubscribing costs a lot


class TensorDetails(msgspec.Struct, frozen=True):
    """What an interpreter, or a file, says of one of its tensors."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """A NumPy name, for example "uint8"; in a file TensorFlow Lite's own where NumPy has none."""
    scale: Optional[float]
    """None when the tensor is not quantized."""
    zero_point: Optional[int]

    def differs(self, other: TensorDetails) -> Optional[str]:
        """The first field, but the name, in which they are not alike; rounding may make scales differ a little."""
        for field in ("shape", "dtype", "scale", "zero_point"):
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs and not (field == "scale" and _near(mine, theirs)):
                return field
        return None

    def zeros(self) -> NDArray[np.generic]:
        """Room for it."""
        return np.zeros(self.shape, self.dtype)


def _near(one: Optional[float], other: Optional[float]) -> bool:
    return one is not None and other is not None and math.isclose(one, other, rel_tol=_SCALE_TOLERANCE)


class Runtime(Protocol):
    """One interpreter with one model loaded."""

    name: str
    version: str
    backend: str
    threads: int
    input_details: tuple[TensorDetails, ...]
    output_details: tuple[TensorDetails, ...]

    @property
    def answered_by(self) -> str: ...
    def input(self) -> Any: ...
    def output(self) -> Any: ...
    def invoke(self) -> None: ...
    def close(self) -> None: ...
    def listen(self, on_event: OnEvent) -> None: ...


class Done(NamedTuple):
    """An inference that is over."""

    ticket: int
    """As given to `begin`."""
    output: NDArray[np.generic]
    """The output tensor, a copy."""
    backend: str
    """What ran it."""
    invoke_ns: int
    """From handing the input over to having the output; of failed attempts nothing."""
    inner_ns: int
    """Of that, the copies into and out of the interpreter and its invoke(); the rest is the way to it and back."""


@runtime_checkable
class ConcurrentRuntime(Runtime, Protocol):
    """A runtime whose work is done elsewhere, on several inputs at once; not for several threads."""

    lost: Optional[str]
    """Why no accelerator works at present; None while one does."""
    troubles: Mapping[str, str]
    """Why each of those that do not work does not, by device."""
    faults: int
    """Failures of accelerators so far."""
    devices: tuple[str, ...]
    """Accelerators that are used at once."""
    first_ns: Optional[int]
    """What the first inference on an accelerator took; None before it."""

    def vet(self, tensor: NDArray[np.generic], judge: Judge) -> None:
        """Have each accelerator that is opened from now on run an input first; one whose output is wrong is lost."""

    def takes(self) -> bool:
        """Whether `begin` would find somebody who is free."""

    def begin(self, ticket: int, tensor: NDArray[np.generic]) -> None:
        """Hand over an input tensor; it is not to change until `finished` tells of its ticket."""

    def finished(self, timeout_s: float) -> Optional[Done]:
        """Wait for whatever is over first; None when nothing is in time.

        Raises:
            AcceleratorError: nothing answers, and nothing will before the program is started again.
        """


def default_threads() -> int:
    """Processors that this process may use, at most `MOST_THREADS`."""
    return min(len(os.sched_getaffinity(0)), MOST_THREADS)


def open_runtime(name: str, model: Path, threads: Optional[int] = None) -> Runtime:
    """Open a runtime by name; "auto" takes the first of `AUTO_ORDER` that is installed.

    Raises:
        ConfigError: no runtime has that name, or `threads` is not positive.
        RuntimeUnavailableError: it is not installed.
        ModelError: it refuses the model.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"{threads} threads were asked for: expected 1 or more.")
    return require(name)(model, threads or default_threads())


def require(name: str) -> Callable[[Path, int], Runtime]:
    """Import a runtime by name; see `open_runtime`.

    Raises:
        ConfigError: no runtime has that name.
        RuntimeUnavailableError: it is not installed.
    """
    require_name(name)
    if name in RUNTIMES:
        return _load(name)
    for candidate in AUTO_ORDER:
        with contextlib.suppress(RuntimeUnavailableError):
            return _load(candidate)
    raise RuntimeUnavailableError(
        "No TensorFlow Lite runtime is installed: `pip install ai-edge-litert` (64-bit x86 or ARM), or "
        f"on Python 3.11 and older the older one, {how_to_install('tflite')}."
    )


def require_name(name: str) -> None:
    """Make sure that a runtime, or "auto", has that name.

    Raises:
        ConfigError: none has.
    """
    if name not in ("auto", *RUNTIMES):
        raise ConfigError(f"No runtime {name!r}: expected one of auto, {', '.join(RUNTIMES)}.")


def _load(name: str) -> Callable[[Path, int], Runtime]:
    module_name, _, class_name = RUNTIMES[name].partition(":")
    runtime = getattr(importlib.import_module(module_name), class_name)
    runtime.require()
    return cast(Callable[[Path, int], Runtime], runtime)
