"""A stand-in for libedgetpu, built with gcc when it is needed, and models like those that Coral's compiler writes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Library(NamedTuple):
    """The stand-in, built."""

    current: Path
    """With the structures of the runtimes that the tests use."""
    old_abi: Path
    """With those that Google's last libedgetpu was built with; the runtimes crash on it."""

    @classmethod
    def build(cls, folder: Path, kernel: Path = HERE) -> Library:
        """Compile both; `folder` receives them, and `kernel` is where they will look for the arithmetic."""
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder / "libedgetpu_standin.so", folder / "libedgetpu_standin_old_abi.so")
        for library, more in ((made.current, []), (made.old_abi, ["-DOLD_ABI"])):
            options = ["-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden"]
            define = f'-DSTANDIN_FOLDER="{kernel}"'
            sources = [path.name for path in sorted(HERE.glob("*.c"))]
            command = ["gcc", *options, define, *more, "-o", str(library), *sources, "-ldl"]
            subprocess.run(command, cwd=HERE, check=True)
        return made


class Opened(NamedTuple):
    """A device that was opened."""

    pid: int
    path: str
    options: dict[str, str]
    """Those that took effect: none for a device without a number."""


class Standin:
    """The stand-in with a folder that tells it what to do; each call of it reads that folder anew."""

    def __init__(self, built: Library, folder: Path) -> None:
        self.library = str(built.current)
        self.old_abi = str(built.old_abi)
        self.folder = folder
        self.environment = {"EDGETPU_STANDIN": str(folder)}
        """For processes that are to use it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.set(devices="usb")

    def set(self, **state: object) -> None:
        """Change what README.md names: devices, faults, twin, create_ms, first_ms, invoke_ms."""
        if "devices" in state:  # what was unplugged has lost its firmware
            (self.folder / "firmware").unlink(missing_ok=True)
        for name, value in state.items():
            new = self.folder / f"{name}.new"
            new.write_text(str(value))
            new.rename(self.folder / name)

    @property
    def opened(self) -> list[Opened]:
        """Every opening so far, by any process."""
        path = self.folder / "opened"
        lines = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
        return [Opened(int(pid), device, dict(each.split("=", 1) for each in more)) for pid, device, *more in lines]

    @property
    def invokes(self) -> list[str]:
        """The device of every invoke so far, by any process, those included that failed."""
        path = self.folder / "invokes"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def compiled(model: bytes) -> bytes:
    """A .tflite as Coral's compiler would make it of a model: its inputs and outputs, one operator between them.

    The operator, edgetpu-custom-op, holds the whole model, which the stand-in runs.
    """
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromPackedBuf(model)
    graph = whole.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "edgetpu-custom-op"
    made = schema.ModelT()
    made.version = 3
    made.description = "for tests: a model for the CPU inside of an Edge TPU's operator"
    made.operatorCodes = [code]
    made.buffers = [schema.BufferT()]
    made.subgraphs = [schema.SubGraphT()]
    made.subgraphs[0].tensors = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    for tensor in made.subgraphs[0].tensors:
        tensor.buffer = 0
    operator = schema.OperatorT()
    count = len(graph.inputs)
    operator.inputs = np.arange(count, dtype=np.int32)
    operator.outputs = np.arange(count, count + len(graph.outputs), dtype=np.int32)
    operator.customOptions = np.frombuffer(model, np.uint8)
    made.subgraphs[0].inputs, made.subgraphs[0].outputs = operator.inputs, operator.outputs
    made.subgraphs[0].operators = [operator]
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())
