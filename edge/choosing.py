"""Which file of a model runs where: the compiled one on an Edge TPU, its uncompiled twin on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

from edge import twins
from edge.errors import AcceleratorError, ModelError
from edge.runtimes import Runtime, default_threads, open_runtime
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


def plan(files: Files, settings: RuntimeSettings) -> Plan:
    """What to open. Looks for Edge TPUs, in a process of its own, only where "auto" has to choose.

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
        return _automatic(compiled, uncompiled, settings)
    if files.named == compiled:
        raise ModelError(
            f"{compiled} was compiled for a Coral Edge TPU, and {name} runs on the CPU: give the .tflite that was "
            f"compiled, which may be {settings.twin or twins.place(compiled)}, or --runtime auto."
        )
    return Plan(None, uncompiled, name, None)


def _automatic(compiled: Path, uncompiled: Optional[Path], settings: RuntimeSettings) -> Plan:
    from edge.runtimes.edgetpu.diagnosis import why  # imported late: what needs no Edge TPU starts sooner without
    from edge.runtimes.edgetpu.library import list_devices

    listed = list_devices(settings.library)
    if listed.devices:
        beside = f"the CPU runs {uncompiled.name} while it does not work" if uncompiled else _looked_for(compiled)
        choice = f"auto chose an Edge TPU ({_told(listed.devices)}) for {compiled}; {beside}."
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
        raise AcceleratorError(
            f"{planned.edgetpu} was compiled for a Coral Edge TPU and none can be used; {hint}. {error}"
        ) from error


def _not_compiled(model: Path) -> str:
    """Why a model cannot run on an Edge TPU."""
    beside = twins.compiled_place(model)
    if beside.exists():
        return f"{model} was not compiled for an Edge TPU: {beside} may be the compiled one, give that."
    return f"{model} was not compiled for an Edge TPU: `edge-deploy compile` does that, or run it with --runtime auto."


def _looked_for(compiled: Path) -> str:
    """That there is no twin, and where one would be found."""
    place = twins.place(compiled)
    if place == compiled:
        missing = "its name does not tell which file is"
    else:
        missing = f"{place} is another model's" if place.exists() else f"there is no {place}"
    return f"it has no uncompiled twin, which the CPU could run: {missing}, and runtime.twin names none"


def _told(devices: Sequence[ListedDevice]) -> str:
    return ", ".join(f"{device.kind} {device.path}" for device in devices)
