"""From a bundle, or a bare .tflite file, to its twin for an Edge TPU."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Callable, Optional

import msgspec

from deploy import files
from deploy.compilation import checks, compiler, log
from deploy.conversion import bundles
from deploy.inspection import inspect
from edge.errors import ConfigError
from edge.model import tflite_file
from edge.model.bundle import CONTRACT_FILE, Bundle, Compiled, locate, open_bundle, read_contract

SUFFIX = "_edgetpu.tflite"


class Request(msgspec.Struct, frozen=True):
    """What to compile."""

    model: str
    """A bundle's folder or name, or a .tflite file."""
    compiler: Optional[str] = None
    """None: the one on PATH."""
    timeout_s: float = 300.0
    """For each try."""
    tries: int = 10
    out: Optional[Path] = None
    """Where to write the bundle with both models, or the compiled file; None: into the bundle, or beside the file."""
    allow_cpu_operators: bool = False


class Report(msgspec.Struct, frozen=True):
    """What was compiled, and what the compiler said of it."""

    file: str
    """The compiled .tflite file."""
    sha256: str
    bytes: int
    twin: str
    """The file that it was made of."""
    bundle: Optional[str]
    """None for a bare file."""
    compiler: str
    """Its version."""
    failures: tuple[str, ...]
    """Of the tries before."""
    log: log.Log
    seconds: float
    """From the start to the written file."""


def run(request: Request, say: Callable[[str], None]) -> Report:
    """Compile a model and write it beside its twin; whatever fails leaves everything as it was.

    Args:
        request: what to compile.
        say: is told each step as it begins.

    Raises:
        ConfigError: the request cannot be carried out, or the place cannot be written.
        ModelError: the model cannot be compiled, or what came out is not the same model.
        RuntimeUnavailableError: there is no compiler, or it does not run here.
    """
    started_s = time.monotonic()
    path = locate(request.model)
    bundle = _open_without_twin(path) if path.is_dir() else None
    twin = bundle.path if bundle else path
    if bundle is None:
        _refuse_part_of_bundle(path)
    facts = tflite_file.read(twin)
    checks.require_fit(inspect.inspect(twin), str(twin), request.allow_cpu_operators)
    target = _target(request, path, bundle) / f"{twin.stem}{SUFFIX}"
    program = compiler.find(request.compiler)
    say(f"compiling {twin} with {program.name}")
    with tempfile.TemporaryDirectory(prefix="edge-deploy-") as scratch:
        made = compiler.run(program, twin, Path(scratch), request.timeout_s, request.tries, say)
        compiled = tflite_file.read(made.file)
        checks.require_twin(facts, compiled, made.log, str(twin), program.name, request.allow_cpu_operators)
        content = made.file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if bundle is None:
        files.write(target, content)
    else:
        _write(bundle, target, _section(target, sha256, program, made.log), content)
    return Report(
        file=str(target),
        sha256=sha256,
        bytes=len(content),
        twin=str(target.with_name(twin.name) if bundle else twin),
        bundle=str(target.parent) if bundle else None,
        compiler=program.version,
        failures=made.failures,
        log=made.log,
        seconds=round(time.monotonic() - started_s, 1),
    )


def _open_without_twin(folder: Path) -> Bundle:
    """A bundle whose compiled twin, if it has one, need not be in order: it is made anew."""
    return open_bundle(folder, msgspec.structs.replace(read_contract(folder), edgetpu=None))


def _refuse_part_of_bundle(path: Path) -> None:
    folder = path.parent
    if (folder / CONTRACT_FILE).is_file() and read_contract(folder).file == path.name:
        raise ConfigError(
            f"{path} is the model of a bundle: give the bundle, {folder}, whose contract is to tell of both."
        )


def _target(request: Request, path: Path, bundle: Optional[Bundle]) -> Path:
    """The folder to write to, after a look at what is there."""
    folder = path if bundle else path.parent
    if request.out is None or (request.out.is_dir() and request.out.samefile(folder)):
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"You may not write into {folder}: --out FOLDER puts the result elsewhere.")
        return folder
    if bundle:
        bundles.check_target(request.out)
    elif request.out.exists() and not request.out.is_dir():
        raise ConfigError(f"--out {request.out} is not a folder: expected one for the compiled file.")
    return request.out


def _section(target: Path, sha256: str, program: compiler.Compiler, said: log.Log) -> Compiled:
    assert said.tpu_operators is not None
    assert said.cpu_operators is not None
    return Compiled(
        file=target.name,
        sha256=sha256,
        compiler=program.version,
        tpu_operators=said.tpu_operators,
        cpu_operators=said.cpu_operators,
        on_chip_bytes=said.on_chip_bytes,
        off_chip_bytes=said.off_chip_bytes,
    )


def _write(bundle: Bundle, target: Path, section: Compiled, content: bytes) -> None:
    assert bundle.contract is not None
    folder = bundle.path.parent
    if target.parent == folder:
        bundles.add_compiled(folder, section, content)
        return
    contract = msgspec.structs.replace(bundle.contract, edgetpu=section)
    labels = (folder / contract.labels).read_bytes().decode()
    bundles.write(target.parent, contract, bundle.path.read_bytes(), labels, content)
