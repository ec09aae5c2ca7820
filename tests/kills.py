"""Kills what writes a journal, again and again, and looks at what it left.

`python -m tests.kills LANE FOLDER ROUNDS SEED`, where a lane is the name of a function here.
In a process of its own, which imports everything once; each round is a fork of it. Prints what it counted as JSON.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import sqlite3
import struct
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

from edge.journal import medium, recovery, schema
from edge.journal.sink import Journal
from tests.journaling import facts, record, rows, settings, sound, value

_TOLD = struct.Struct("<qq")
_LONG_S, _SLACK_S = 1.2, 1.0


def killed(work: Callable[[int], None], after_s: float, wait_s: float = 0.0) -> list[tuple[int, int]]:
    """Let a child work for a while, from when it first tells something or `wait_s` later on; gives what it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            work(writing)
        finally:
            os._exit(1)
    os.close(writing)
    select.select([reading], [], [], wait_s)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    return list(_TOLD.iter_unpack(told[: len(told) // _TOLD.size * _TOLD.size]))


def recorder(path: Path, run: str, **changes: Any) -> Callable[[int], None]:
    """Records as fast as a fast camera gives; tells when each frame was handed over, and how many rows were written."""

    def work(pipe: int) -> None:
        journal = Journal(settings(path, commit_s=0.02, window_s=0.05, **changes), facts(run))
        sequence = 0
        while True:
            now_ns = time.monotonic_ns()
            journal.write(record(sequence, now_ns, run))
            sequence += 1
            if sequence % 50 == 0:
                journal.event("fifty")
            os.write(pipe, _TOLD.pack(now_ns, journal.status().kept))
            time.sleep(0.0005)

    return work


def begun(path: Path) -> bool:
    """Whether there are tables. A kill in the file's first moments leaves what only a writer can tidy up."""
    try:
        return path.exists() and value(path, "SELECT count(*) FROM sqlite_master") > 0
    except sqlite3.OperationalError:
        return False


def batches(folder: Path, rounds: int, chance: random.Random) -> Counter[str]:
    """Nothing is lost but the last batch, the order is kept, and each run gets an end."""
    path, seen, before = folder / "j.db", Counter[str](), ""
    for number in range(rounds):
        run = f"run-{number}"
        after_s = 0.005 + 0.145 * chance.random() ** 2 if number % 40 else _LONG_S
        told = killed(recorder(path, run), after_s)
        ended_ns = time.monotonic_ns()
        seen["kills"] += 1
        if not begun(path):
            seen["before it began"] += 1
            assert not before
            continue
        assert sound(path)
        found = [
            each[0]
            for each in rows(
                path,
                f"SELECT sequence FROM frames JOIN runs ON runs.id = run_id WHERE run = '{run}' ORDER BY frames.id",
            )
        ]
        assert found == list(range(len(found)))
        assert len(found) <= len(told) + 1
        kept = told[-1][1] if told else 0
        assert len(found) >= kept, f"{len(found)} rows of {kept} that were written"
        due = sum(at_ns < ended_ns - (0.022 + _SLACK_S) * 1e9 for at_ns, _ in told)
        assert len(found) >= due, f"{len(found)} rows, {due} were handed over long before"
        seen["long enough to be due"] += bool(due)
        seen["rows"] += len(found)
        seen["cut a batch"] += len(found) < len(told)
        if value(path, f"SELECT count(*) FROM runs WHERE run = '{run}'"):
            others = f"run <> '{run}' AND ended_because IS NOT '{recovery.BECAUSE}'"
            left = rows(path, f"SELECT run, ended_ns, ended_because FROM runs WHERE {others}")
            assert not left, left
            if before:
                _counted(path, before)
            before = run
        if chance.random() < 0.2:  # else the write-ahead log waits for the next run
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("SELECT count(*) FROM frames").fetchone()
    return seen


def _counted(path: Path, run: str) -> None:
    """The windows of a run that was recovered count its rows."""
    of_run = f"run_id = (SELECT id FROM runs WHERE run = '{run}')"
    told = value(path, f"SELECT total(frames) FROM windows WHERE {of_run}")
    assert told == value(path, f"SELECT count(*) FROM frames WHERE {of_run}"), run
    (ended_ns, last_ns) = rows(
        path, f"SELECT ended_ns, (SELECT max(monotonic_ns) FROM frames WHERE {of_run}) FROM runs WHERE run = '{run}'"
    )[0]
    assert last_ns is None or ended_ns >= last_ns


def shrinking(folder: Path, rounds: int, chance: random.Random) -> Counter[str]:
    """While frames are deleted and pages given back after every batch."""
    medium.LOOK_S = 0.0
    path, seen = folder / "j.db", Counter[str]()
    for number in range(rounds):
        killed(recorder(path, f"run-{number}", max_bytes=90_000), 0.15 * chance.random() ** 2, wait_s=10.0)
        seen["kills"] += 1
        if begun(path):
            assert sound(path)
            seen["deleted"] = max(seen["deleted"], (value(path, "SELECT min(id) FROM frames") or 1) - 1)
            seen["largest"] = max(seen["largest"], path.stat().st_size)
    return seen


def beginning(folder: Path, rounds: int, chance: random.Random) -> Counter[str]:
    """While the file is made; then the next run begins in what is there."""
    seen = Counter[str]()
    for number in range(rounds):
        path = folder / f"{number}.db"
        killed(recorder(path, "run-1"), 0.02 * chance.random())
        seen["kills"] += 1
        seen["made" if begun(path) else "not made"] += 1
        with closing(schema.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
            assert connection.execute("PRAGMA page_size").fetchone() == (schema.PAGE_BYTES,)
            assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    return seen


def migrating(folder: Path, rounds: int, chance: random.Random) -> Counter[str]:
    """While a journal is brought to the next version: all of it, or nothing."""
    old, path, seen = folder / "old.db", folder / "j.db", Counter[str]()
    with closing(schema.connect(old)) as connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO frames SELECT i, 1, i, i, 1, 1, 1, 1, 1, 1, x'', NULL, 0, NULL, 0, 1 FROM n"
        )
    schema.VERSION = 2
    schema.MIGRATIONS[1] = (
        "ALTER TABLE frames ADD COLUMN lux REAL;\nUPDATE frames SET lux = id;\nCREATE TABLE more (a);\n"
    )
    for _ in range(rounds):
        for each in folder.glob("j.db*"):
            each.unlink()
        shutil.copy(old, path)
        killed(lambda _: (schema.connect(path), time.sleep(9))[0], 0.15 * chance.random())  # type: ignore[arg-type,return-value]
        seen["kills"] += 1
        assert sound(path)
        version = value(path, "PRAGMA user_version")
        columns = [each[1] for each in rows(path, "PRAGMA table_info(frames)")]
        tables = value(path, "SELECT count(*) FROM sqlite_master WHERE name = 'more'")
        assert (version, "lux" in columns, tables) in ((1, False, 0), (2, True, 1))
        assert value(path, "SELECT count(*) FROM frames") == 20_000
        seen[f"version {version}"] += 1
    return seen


if __name__ == "__main__":
    lane, place, count, seed = sys.argv[1:]
    print(json.dumps(globals()[lane](Path(place), int(count), random.Random(int(seed)))))
