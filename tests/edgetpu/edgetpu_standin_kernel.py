"""The arithmetic behind the stand-in: what an Edge TPU would do, done by an ordinary interpreter.

Imported by python.c in whatever process has loaded the library, hence outside of any package.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

_PACKAGES = ("tflite_runtime", "ai_edge_litert")


def open_model(content: bytes, runtime: str) -> Model:
    """The model that an edgetpu-custom-op stands for.

    Args:
        content: of the operator: a whole .tflite where tests.edgetpu.compiled made it. A real one is a program that
            no CPU can run; the state's `twin` then names the .tflite that it was compiled from.
        runtime: the shared library that called; the same runtime is used, as others may round otherwise.
    """
    package = next(each for each in _PACKAGES if each in Path(runtime).parts)
    interpreter = importlib.import_module(f"{package}.interpreter").Interpreter
    if content[4:8] != b"TFL3":
        twin = Path(os.environ["EDGETPU_STANDIN"]) / "twin"
        if not twin.is_file():
            raise ValueError("the operator holds a program for an Edge TPU, and the stand-in's twin is not set")
        content = Path(twin.read_text().strip()).read_bytes()
    return Model(interpreter(model_content=content, num_threads=1))


class Model:
    """A model for the CPU."""

    def __init__(self, interpreter: Any) -> None:
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._inputs = [each["index"] for each in interpreter.get_input_details()]
        self._outputs = [each["index"] for each in interpreter.get_output_details()]

    def run(self, inputs: list[memoryview], outputs: list[memoryview]) -> None:
        for view, index in zip(inputs, self._inputs):
            self._bytes(index)[:] = view
        self._interpreter.invoke()
        for view, index in zip(outputs, self._outputs):
            view[:] = self._bytes(index)

    def _bytes(self, index: int) -> memoryview:
        return memoryview(self._interpreter.tensor(index)().reshape(-1).view("u1"))
