"""What UTC a moment of the monotonic clock was, also when UTC was wrong at the time.

A Raspberry Pi has no clock that runs without power: it starts with the time of its last shutdown, and jumps when the
network tells the right one. Monotonic time does not jump, so one number, UTC minus monotonic, tells all times of a
boot; when UTC jumps, that number was wrong from the start of the boot, and is set right for all of it.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple, Optional

STEP_NS = 1_000_000_000
"""Smaller differences are the slow corrections that both clocks follow."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clocks(NamedTuple):
    """The three clocks at one moment, in nanoseconds."""

    monotonic_ns: int
    utc_ns: int
    boot_ns: int
    """Like the monotonic clock, but goes on while the machine is suspended."""

    @property
    def utc_minus_monotonic_ns(self) -> int:
        return self.utc_ns - self.monotonic_ns


class Change(NamedTuple):
    """What happened to the clocks between two readings."""

    stepped_ns: int = 0
    """So much was UTC set forward."""
    suspended_ns: int = 0
    """So long the machine was suspended."""


def read() -> Clocks:
    """Read the clocks."""
    return Clocks(time.monotonic_ns(), time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def boot_id() -> Optional[str]:
    """What tells this boot from others; None where the kernel does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


def change(before: Clocks, now: Clocks) -> Change:
    """What happened between two readings; differences below `STEP_NS` are nothing."""
    suspended_ns = (now.boot_ns - now.monotonic_ns) - (before.boot_ns - before.monotonic_ns)
    stepped_ns = (now.utc_ns - now.boot_ns) - (before.utc_ns - before.boot_ns)
    return Change(
        stepped_ns if abs(stepped_ns) > STEP_NS else 0,
        suspended_ns if suspended_ns > STEP_NS else 0,
    )


def correct(connection: sqlite3.Connection, run_id: int, changed: Change, now: Clocks) -> None:
    """Write down what happened: a step corrects all runs of this boot, a suspension begins a new row of this run.

    Within the caller's transaction.
    """
    if changed.stepped_ns:
        connection.execute(
            "UPDATE clocks SET utc_minus_monotonic_ns = utc_minus_monotonic_ns + ? WHERE run_id = ? OR run_id IN "
            "(SELECT id FROM runs WHERE boot_id = (SELECT boot_id FROM runs WHERE id = ?))",
            (changed.stepped_ns, run_id, run_id),
        )
    if changed.suspended_ns:
        connection.execute(
            "INSERT OR REPLACE INTO clocks VALUES (?, ?, ?)", (run_id, now.monotonic_ns, now.utc_minus_monotonic_ns)
        )


def catch_up(connection: sqlite3.Connection, boot: Optional[str], now: Clocks) -> int:
    """Set earlier runs of this boot right, after which UTC was set while nothing ran; gives by how much in ns.

    A suspension since then looks like a step: so much as the machine was suspended since its start is taken for one.
    Within the caller's transaction.

    Args:
        connection: to the journal.
        boot: of the run that begins.
        now: when it begins.
    """
    row = connection.execute(
        "SELECT utc_minus_monotonic_ns FROM clocks JOIN runs ON runs.id = run_id WHERE boot_id = ? "
        "ORDER BY since_ns DESC LIMIT 1",
        (boot,),
    ).fetchone()
    if row is None:
        return 0
    moved_ns = now.utc_minus_monotonic_ns - int(row[0])
    suspended_ns = max(0, min(moved_ns, now.boot_ns - now.monotonic_ns))
    stepped_ns = moved_ns - suspended_ns
    if abs(stepped_ns) <= STEP_NS:
        return 0
    connection.execute(
        "UPDATE clocks SET utc_minus_monotonic_ns = utc_minus_monotonic_ns + ? "
        "WHERE run_id IN (SELECT id FROM runs WHERE boot_id = ?)",
        (stepped_ns, boot),
    )
    return stepped_ns
