"""What is wrong with this machine, or with what it is meant to do: a line and a fix for each finding.

A section is a function of a `Case` that yields findings. It looks and does not change anything; what may crash or hang
it does in a process of its own.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from edge.doctor.case import Case
from edge.doctor.findings import Finding, Section, fit_to_send

__all__ = ["Case", "Finding", "Section", "as_json", "examine"]

SECTIONS = {
    "configuration": "edge.doctor.configuration:examine",
    "python": "edge.doctor.python:examine",
    "numpy": "edge.doctor.numpy:examine",
    "runtimes": "edge.doctor.runtimes:examine",
    "accelerator": "edge.doctor.accelerator:examine",
    "camera": "edge.doctor.camera:examine",
    "models": "edge.doctor.models:examine",
    "power": "edge.doctor.board:power",
    "governor": "edge.doctor.board:governor",
    "temperature": "edge.doctor.board:temperature",
    "disk": "edge.doctor.disk:examine",
    "journal": "edge.doctor.journal:examine",
    "outlets": "edge.doctor.outlets:examine",
    "clock": "edge.doctor.clock:examine",
    "service": "edge.doctor.service:examine",
}
"""In the order in which they are told."""
LONGEST_S = 120.0
"""For all but the trials of Edge TPUs, which have their own limits; what takes longer hangs in a driver."""
_UNEXPECTED = "see to what this names; if nothing is wrong there, send it with `edge doctor --json`."


def examine(case: Case) -> Iterator[Section]:
    """Examine all, side by side; each section comes as soon as it and those before it are done. Never raises."""
    began_s = time.monotonic()
    case.imports.begin()
    running = [_Running(name, place, case) for name, place in SECTIONS.items()]
    for each in running:
        yield each.section(began_s + LONGEST_S + case.trials_s)


def as_json(case: Case, sections: list[Section]) -> dict[str, Any]:
    """An examination as one document, fit to be sent to others."""
    import msgspec

    from edge.doctor.imports import versions

    return {
        "ok": not blocked(sections),
        "versions": versions(),
        "device": case.board.as_json(),
        "sections": {section.name: msgspec.to_builtins(section.findings) for section in sections},
    }


def blocked(sections: list[Section]) -> int:
    """How many findings block."""
    return sum(finding.level == "blocks" for section in sections for finding in section.findings)


class _Running:
    """A section on a thread of its own."""

    def __init__(self, name: str, place: str, case: Case) -> None:
        self._name, self._place, self._case = name, place, case
        self._findings: list[Finding] = []
        # A daemon: a driver that never returns must not keep the program.
        self._thread = threading.Thread(target=self._run, name=f"doctor: {name}", daemon=True)
        self._thread.start()

    def section(self, until_s: float) -> Section:
        """What it found by then."""
        self._thread.join(max(0.0, until_s - time.monotonic()))
        found = list(self._findings)
        if self._thread.is_alive():
            found.append(
                Finding(
                    "warning",
                    "this did not end in time: a driver or a program hangs.",
                    "start the machine again, and look into its log with `sudo dmesg`.",
                )
            )
        return Section(self._name, tuple(map(fit_to_send, found)))

    def _run(self) -> None:
        from edge.errors import EdgeError

        try:
            module, _, function = self._place.partition(":")
            for finding in getattr(importlib.import_module(module), function)(self._case):
                self._findings.append(finding)  # one by one, as those before an error are told too
        except EdgeError as error:
            self._findings.append(Finding("warning", str(error), _UNEXPECTED))
        except Exception as error:
            what = f"this could not be looked into: {type(error).__name__}: {error}."
            self._findings.append(Finding("warning", what, _UNEXPECTED))
