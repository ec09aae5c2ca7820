"""What tests record into journals: records by the thousand, made-up clocks, small disks."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Callable

import pytest

from edge.journal import clock
from edge.journal.clock import Clocks
from edge.journal.ledger import RunFacts
from edge.journal.settings import JournalSettings
from edge.journal.sink import Journal
from edge.records import Prediction, Ran, Record, Timings

NS = 1_000_000_000
LABELS = ("background", "cat", "dog")


def facts(run: str = "run-1", backend: str = "cpu", **changes: Any) -> RunFacts:
    ran = Ran("lite0", "ab" * 32, "litert", "2.3.0", backend, 2)
    return RunFacts(run, ran, LABELS, "a made-up camera", **changes)


def record(sequence: int, at_ns: int, run: str = "run-1", **changes: Any) -> Record:
    """A frame's record; the first prediction is class 1, a cat."""
    values: dict[str, Any] = {
        "timings": Timings(2_000_000, 1_000_000, 12_000_000 + sequence % 1000, 200_000),
        "predictions": (Prediction(1, "cat", 0.9), Prediction(2, "dog", 0.08), Prediction(0, "background", 0.02)),
        "backend": "cpu",
        "truth": None,
        "dropped": 0,
    }
    return Record(run=run, sequence=sequence, utc="", monotonic_ns=at_ns, **{**values, **changes})


def settings(path: Path, **changes: Any) -> JournalSettings:
    """Those of a hurry: a batch is written every tenth of a second, and the disk may be small."""
    return JournalSettings(path=str(path), **{"commit_s": 0.1, "min_free_bytes": 0, **changes})


@contextmanager
def recording(
    path: Path, run: str = "run-1", clocks: Callable[[], Clocks] = clock.read, **changes: Any
) -> Iterator[Journal]:
    journal = Journal(settings(path, **changes), facts(run), clocks)
    try:
        yield journal
    finally:
        journal.close()


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a query finds, asked by another connection while it is written or not."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
        return connection.execute(statement).fetchall()


def value(path: Path, statement: str) -> Any:
    return rows(path, statement)[0][0]


def events(path: Path) -> list[str]:
    return [kind for (kind,) in rows(path, "SELECT kind FROM events ORDER BY id")]


def until(condition: Callable[[], object], what: str = "it", seconds: float = 10.0) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def until_kept(journal: Journal, count: int) -> None:
    """Wait until so many rows of frames are in the file."""
    until(lambda: journal.status().kept == count, f"{count} rows: {journal.status()}")


def sound(path: Path) -> bool:
    return bool(value(path, "PRAGMA integrity_check") == "ok")


class MadeUpClocks:
    """Clocks that stand still until they are set."""

    def __init__(self, monotonic_s: float = 100.0, utc_s: float = 1_767_225_600.0) -> None:
        self.now = Clocks(round(monotonic_s * NS), round(utc_s * NS), round(monotonic_s * NS))

    def __call__(self) -> Clocks:
        return self.now

    def go(self, seconds: float = 0.0, step_s: float = 0.0, asleep_s: float = 0.0) -> None:
        """Let time pass, UTC be set, the machine be suspended."""
        monotonic, utc, boot = self.now
        self.now = Clocks(
            monotonic + round(seconds * NS),
            utc + round((seconds + step_s + asleep_s) * NS),
            boot + round((seconds + asleep_s) * NS),
        )


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A disk of its own in memory; skips where nobody may mount one."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
