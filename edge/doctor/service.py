"""Whether the service is installed, runs, and how it ended last."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Optional

from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning
from edge.doctor.processes import properties, told
from edge.resources import UNIT

_UNITS = "etc/systemd/system"
_LOG = "`edge service logs` tells why."
_GROUPS = ("video", "plugdev", "apex")
"""Which own cameras, and Edge TPUs; apex as Coral's rules for PCIe have it, perhaps installed after the service."""
_CONFIGURATION = "78"
"""The exit code for what no restart mends."""
_SHOWN = ("UnitFileState", "ActiveState", "SubState", "StatusText", "Result", "ExecMainStatus", "NRestarts")


def examine(case: Case) -> Iterator[Finding]:
    """The unit, as its files and systemd have it."""
    units = case.root / _UNITS
    if not (units / f"{UNIT}.service").exists():
        yield note("it is not installed: nothing starts by itself.", "`sudo ./systemd/install.sh`, if it should.")
        return
    said = properties(told(case.root, "systemctl", "show", f"--property={','.join(_SHOWN)}", f"{UNIT}.service") or "")
    enabled = said.get("UnitFileState") or (
        "enabled" if os.path.lexists(units / "multi-user.target.wants" / f"{UNIT}.service") else "disabled"
    )
    version = _version(case)
    if enabled == "enabled":
        yield ok(f"it is installed{f', version {version}' if version else ''}, and starts with the machine.")
    else:
        yield warning(f"it is installed, and does not start with the machine ({enabled}).", _enable(enabled))
    yield from judge(said, enabled == "enabled")
    yield from _groups(case)


def judge(said: dict[str, str], enabled: bool) -> Iterator[Finding]:
    """What to say of the unit's state.

    Args:
        said: what `systemctl show` tells, by name; empty where it does not tell.
        enabled: it should run.
    """
    state, sub = said.get("ActiveState"), said.get("SubState")
    text = f": {said['StatusText']}" if said.get("StatusText") else ""
    ended = _ended(said)
    if state is None:
        yield note("not known whether it runs: systemctl does not tell.")
    elif state in ("active", "reloading"):
        yield ok(f"it runs{text}")
    elif state == "failed":
        mend = "`edge config check`, then `sudo systemctl restart edge-runner`" if ended == _CONFIGURATION else _LOG
        yield blocks(f"it failed and is not started again{_last(ended)}{text}.", mend)
    elif state == "activating" and sub == "auto-restart":
        yield warning(f"it ended and is about to be started again{_last(ended)}.", _LOG)
    elif state == "activating":
        yield warning(f"it has started and gave no result yet{text}.", "wait for its camera; " + _LOG)
    elif enabled:
        yield warning(f"it does not run ({state}){_last(ended)}.", "`sudo systemctl start edge-runner`.")
    else:
        yield note(f"it does not run ({state}).")
    restarts = said.get("NRestarts", "")
    if restarts.isdecimal() and int(restarts):
        times = "once" if int(restarts) == 1 else f"{restarts} times"
        yield note(f"systemd has started it again {times} because it ended{_last(ended)}.", _LOG)


def _ended(said: dict[str, str]) -> Optional[str]:
    """How it ended last: an exit code or systemd's word, such as "watchdog"; None where it did not end badly."""
    result = said.get("Result", "success")
    if result == "success":
        return None
    return said.get("ExecMainStatus", result) if result == "exit-code" else result


def _last(ended: Optional[str]) -> str:
    if ended is None:
        return ""
    return f" (exit code {ended})" if ended.isdecimal() else f" ({ended})"


def _enable(state: str) -> str:
    unmask = f"sudo systemctl unmask {UNIT} && " if state == "masked" else ""
    return f"`{unmask}sudo systemctl enable {UNIT}`."


def _version(case: Case) -> Optional[str]:
    try:
        return os.path.basename(os.readlink(case.root / "opt" / UNIT / "current"))
    except OSError:
        return None


def _groups(case: Case) -> Iterator[Finding]:
    """Whether the service's user is in the groups that own what it needs."""
    rows = [line.split(":") for line in (case.text("etc/group") or "").splitlines()]
    members = {row[0]: row[3].split(",") for row in rows if len(row) == 4}
    for group in _GROUPS:
        if group in members and UNIT not in members[group]:
            yield warning(
                f"its user {UNIT} is not in the group {group}, which owns what it needs.",
                f"`sudo usermod --append --groups {group} {UNIT} && sudo systemctl restart {UNIT}`.",
            )
