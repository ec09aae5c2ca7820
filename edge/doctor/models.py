"""Whether the models are what they promise, and answer so on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

import msgspec

from edge.doctor import golden
from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning
from edge.doctor.runtimes import MODULES, working, works
from edge.errors import EdgeError, ModelError
from edge.model import bundle as bundles
from edge.model import tflite_file, twins
from edge.model.inventory import describe
from edge.model.loading import BareOptions, prepare

_CORRECT = "correct what it names, or name another with model.path (--model)."
_RESTORE = "restore its files (for the shipped one: install again), or name another with model.path (--model)."


class _Model(NamedTuple):
    name: str
    path: Path
    problem: Optional[str]
    bare: bool
    fix: str = _RESTORE


def examine(case: Case) -> Iterator[Finding]:
    """The configured model, then the other bundles that are found."""
    try:
        meant = bundles.locate(case.config.model.path)
        models = list(_models(meant, case))
    except ModelError as error:
        yield blocks(str(error), "name one that is there with model.path (--model), or correct $EDGE_MODELS.")
        return
    runtime = _runtime(case)
    sound = [each for each in models if each.problem is None and runtime is not None]
    answers = dict(zip(sound, golden.tried([_question(case, each, runtime or "") for each in sound])))
    for each in models:
        grave = blocks if each.path == meant else warning
        answer = answers.get(each)
        if each.problem is not None or (answer is not None and answer.why is not None):
            told = each.problem or (answer.why if answer else "")
            yield grave(f"{each.name}: {told}", each.fix)
        elif answer is None:
            yield note(f"{each.name}: as promised, and not tried, as no runtime works.")
        else:
            did = "answers its golden input as promised" if answer.golden else "can be opened and run"
            yield ok(f"{each.name}: {did} on {runtime} (CPU; opened and run once in {answer.took_ms:.0f} ms).")
    if compiled_file(meant) == meant:
        yield note(f"{meant.name} is compiled for an Edge TPU: see accelerator above.")


def meant_path(case: Case) -> Optional[Path]:
    """The bundle's folder or the .tflite that is configured; None where there is none."""
    try:
        return bundles.locate(case.config.model.path)
    except ModelError:
        return None


def compiled_file(meant: Optional[Path]) -> Optional[Path]:
    """The .tflite that was compiled for an Edge TPU, of a bundle or a .tflite; None where there is none."""
    if meant is None:
        return None
    try:
        if meant.is_dir():
            return bundles.open_bundle(meant).compiled
        return meant if tflite_file.read(meant).edgetpu else None
    except ModelError:
        return None


def is_uncompiled(meant: Path) -> bool:
    """Whether a model can be read, and is not there for an Edge TPU."""
    try:
        return (bundles.open_bundle(meant).compiled is None) if meant.is_dir() else not tflite_file.read(meant).edgetpu
    except ModelError:
        return False


def _models(meant: Path, case: Case) -> Iterator[_Model]:
    """What is configured, then the other bundles that are found."""
    settings = case.config.runtime
    # Of a model and a runtime that do not fit each other accelerator tells.
    fits = settings.name != "edgetpu" or not is_uncompiled(meant)
    settings = settings if fits else msgspec.structs.replace(settings, name="auto")
    try:
        files = prepare(str(meant), settings, case.config.model.bare, look=False).files
    except EdgeError as error:
        if settings.name not in MODULES or compiled_file(meant) != meant:
            yield _Model(meant.name, meant, str(error), not meant.is_dir(), _fix(meant, settings.twin, error))
    else:
        if files.uncompiled is not None:
            path = meant if meant.is_dir() else files.uncompiled
            yield _Model(path.name, path, None, bare=not meant.is_dir())
    for folder in bundles.found():
        if folder.resolve() != meant.resolve():
            yield _Model(folder.name, folder, describe(folder).problem, bare=False)


def _fix(meant: Path, twin: Optional[str], error: EdgeError) -> str:
    """What to do about a model that is refused."""
    right = Path(twin) if twin else twins.place(meant)
    if "Permission denied" in str(error):
        files = sorted(meant.iterdir()) if meant.is_dir() else [meant, right]
        closed = [file for file in files if file.is_file() and not os.access(file, os.R_OK, effective_ids=True)]
        if closed:
            return f"make it readable: `chmod a+r {closed[0]}`."
    if "is not the uncompiled twin" in str(error):
        return f"put the right {right.name} there."
    return _RESTORE if meant.is_dir() else _CORRECT


def _runtime(case: Case) -> Optional[str]:
    """The one for the CPU that is asked for, or else that is taken."""
    settings = case.config.runtime
    wanted = settings.name if settings.name in MODULES else settings.interpreter
    return wanted if wanted in MODULES and works(case, MODULES[wanted]) else working(case)


def _question(case: Case, model: _Model, runtime: str) -> golden.Question:
    bare = case.config.model.bare if model.bare else BareOptions()
    return golden.Question(str(model.path.resolve()), runtime, case.config.runtime.threads, bare)
