"""The uncompiled .tflite of a model that was compiled for an Edge TPU: its twin, which the CPU can run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from edge import labels as label_files
from edge.errors import ModelError
from edge.model import tflite_file
from edge.model.tflite_file import TfliteFile

_SUFFIX = "_edgetpu"


class Twin(NamedTuple):
    """An uncompiled file that can stand for a compiled one."""

    path: Path
    facts: TfliteFile
    labels: Optional[str]
    """Text of the label file inside it."""


def place(compiled: Path) -> Path:
    """Where the twin of a compiled file lies: x.tflite beside x_edgetpu.tflite, as Coral's compiler names them."""
    return compiled.with_name(f"{compiled.stem.removesuffix(_SUFFIX)}.tflite")


def compiled_place(uncompiled: Path) -> Path:
    """Where Coral's compiler puts what it makes of a file."""
    return uncompiled.with_name(f"{uncompiled.stem}{_SUFFIX}.tflite")


def find(compiled: Path, facts: TfliteFile, named: Optional[str]) -> Optional[Twin]:
    """The twin of a compiled file, checked: its inputs, outputs and labels are the same.

    Args:
        compiled: the compiled file.
        facts: of it.
        named: the twin's path; None: `place`, where there may be nothing.

    Raises:
        ModelError: the twin cannot be read, or differs.
    """
    path = Path(named) if named else place(compiled)
    if named is None and (path == compiled or not path.exists()):
        return None
    twin = Twin(path, tflite_file.read(path), tflite_file.packed_labels(path))
    if twin.facts.edgetpu:
        raise ModelError(f"{path} was compiled for an Edge TPU itself: a twin for the CPU is the uncompiled .tflite.")
    difference = tflite_file.difference(twin.facts, facts) or _in_labels(twin, tflite_file.packed_labels(compiled))
    if difference:
        raise ModelError(
            f"{path} is not the uncompiled twin of {compiled}: {difference}; put the .tflite that it was compiled "
            "from there, or name it: --set runtime.twin=FILE."
        )
    return twin


def _in_labels(twin: Twin, compiled: Optional[str]) -> Optional[str]:
    """How the labels inside two files differ, where both have some."""
    if twin.labels is None or compiled is None:
        return None
    given = label_files.parse(twin.labels, f"the label file inside {twin.path}")
    expected = label_files.parse(compiled, "the label file inside the compiled model")
    if len(given) != len(expected):
        return f"it has {len(given)} labels inside, expected {len(expected)}"
    for index, (here, there) in enumerate(zip(given, expected)):
        if here != there:
            return f"its label {index} is {here!r}, expected {there!r}"
    return None
