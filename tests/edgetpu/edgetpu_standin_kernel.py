"""The arithmetic behind the stand-in: what an Edge TPU would do, done by an ordinary interpreter.

Imported by python.c in whatever process has loaded the library, hence outside of any package.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

_PACKAGES = ("tflite_runtime", "ai_edge_litert")


def open_model(package: bytes) -> Model:
    """What an edgetpu-custom-op carries: a whole .tflite where tests.edgetpu.compiled made it.

    For a real one, that no CPU can run, the state's `twin` names the .tflite that it was compiled from.
    """
    if package[4:8] == b"TFL3":
        return Model(package)
    state = Path(os.environ["EDGETPU_STANDIN"]) / "twin"
    if not state.is_file():
        raise ValueError("the operator holds a program for an Edge TPU, and the stand-in's twin is not set")
    return Model(Path(state.read_text().strip()).read_bytes())


class Model:
    """A model for the CPU."""

    def __init__(self, content: bytes) -> None:
        self._interpreter: Any = _interpreter()(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._inputs = [each["index"] for each in self._interpreter.get_input_details()]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def run(self, inputs: list[memoryview], outputs: list[memoryview]) -> None:
        for view, index in zip(inputs, self._inputs):
            self._bytes(index)[:] = view
        self._interpreter.invoke()
        for view, index in zip(outputs, self._outputs):
            view[:] = self._bytes(index)

    def _bytes(self, index: int) -> memoryview:
        return memoryview(self._interpreter.tensor(index)().reshape(-1).view("u1"))


def _interpreter() -> Any:
    """Of the runtime that this process uses already."""
    package = next(each for each in _PACKAGES if f"{each}.interpreter" in sys.modules)
    return importlib.import_module(f"{package}.interpreter").Interpreter
