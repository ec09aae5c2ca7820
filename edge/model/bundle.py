"""A model bundle: `model.tflite`, `labels.txt` and `model.yaml`, the contract that both are checked against."""

from __future__ import annotations

import hashlib
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from edge import labels as label_files
from edge.errors import LabelError, ModelError
from edge.model import tflite_file
from edge.resources import shipped
from edge.tensors import InputSpec, OutputSpec

CONTRACT_FILE = "model.yaml"
_GOLDEN_DISCS = 6


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known input and what the model must answer to it."""

    seed: int
    """Seed of the picture that `golden_picture` draws."""
    top5: tuple[int, ...]
    """Class indices, highest score first."""


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured with this very file, and on what."""

    data: str
    images: int
    top1: float
    top1_interval95: tuple[float, float]
    top5: float
    float_top1: Optional[float] = None
    """The unquantized model on the same pictures."""
    agreement: Optional[float] = None
    """Share of pictures whose top-1 is that of the unquantized model."""


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the model came from."""

    weights: str
    licence: str
    converter: str
    weights_sha256: Optional[str] = None
    calibration: Optional[str] = None
    versions: dict[str, str] = {}


class Compiled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same model, compiled for an Edge TPU; what the compiler said of it."""

    file: str
    sha256: str
    compiler: str
    """Its version."""
    tpu_operators: int
    cpu_operators: int
    on_chip_bytes: Optional[int] = None
    """Parameters that stay in the Edge TPU's own memory."""
    off_chip_bytes: Optional[int] = None
    """Parameters that are sent anew for each inference."""


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of model.yaml."""

    name: str
    file: str
    sha256: str
    """Of the .tflite file."""
    input: InputSpec
    output: OutputSpec
    labels: str
    labels_sha256: str
    golden: Golden
    provenance: Provenance
    accuracy: Optional[Accuracy] = None
    edgetpu: Optional[Compiled] = None


class Bundle(msgspec.Struct, frozen=True):
    """A model that is ready to be opened by a runtime."""

    name: str
    path: Path
    """The .tflite file; of a bundle, the uncompiled one."""
    sha256: str
    """Of that file, also when a twin of it runs."""
    input: Optional[InputSpec]
    """None for a bare file until the runtime has told its input; see `edge.model.loading`."""
    output: Optional[OutputSpec]
    labels: tuple[str, ...]
    facts: tflite_file.TfliteFile
    contract: Optional[Contract] = None
    compiled: Optional[Path] = None
    """The .tflite that was compiled for an Edge TPU; `path` itself where that is one."""
    choice: Optional[str] = None
    """Which of the twins runs where, and why, in a sentence; None where there was no choice."""


def folders() -> list[Path]:
    """Where bundles are looked for: $EDGE_MODELS (folders separated by ':'), then those that ship.

    Raises:
        ModelError: $EDGE_MODELS names something that is not a folder.
    """
    extra = [Path(part) for part in os.environ.get("EDGE_MODELS", "").split(os.pathsep) if part]
    for folder in extra:
        if not folder.is_dir():
            raise ModelError(f"EDGE_MODELS names {folder}, which is not a folder.")
    return [*extra, shipped("models")]


def found() -> Iterator[Path]:
    """The folders of all bundles, by name within each place."""
    for folder in folders():
        if folder.is_dir():
            yield from sorted(path.parent for path in folder.glob(f"*/{CONTRACT_FILE}"))


def locate(model: str) -> Path:
    """The bundle folder or .tflite file that `model` means: a path, or the name of a bundle.

    Raises:
        ModelError: there is none; names those that are known.
    """
    try:
        os.stat(model)  # Path.exists raises where the present folder is not ours, as under `runuser`
        return Path(model)
    except (OSError, ValueError) as error:
        missing = error
    known = {folder.name: folder for folder in reversed(list(found()))}
    if model in known:
        return known[model]
    names = ", ".join(sorted(known)) or "none"
    raise ModelError(
        f"No model {model!r}: expected a .tflite file, a bundle's folder or a bundle's name ({names})."
    ) from (missing if os.sep in model else None)


def read_contract(folder: Path) -> Contract:
    """Read model.yaml.

    Raises:
        ModelError: it is missing, is not YAML, or does not have the fields of `Contract`.
    """
    path = folder / CONTRACT_FILE
    try:
        document: Any = yaml.load(path.read_text("utf-8"), _yaml_loader())
        contract = msgspec.convert(document, Contract)
    except msgspec.ValidationError as error:
        raise ModelError(f"{path} does not hold a model's contract: {error}.") from None
    except FileNotFoundError:
        raise ModelError(f"{folder} is not a model bundle: it has no {CONTRACT_FILE}.") from None
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets a wrong date or number through
        detail = " ".join(str(error).split())
        raise ModelError(f"{path} is not valid YAML: {detail}.") from None
    for name in (contract.file, contract.labels, *([contract.edgetpu.file] if contract.edgetpu else [])):
        _plain_name(folder, name)
    return contract


def _plain_name(folder: Path, name: str) -> None:
    """A bundle is its own folder and nothing else."""
    if name != os.path.basename(name) or name in ("", ".", "..") or "\0" in name:
        raise ModelError(f"{folder / CONTRACT_FILE} names the file {name!r}: expected one in the bundle's own folder.")
    if (folder / name).exists() and not (folder / name).is_file():
        raise ModelError(f"{folder / name} is not a regular file.")


def _yaml_loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def open_bundle(folder: Path, contract: Optional[Contract] = None) -> Bundle:
    """Open a bundle and check its files against its contract.

    Args:
        folder: of the bundle.
        contract: None: the one in it.

    Raises:
        ModelError: a file is missing, damaged or not the one that the contract was made for.
    """
    contract = contract or read_contract(folder)
    path = folder / contract.file
    facts = tflite_file.read(path)
    _check_sha256(path, contract.sha256, "model")
    if facts.edgetpu:
        raise ModelError(
            f"{path} was compiled for an Edge TPU: a bundle's own file is the uncompiled model, which "
            "`edge-deploy compile` adds the compiled one to."
        )
    labels_path = folder / contract.labels
    names = label_files.read(labels_path)
    _check_sha256(labels_path, contract.labels_sha256, "label file")
    if len(names) != contract.output.classes:
        raise LabelError(
            f"{labels_path} has {len(names)} names and the contract {contract.output.classes} classes: "
            "restore the bundle's own files."
        )
    return Bundle(
        name=contract.name,
        path=path,
        sha256=contract.sha256,
        input=contract.input,
        output=contract.output,
        labels=names,
        facts=facts,
        contract=contract,
        compiled=_compiled(folder, contract.edgetpu, facts) if contract.edgetpu else None,
    )


def _compiled(folder: Path, promised: Compiled, model: tflite_file.TfliteFile) -> Path:
    """The compiled twin, which can stand for the model."""
    path = folder / promised.file
    facts = tflite_file.read(path)
    _check_sha256(path, promised.sha256, "compiled model")
    if not facts.edgetpu:
        raise ModelError(f"{path} was not compiled for an Edge TPU: `edge-deploy compile` makes the compiled model.")
    if difference := tflite_file.difference(facts, model):
        raise ModelError(f"{path} was compiled from another model: {difference}; `edge-deploy compile` makes it again.")
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_sha256(path: Path, expected: str, what: str) -> None:
    given = sha256_of(path)
    if given != expected:
        raise ModelError(
            f"{path} is not the {what} of its contract: sha256 is {given[:12]}…, expected {expected[:12]}…; "
            "restore the bundle's own files."
        )


def golden_picture(seed: int, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """A picture of coloured discs that is the same on every machine and with every library version.

    Discs and not noise: classifiers have a firm opinion of them, so that rounding does not reorder the answer.

    Returns:
        uint8 RGB, shape (height_px, width_px, 3).
    """
    numbers = random.Random(seed).randbytes(3 + 6 * _GOLDEN_DISCS)
    rows, columns = np.arange(height_px)[:, None] * 256 // height_px, np.arange(width_px) * 256 // width_px
    picture = np.empty((height_px, width_px, 3), np.uint8)
    picture[:] = tuple(numbers[:3])
    for row, column, size, *colour in struct.iter_unpack("6B", numbers[3:]):
        radius = 10 + size * 100 // 256
        picture[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = colour
    return picture
