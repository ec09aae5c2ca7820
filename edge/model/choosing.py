"""Which file of a model runs where: the compiled one on an Edge TPU, its uncompiled twin on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

from edge.errors import AcceleratorError, ModelError
from edge.model import twins
from edge.runtimes import Runtime, default_threads, open_runtime
from edge.runtimes.edgetpu.options import numbered
from edge.runtimes.settings import RuntimeSettings
from edge.runtimes.trial import require_sound

if TYPE_CHECKING:
    from edge.runtimes.edgetpu.library import ListedDevice


class Files(NamedTuple):
    """What there is of a model."""

    named: Path
    """Which of the two was asked for; of a bundle, the uncompiled one."""
    compiled: Optional[Path]
    uncompiled: Optional[Path]
    trusted: bool
    """They were checked against their sha256, and need not be tried in a process of their own."""


class Plan(NamedTuple):
    """What is to be opened."""

    edgetpu: Optional[Path]
    """The compiled file; None: the CPU alone."""
    cpu: Optional[Path]
    """The uncompiled file; None: an Edge TPU alone."""
    runtime: str
    """The CPU's runtime: auto, litert or tflite."""
    choice: Optional[str]
    """What was chosen, and why, in a sentence; None where there was no choice."""


def plan(files: Files, settings: RuntimeSettings, look: bool = True) -> Plan:
    """What to open. Looks for Edge TPUs, in a process of its own, only where "auto" has to choose.

    Args:
        files: the model's.
        settings: what may run it.
        look: False: do not look, as if there were an Edge TPU.

    Raises:
        ModelError: the model cannot run there: it is not compiled, or is and would need a twin that is not there.
        AcceleratorError: the same, for want of an Edge TPU.
    """
    compiled, uncompiled, name = files.compiled, files.uncompiled, settings.name
    if name == "edgetpu":
        if compiled is None:
            raise ModelError(_not_compiled(files.named))
        if settings.fallback is None:
            return Plan(compiled, None, settings.interpreter, None)
        if uncompiled is None:
            raise ModelError(f"The CPU cannot be the fallback of {compiled}: {_looked_for(compiled)}.")
        return Plan(compiled, uncompiled, settings.interpreter, None)
    if compiled is None:
        return Plan(None, files.named, name, None)
    if name == "auto":
        if not look:
            return Plan(compiled, uncompiled, settings.interpreter, None)
        return _automatic(compiled, uncompiled, settings)
    if files.named == compiled:
        there = f", {uncompiled}, or --runtime auto" if uncompiled else ""
        raise ModelError(
            f"{compiled} was compiled for a Coral Edge TPU, and {name} runs on the CPU: give the .tflite that it was "
            f"compiled from{there}."
        )
    return Plan(None, uncompiled, name, None)


def _automatic(compiled: Path, uncompiled: Optional[Path], settings: RuntimeSettings) -> Plan:
    from edge.runtimes.edgetpu.diagnosis import why  # imported late: what needs no Edge TPU starts sooner without
    from edge.runtimes.edgetpu.library import list_devices

    listed = list_devices(settings.library)
    if listed.devices:
        beside = f"the CPU runs {uncompiled.name} while it does not work" if uncompiled else _looked_for(compiled)
        several = len(settings.devices) > 1
        chosen = f"{'the Edge TPUs' if several else 'an Edge TPU'} ({_told(settings.devices, listed.devices)})"
        choice = f"auto chose {chosen} for {compiled}; {beside}."
        return Plan(compiled, uncompiled, settings.interpreter, choice)
    stage, said = ("delegate", "no Edge TPU is plugged in") if listed.problem is None else ("library", listed.problem)
    reason = why(stage, said, settings, settings.devices[0])
    if uncompiled is None:
        raise AcceleratorError(
            f"{compiled} was compiled for a Coral Edge TPU and none can be used; {_looked_for(compiled)}. {reason}"
        )
    return Plan(None, uncompiled, settings.interpreter, f"auto chose the CPU, for {uncompiled}. {reason}")


def open_planned(planned: Plan, files: Files, settings: RuntimeSettings) -> Runtime:
    """Open what was planned.

    Raises:
        ModelError, RuntimeUnavailableError, AcceleratorError: it cannot be.
    """
    twin = None
    if planned.cpu:
        if not files.trusted:
            require_sound(planned.runtime, planned.cpu.resolve())
        twin = open_runtime(planned.runtime, planned.cpu, settings.threads)
    if planned.edgetpu is None:
        assert twin is not None  # a plan names one of the two
        return twin
    from edge.runtimes.edgetpu.pool import EdgeTpu

    try:
        return EdgeTpu(planned.edgetpu, settings.threads or default_threads(), settings, twin)
    except AcceleratorError as error:
        hint = (
            f"its twin {files.uncompiled} runs on the CPU with --fallback cpu or --runtime auto"
            if files.uncompiled
            else _looked_for(planned.edgetpu)
        )
        needs = (
            f"needs all of the Edge TPUs that were named, {', '.join(settings.devices)}"
            if len(settings.devices) > 1
            else "was compiled for a Coral Edge TPU and none can be used"
        )
        raise AcceleratorError(f"{planned.edgetpu} {needs}; {hint}. {error}") from error


def _not_compiled(model: Path) -> str:
    """Why a model cannot run on an Edge TPU."""
    beside = twins.compiled_place(model)
    if beside.exists():
        return f"{model} was not compiled for an Edge TPU: {beside} may be the compiled one, give that."
    return f"{model} was not compiled for an Edge TPU: `edge-deploy compile` does that, or run it with --runtime auto."


def _looked_for(compiled: Path) -> str:
    """That there is no twin, and where one would be found."""
    place, name_it = twins.place(compiled), "name it: --set runtime.twin=FILE"
    if place == compiled:
        missing = f"its name does not tell which file is ({name_it})"
    elif place.exists():
        missing = f"{place} is another model's (put the right one there, or {name_it})"
    else:
        missing = f"there is no {place} (put it there, or {name_it})"
    return f"it has no uncompiled twin, which the CPU could run: {missing}"


def _told(names: Sequence[str], devices: Sequence[ListedDevice]) -> str:
    """What will be opened of the devices that libedgetpu lists; a name to which none belongs stays as it is."""
    told = []
    for name in names:
        kind, _, number = numbered(name).partition(":")
        if name == "any":  # libedgetpu takes the first on PCIe, else the first on USB, each in its own order
            paths = [(each.kind, each.path) for each in sorted(devices, key=lambda each: each.kind != "pci")]
        else:
            paths = sorted((each.kind, each.path) for each in devices if each.kind == kind)
        at = int(number or 0)
        told.append(" ".join(paths[at]) if at < len(paths) else name)
    return ", ".join(told)
