"""Whether the journal can be recorded to, and who does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning

_ASK_S = 2.0
_ANOTHER = "give another file in journal.path (--journal), or move this one away."


def examine(case: Case) -> Iterator[Finding]:
    """The journal that is configured."""
    from edge.errors import JournalError
    from edge.journal import journal_path
    from edge.journal.schema import refuse_others

    if case.config.journal.path is None:
        yield note("none is configured: nothing is recorded.", "name a file in journal.path (--journal).")
        return
    if _out_of_reach(Path(case.config.journal.path).expanduser()):
        tell = note if case.is_services else warning
        yield tell(
            f"this user may not look at {case.config.journal.path}{'; the service may' if case.is_services else ''}.",
            "ask with `sudo edge doctor`, or be in the group that owns its folder.",
        )
        return
    try:
        path = journal_path(case.config.journal)
        refuse_others(path)
    except JournalError as error:
        yield blocks(str(error), _ANOTHER)
        return
    status = _asked(path)
    yield from _of_file(path, case.is_services)
    if isinstance(status, Finding):
        yield status
    elif status is not None:
        yield from _of_daemon(status)
    else:
        yield note(f"nobody records to {path} at present.")


def _out_of_reach(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, os.R_OK, effective_ids=True)


def _of_file(path: Path, is_services: bool) -> Iterator[Finding]:
    from edge.errors import JournalError
    from edge.journal.schema import VERSION, connect_to_read
    from edge.journal.store import size_bytes

    if not path.exists():
        there = next(each for each in path.parents if each.exists())
        if os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            yield ok(f"{path} will be made with the first run.")
        else:
            tell = note if is_services else warning
            yield tell(f"this user may not make {path}.", f"give another place, or be in the group that owns {there}.")
        return
    size_mb = size_bytes(path) / 1e6
    try:
        connection = connect_to_read(path)
    except JournalError as error:
        yield warning(str(error), "see whether this user may read it; a damaged one is set aside with the next run.")
        return
    try:
        (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    finally:
        connection.close()
    yield ok(f"{path}: {'1 run' if runs == 1 else f'{runs} runs'}, {size_mb:.1f} MB, version {VERSION}.")


def _asked(path: Path) -> Any:
    """What the daemon says of itself, None where there is none, or a finding where it does not say."""
    from edge.control.client import ask
    from edge.errors import ControlError, NoDaemonError
    from edge.journal import socket_path

    try:
        return ask(socket_path(path), {"do": "status"}, _ASK_S, journal=path)
    except NoDaemonError:
        return None
    except ControlError as error:
        return warning(str(error), "look at its log with `edge service logs`; `edge service restart` starts it again.")


def _of_daemon(status: dict[str, Any]) -> Iterator[Finding]:
    recorded = status.get("journal") or {}
    since: Optional[str] = status.get("since_utc")
    why = recorded.get("why")
    who = f"a daemon, since {since}, on {status.get('backend')}, {status.get('frames')} frames"
    if why:
        yield warning(f"{who}, does not record to it at present: {why}", "see disk above, and `edge service logs`.")
    else:
        yield ok(f"{who}, records to it.")
