"""Whether the models are what they promise, and answer so on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from edge import bundle as bundles
from edge import tflite_file, twins
from edge.doctor import golden
from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning
from edge.doctor.runtimes import MODULES, working, works
from edge.errors import ModelError
from edge.inventory import describe
from edge.loading import BareOptions

_RESTORE = "restore its files (for the shipped one: install again), or name another with model.path (--model)."


class _Model(NamedTuple):
    name: str
    path: Path
    problem: Optional[str]
    bare: bool


def examine(case: Case) -> Iterator[Finding]:
    """The configured model, then the other bundles that are found."""
    try:
        meant = bundles.locate(case.config.model.path)
        models = list(_models(meant, case.config.runtime.twin))
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
            yield grave(f"{each.name}: {told}", _RESTORE)
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


def _models(meant: Path, named_twin: Optional[str]) -> Iterator[_Model]:
    """What is configured, then the other bundles that are found."""
    if meant.is_dir():
        yield _Model(meant.name, meant, describe(meant).problem, bare=False)
    else:
        try:
            facts = tflite_file.read(meant)
            twin = twins.find(meant, facts, named_twin) if facts.edgetpu else None
        except ModelError as error:
            yield _Model(meant.name, meant, str(error), bare=True)
        else:
            if not facts.edgetpu:
                yield _Model(meant.name, meant, None, bare=True)
            elif twin is not None:
                yield _Model(twin.path.name, twin.path, None, bare=True)
    for folder in bundles.found():
        if folder.resolve() != meant.resolve():
            yield _Model(folder.name, folder, describe(folder).problem, bare=False)


def _runtime(case: Case) -> Optional[str]:
    """The one for the CPU that is asked for, or else that is taken."""
    settings = case.config.runtime
    wanted = settings.name if settings.name in MODULES else settings.interpreter
    return wanted if wanted in MODULES and works(case, MODULES[wanted]) else working(case)


def _question(case: Case, model: _Model, runtime: str) -> golden.Question:
    bare = case.config.model.bare if model.bare else BareOptions()
    return golden.Question(str(model.path.resolve()), runtime, case.config.runtime.threads, bare)
