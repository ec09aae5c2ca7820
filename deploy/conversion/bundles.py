"""Writes model bundles: whole under their final name, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import msgspec
import yaml

from deploy import files
from edge.errors import ConfigError, ModelError
from edge.model.bundle import CONTRACT_FILE, Compiled, Contract, open_bundle, read_contract

MODEL_FILE = "model.tflite"
LABELS_FILE = "labels.txt"
_HEAD = """\
# What {name} is and what was measured with it. `edge` checks the files beside this one against it.
# Written by `edge-deploy`: make it again instead of editing.
"""


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on one line."""


_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


def contract_text(contract: Contract) -> str:
    """The content of model.yaml; the same text for the same contract. What is None is left out."""
    document = yaml.dump(_without_none(msgspec.to_builtins(contract)), Dumper=_Dumper, sort_keys=False, width=110)
    return _HEAD.format(name=contract.name) + document


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, (list, tuple)) else value


def check_target(folder: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        ConfigError: there is something else under that name.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"{folder} is not a folder: expected a new name or a bundle to replace.")
    if folder.is_dir() and folder.samefile(Path.cwd()):
        raise ConfigError(f"{folder} is the folder you are in: expected a new name or a bundle to replace.")
    if folder.is_dir() and any(folder.iterdir()) and not _is_bundle(folder):
        raise ConfigError(
            f"{folder} holds something other than a model bundle: expected a new name or a bundle to replace."
        )


def _is_bundle(folder: Path) -> bool:
    """Whether a folder holds a contract and nothing that is not of the bundle."""
    try:
        contract = read_contract(folder)
    except ModelError:
        return False
    own = {CONTRACT_FILE, contract.file, contract.labels}
    if contract.edgetpu:
        own.add(contract.edgetpu.file)
    return {path.name for path in folder.iterdir()} <= own


def write(folder: Path, contract: Contract, model: bytes, labels: str, compiled: Optional[bytes] = None) -> None:
    """Write a bundle and check it as the device will; an older one of that name is replaced.

    All is written into a sibling folder which is then renamed, so an interrupted build leaves nothing
    half-written under the final name.

    Args:
        folder: of the bundle; its parents are made.
        contract: what to promise; its hashes must be those of the files.
        model: content of the .tflite file.
        labels: text of the label file.
        compiled: content of the file that `contract.edgetpu` names; needed where it names one.

    Raises:
        ConfigError: something else stands under that name, or the place cannot be written.
        ModelError: the files do not keep the contract.
    """
    check_target(folder)
    try:
        with _sibling(folder) as temporary:
            _write_synced(temporary / contract.file, model)
            _write_synced(temporary / contract.labels, labels.encode())
            if contract.edgetpu and compiled is not None:
                _write_synced(temporary / contract.edgetpu.file, compiled)
            _write_synced(temporary / CONTRACT_FILE, contract_text(contract).encode())
            open_bundle(temporary)
            _put_in_place(temporary, folder)
    except OSError as error:
        raise ConfigError(f"Cannot write the bundle {folder}: {error.strerror or error}.") from None


def add_compiled(folder: Path, section: Compiled, compiled: bytes) -> None:
    """Put a twin for an Edge TPU into a bundle, in place of an older one; all else stays as it is.

    At no moment does the contract promise a twin that is not there: an older one's section goes before its file does.

    Args:
        folder: of the bundle.
        section: what the contract is to say of the twin.
        compiled: content of the twin.

    Raises:
        ConfigError: the bundle cannot be written; it is as it was.
        ModelError: it does not keep its contract; it is as it was.
    """
    contract = read_contract(folder)
    path, promise = folder / section.file, folder / CONTRACT_FILE
    text = promise.read_bytes()
    older = path.read_bytes() if path.exists() else None
    try:
        if contract.edgetpu and older != compiled:
            files.write(promise, contract_text(msgspec.structs.replace(contract, edgetpu=None)))
        files.write(path, compiled)
        files.write(promise, contract_text(msgspec.structs.replace(contract, edgetpu=section)))
        open_bundle(folder)
    except BaseException:  # also Ctrl-C
        with contextlib.suppress(ConfigError, OSError):
            if older is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != older:
                files.write(path, older)
            files.write(promise, text)
        raise


@contextlib.contextmanager
def _sibling(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same file system, with the permissions of an ordinary one; gone afterwards."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        temporary = holder / folder.name
        temporary.mkdir()  # unlike mkdtemp's, readable as the umask says
        yield temporary
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename; an older bundle steps aside first and comes back if that fails."""
    if not folder.exists():
        temporary.rename(folder)
        return
    aside = temporary.with_name(f"{folder.name}.old")
    folder.rename(aside)
    try:
        temporary.rename(folder)
    except BaseException:  # also Ctrl-C: what is left in the holder is deleted
        if not folder.exists():
            aside.rename(folder)
        raise
