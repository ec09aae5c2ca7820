"""What `edge models` tells of the bundles that are found."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import msgspec

from edge.errors import ModelError
from edge.model.bundle import Compiled, open_bundle, read_contract


class Listing(msgspec.Struct, frozen=True):
    """One bundle."""

    name: str
    """What `--model` takes: the folder's name."""
    folder: str
    size_bytes: Optional[int] = None
    input: Optional[str] = None
    top1: Optional[float] = None
    accuracy_data: Optional[str] = None
    sha256: Optional[str] = None
    edgetpu: Optional[Compiled] = None
    """The same model compiled for an Edge TPU, where the bundle has it."""
    problem: Optional[str] = None
    """Why the bundle cannot be used; None when its files are those of its contract."""

    def as_text(self) -> str:
        """The listing for a person."""
        lines = [f"{self.name}  ({self.folder})"]
        if self.size_bytes is not None:
            lines.append(f"  {self.size_bytes / 1e6:.1f} MB, {self.input}")
        if self.top1 is not None:
            lines.append(f"  top-1 {self.top1:.1%} on {self.accuracy_data}")
        if self.edgetpu is not None:
            lines.append(f"  {_in_words(self.edgetpu)}")
        state = (
            f"sha256 {(self.sha256 or '')[:12]}, as promised" if self.problem is None else f"unusable: {self.problem}"
        )
        return "\n".join([*lines, f"  {state}"])


def _in_words(compiled: Compiled) -> str:
    operators = compiled.tpu_operators + compiled.cpu_operators
    return f"for the Edge TPU too: {compiled.file}, {compiled.tpu_operators} of {operators} operators on it"


def describe(folder: Path) -> Listing:
    """What `edge models` tells of the bundle in a folder; a broken one is described, not raised."""
    try:
        contract = read_contract(folder)
    except ModelError as error:
        return Listing(folder.name, str(folder), problem=str(error))
    path = folder / contract.file
    problem = None
    try:
        open_bundle(folder)
    except ModelError as error:
        problem = str(error)
    return Listing(
        name=folder.name,
        folder=str(folder),
        size_bytes=path.stat().st_size if path.is_file() else None,
        input=f"{contract.input.width_px}x{contract.input.height_px} {contract.input.dtype}",
        top1=contract.accuracy.top1 if contract.accuracy else None,
        accuracy_data=contract.accuracy.data if contract.accuracy else None,
        sha256=contract.sha256,
        edgetpu=contract.edgetpu,
        problem=problem,
    )
