"""The journal's file: beginning and ending a run, writing rows, staying below a size."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge.journal.clock import Clocks, boot_id
from edge.journal.ledger import Event, Ledger, RunFacts
from edge.journal.windows import COLUMNS

_FRAMES = (
    *("run_id", "sequence", "monotonic_ns", "wait_ns", "preprocess_ns", "invoke_ns", "postprocess_ns"),
    *("class_id", "score", "others", "truth", "dropped", "throttled", "state", "stands_for"),
)
_EVENTS = ("run_id", "monotonic_ns", "kind", "detail")
_PICTURES = (
    *("run_id", "sequence", "monotonic_ns", "stratum", "stands_for", "file"),
    *("class_id", "score", "others", "truth"),
)
_FULL, _ROOM = 0.9, 0.85
"""Frames are deleted when so much of the size is used, until so much is."""
_PAGES_AT_ONCE = 4_000


def begin(connection: sqlite3.Connection, facts: RunFacts, started_ns: int, clocks: Clocks) -> int:
    """Write down a run that begins; gives its id."""
    ran, labels = facts.ran, json.dumps(list(facts.labels), ensure_ascii=False)
    with transaction(connection):
        key = (ran.model, ran.model_sha256, labels)
        connection.execute("INSERT OR IGNORE INTO models (name, sha256, labels) VALUES (?, ?, ?)", key)
        (model_id,) = connection.execute(
            "SELECT id FROM models WHERE (name, sha256, labels) = (?, ?, ?)", key
        ).fetchone()
        values = {
            "run": facts.run,
            "boot_id": boot_id(),
            "started_ns": started_ns,
            "model_id": model_id,
            "runtime": ran.runtime,
            "runtime_version": ran.runtime_version,
            "backend": ran.backend,
            "threads": ran.threads,
            "camera": facts.camera,
            "configuration": _json(facts.configuration),
            "board": _json(facts.board),
            "versions": _json(facts.versions),
            "opened_ns": facts.opened_ns,
            "first_invoke_ns": facts.first_invoke_ns,
        }
        run_id = connection.execute(insert("runs", values), tuple(values.values())).lastrowid
        assert run_id is not None
        connection.execute("INSERT INTO clocks VALUES (?, ?, ?)", (run_id, started_ns, clocks.utc_minus_monotonic_ns))
    return run_id


def write(connection: sqlite3.Connection, ledger: Ledger) -> None:
    """Write what a ledger holds, within the caller's transaction."""
    for table, columns, rows in (
        ("frames", _FRAMES, ledger.frames),
        ("windows", COLUMNS, ledger.windows),
        ("events", _EVENTS, ledger.events),
        ("pictures", _PICTURES, ledger.pictures),
    ):
        if rows:
            connection.executemany(insert(table, columns), rows)
    connection.executemany("UPDATE pictures SET file = '' WHERE file = ?", ledger.forgotten)


def add_events(connection: sqlite3.Connection, run_id: int, events: Iterable[Event]) -> None:
    """Write events that did not go through the ledger, within the caller's transaction."""
    rows = [(run_id, event.monotonic_ns, event.kind, _json(event.detail)) for event in events]
    connection.executemany(insert("events", _EVENTS), rows)


def end(connection: sqlite3.Connection, run_id: int, ended_ns: int, because: str) -> None:
    """Write down that a run ended, within the caller's transaction."""
    connection.execute("UPDATE runs SET ended_ns = ?, ended_because = ? WHERE id = ?", (ended_ns, because, run_id))


def shrink(connection: sqlite3.Connection, max_bytes: int) -> int:
    """Keep the file below a size: the oldest frames go, and what is empty is given back. Gives how many went."""
    page_bytes, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    most = max_bytes // page_bytes
    gone = 0
    if pages - free > most * _FULL:
        share = 1 - most * _ROOM / (pages - free)
        first, last = connection.execute("SELECT min(id), max(id) FROM frames").fetchone()
        if first is not None:
            until = first + max(1, round((last - first + 1) * share))
            gone = connection.execute("DELETE FROM frames WHERE id < ?", (until,)).rowcount
    if pages > most:
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    return gone


def size_bytes(path: Path) -> int:
    """Of the journal and its write-ahead log."""
    return sum(part.stat().st_size for part in parts(path) if part.exists())


def parts(path: Path) -> Iterable[Path]:
    """The files that SQLite makes of a journal."""
    return (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")))


def move_aside(path: Path) -> Path:
    """Rename a damaged journal, with its write-ahead log; gives the new name.

    Raises:
        OSError: it cannot be renamed.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for part, kept in zip(parts(path), parts(aside)):
        if part.exists():
            part.rename(kept)
    return aside


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself has taken it back where the disk was full
            connection.execute("ROLLBACK")
        raise


def insert(table: str, columns: Iterable[str]) -> str:
    """The statement that inserts a row."""
    names = tuple(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
