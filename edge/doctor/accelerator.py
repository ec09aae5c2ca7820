"""Whether there is an Edge TPU, and whether it works with this library, this runtime and this model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import msgspec

from edge import device
from edge.doctor.case import Case
from edge.doctor.findings import Finding, Level, note, ok, warning
from edge.doctor.models import compiled_file, is_uncompiled, meant_path
from edge.doctor.runtimes import MODULES
from edge.model import twins
from edge.runtimes.edgetpu import attached, diagnosis, library
from edge.runtimes.edgetpu.attached import Node, PciAccelerator, UsbAccelerator
from edge.runtimes.edgetpu.build import mismatch, packaged
from edge.runtimes.edgetpu.hardware import forbidden
from edge.runtimes.edgetpu.library import Listed
from edge.runtimes.edgetpu.tryout import Trial, try_out

_LIST_S = 10.0
_LOG_LINES = 4
_STAND_IN = "edgetpu-standin"


def examine(case: Case) -> Iterator[Finding]:
    """The devices, the library, then a trial with the model where one is compiled."""
    meant = meant_path(case)
    compiled = compiled_file(meant)
    usb, pci = attached.usb(case.root), attached.pci(case.root)
    yield from _of_usb(usb, case.root)
    yield from _of_pci(pci, case.root)
    name = case.config.runtime.name
    if not usb and not pci and compiled is None and name != "edgetpu":
        yield note("there is no Edge TPU, and none is asked for.")
        return
    level = _level(case, meant, compiled, bool(usb or pci))
    if name == "edgetpu" and meant is not None and is_uncompiled(meant):
        yield Finding(
            "blocks",
            f"the runtime edgetpu is asked for, and {case.config.model.path} is not compiled for an Edge TPU.",
            "`edge-deploy compile` compiles it, or leave the runtime to auto.",
        )
    if name in MODULES and compiled is not None and compiled == meant:
        yield Finding(
            "blocks",
            f"{compiled.name} is compiled for an Edge TPU, and the runtime {name} is the CPU's.",
            "name the .tflite that it was compiled from, or leave the runtime to auto.",
        )
    listed = library.list_devices(case.config.runtime.library, _LIST_S) if case.root == device.ROOT else None
    yield from _library(case, level, listed)
    if listed is not None and listed.devices:
        free = [not _users(each.node) and not each.claimed for each in usb]
        free += [each.node is not None and not _users(each.node) for each in pci]
        if free and not any(free):
            yield note(
                "not tried, as another program uses it.", "`edge service status` tells whether that is the service."
            )
        else:
            yield from _trials(case, level, compiled)


def _level(case: Case, meant: Optional[Path], compiled: Optional[Path], there: bool) -> Level:
    """How grave it is when no Edge TPU works."""
    settings = case.config.runtime
    if settings.name == "edgetpu" and settings.fallback is None:
        return "blocks"
    if settings.name == "auto" and compiled is not None and compiled == meant:
        twin = Path(settings.twin) if settings.twin else twins.place(compiled)
        return "warning" if twin.exists() else "blocks"
    return "warning" if there or settings.name == "edgetpu" else "note"


def _of_usb(found: Sequence[UsbAccelerator], root: Path) -> Iterator[Finding]:
    """What the kernel tells of those on USB: that each is there, then what is wrong with it."""
    for usb in found:
        speed = f", {usb.speed_mbit_s} Mbit/s" if usb.speed_mbit_s is not None else ""
        loaded = "with its firmware" if usb.loaded else "not opened since it was plugged in"
        yield ok(f"an Edge TPU on USB, {os.path.basename(usb.path)}{speed}, {loaded}.")
        yield from _told("warning", diagnosis.slow_link(usb))
        yield from _node(usb.node, root, usb.claimed)


def _of_pci(found: Sequence[PciAccelerator], root: Path) -> Iterator[Finding]:
    """The same of those on PCIe."""
    for pci in found:
        heat = f", {pci.temperature_c:.1f} °C" if pci.temperature_c is not None else ""
        yield ok(f"an Edge TPU on PCIe{f', {pci.address}' if pci.address else ''}{heat}.")
        yield from _told("warning", diagnosis.ailing(pci))
        yield from _told("warning", diagnosis.large_pages(root))
        if pci.node is None:
            yield warning(
                "the driver apex does not have it: there is no /dev/apex_0.",
                "install gasket-dkms and start the machine again; `sudo dmesg | grep apex` tells how it went.",
            )
        else:
            yield from _node(pci.node, root, claimed=False)


def _node(node: Node, root: Path, claimed: bool) -> Iterator[Finding]:
    if not node.exists:
        yield warning(f"{node.path} is not there, as in a container.", f"give the container {node.path}.")
    elif not node.may_open:
        problem, fix = forbidden(node, root)
        yield warning(f"{problem} (group {node.group}, mode {node.mode:o}).", f"{fix}.")
    users = _users(node)
    if users or claimed:
        yield note(f"{node.path} is in use by {', '.join(users) or 'another program'}: one at a time can have it.")


def _users(node: Node) -> list[str]:
    return [f"{each.name or 'a process'} ({each.pid})" for each in node.holders if each.pid != os.getpid()]


def _library(case: Case, level: Level, listed: Optional[Listed]) -> Iterator[Finding]:
    """What libedgetpu is, whether it can work in the runtime, and whether it sees an Edge TPU."""
    settings = case.config.runtime
    first = settings.devices[0]
    package = packaged(settings.library, case.root)
    version = listed.version if listed else None
    if listed is not None and listed.problem is not None:
        yield _because(level, diagnosis.explain("library", listed.problem, settings, first, case.root))
        return
    if package is not None or version is not None:
        brought = f"{package.name} {package.version}" if package else "from no Debian package"
        yield ok(f"{settings.library}: {brought}{f'; {version}' if version else ''}.")
    yield from _told("warning", diagnosis.held_back(settings, package))
    reason = mismatch(version, package, library.interpreter(settings), case.root)
    if reason:
        yield _because(level, reason)
    if listed is not None and not listed.devices:
        yield _because(level, diagnosis.explain("delegate", "", settings, first, case.root))


def _trials(case: Case, level: Level, compiled: Optional[Path]) -> Iterator[Finding]:
    """Each Edge TPU that is asked for, opened in a process of its own."""
    settings = case.config.runtime
    if compiled is None:
        yield note(
            "not tried, as no model is compiled for it.",
            "`edge doctor --model MODEL_edgetpu.tflite` tries it with one.",
        )
        return
    if settings.name in MODULES:
        yield note(f"not tried, as the runtime {settings.name} is asked for.")
        return
    for each in settings.devices:
        yield from _of_trial(level, try_out(compiled, msgspec.structs.replace(settings, device=each)))


def _of_trial(level: Level, trial: Trial) -> Iterator[Finding]:
    if not trial.ok:
        log = [line for line in trial.log.splitlines() if line.strip()][-_LOG_LINES:]
        yield from _told(level, trial.why or f"The Edge TPU {trial.device} failed in the stage {trial.stage}.")
        if log:
            yield note(f"libedgetpu's log ends with: {' | '.join(log)}")
    elif trial.backend == _STAND_IN:
        yield warning(
            f"a trial with {trial.device} was answered by a stand-in for tests, not by an Edge TPU.",
            "name the real library with runtime.library.",
        )
    else:
        times = ((trial.open_ms, "to open"), (trial.first_ms, "the first inference"), (trial.invoke_ms, "the second"))
        told = ", ".join(f"{took_ms:.1f} ms {what}" for took_ms, what in times if took_ms is not None)
        yield ok(f"a trial with {trial.device} went well: {told}.")


def _because(level: Level, reason: tuple[str, str]) -> Finding:
    problem, fix = reason
    return Finding(level, f"no Edge TPU can be used: {problem}.", f"{fix}.")


def _told(level: Level, sentence: Optional[str]) -> Iterator[Finding]:
    """A sentence that ends with what to do, as a finding; nothing for none."""
    if sentence is not None:
        what, colon, fix = sentence.rpartition(": ")
        yield Finding(level, f"{what}.", fix) if colon else Finding(level, sentence)
