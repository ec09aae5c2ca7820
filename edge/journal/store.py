"""The journal's file: beginning and ending a run, writing rows, staying below a size."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional

from edge.errors import JournalError
from edge.journal import clock, files, schema
from edge.journal.budget import Budget, Kept
from edge.journal.clock import Clocks
from edge.journal.ledger import Event, Ledger, RunFacts
from edge.journal.packing import as_json, as_text
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
_FULL = 0.9
"""Of the size: above it the oldest frames go."""
_LEAST_FRAMES, _MOST_FRAMES, _PAGES_AT_ONCE, _TIMES = 200, 10_000, 1_000, 20
"""What one statement deletes or gives back, so that its pages fit into SQLite's cache and are written once; and how
often in one go: a file that is far too large shrinks by megabytes in a minute, and nothing waits long meanwhile."""
_UNUSABLE = (
    *(sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.IntegrityError),
    *(OverflowError, ValueError, TypeError),
)
"""What SQLite or its Python module says of a value that is none for it."""

_log = logging.getLogger(__name__)


def begin(connection: sqlite3.Connection, facts: RunFacts, started_ns: int, clocks: Clocks) -> int:
    """Write down a run that begins, or find one that goes on here; gives its id."""
    known = connection.execute("SELECT id FROM runs WHERE run = ?", (facts.run,)).fetchone()
    if known is not None:
        return int(known[0])
    ran, labels, boot = facts.ran, as_json(list(facts.labels)), clock.boot_id()
    with transaction(connection):
        stepped_ns = clock.catch_up(connection, boot, clocks)
        key = (as_text(ran.model), ran.model_sha256, labels)
        connection.execute("INSERT OR IGNORE INTO models (name, sha256, labels) VALUES (?, ?, ?)", key)
        (model_id,) = connection.execute(
            "SELECT id FROM models WHERE (name, sha256, labels) = (?, ?, ?)", key
        ).fetchone()
        values = {
            "run": facts.run,
            "boot_id": boot,
            "started_ns": started_ns,
            "model_id": model_id,
            "runtime": ran.runtime,
            "runtime_version": ran.runtime_version,
            "backend": ran.backend,
            "threads": ran.threads,
            "camera": as_text(facts.camera),
            "configuration": as_json(facts.configuration),
            "board": as_json(facts.board),
            "versions": as_json(facts.versions),
            "opened_ns": facts.opened_ns,
            "first_invoke_ns": facts.first_invoke_ns,
        }
        run_id = connection.execute(insert("runs", values), tuple(values.values())).lastrowid
        assert run_id is not None
        connection.execute("INSERT INTO clocks VALUES (?, ?, ?)", (run_id, started_ns, clocks.utc_minus_monotonic_ns))
        if stepped_ns:
            add_events(connection, run_id, [jumped(started_ns, stepped_ns)])
    return run_id


def write(connection: sqlite3.Connection, ledger: Ledger) -> int:
    """Write what a ledger holds, within the caller's transaction; gives how many rows of frames SQLite refused.

    Row by row: one that holds what is no value for a table must not keep out the others, for ever.
    """
    refused = 0
    for table, columns, rows in (
        ("frames", _FRAMES, ledger.frames),
        ("windows", COLUMNS, ledger.windows),
        ("events", _EVENTS, ledger.events),
        ("pictures", _PICTURES, ledger.pictures),
    ):
        statement = insert(table, columns)
        taken = sum(_holds(connection, statement, row) for row in rows)
        refused += (len(rows) - taken) * (table == "frames")
    named = (ledger.backend, ledger.run_id, ledger.backend)
    connection.execute("UPDATE runs SET backend = ? WHERE id = ? AND backend <> ?", named)
    connection.executemany("UPDATE pictures SET file = '' WHERE file = ?", ledger.forgotten)
    return refused


def _holds(connection: sqlite3.Connection, statement: str, row: tuple[object, ...]) -> bool:
    try:
        connection.execute(statement, row)
    except _UNUSABLE as error:
        _log.warning("The journal cannot hold %s: %s.", row, error)
        return False
    return True


def add_events(connection: sqlite3.Connection, run_id: int, events: Iterable[Event]) -> None:
    """Write events that did not go through the ledger, within the caller's transaction."""
    rows = [(run_id, event.monotonic_ns, event.kind, as_json(event.detail)) for event in events]
    connection.executemany(insert("events", _EVENTS), rows)


def jumped(now_ns: int, stepped_ns: int) -> Event:
    """UTC was set."""
    return Event(now_ns, "clock jumped", {"by_s": round(stepped_ns / 1e9, 3)})


def save(connection: sqlite3.Connection, budget: Budget, now: Clocks) -> None:
    """Keep what is left of the day's budget, within the caller's transaction."""
    looked_s_ago, left, written, keep_every, batch_s = budget.kept(now.monotonic_ns)
    looked_utc_ns = now.utc_ns - round(looked_s_ago * 1e9)
    connection.execute(
        "INSERT OR REPLACE INTO budget VALUES (1, ?, ?, ?, ?, ?)",
        (looked_utc_ns, round(left), written, keep_every, batch_s),
    )


def resume(connection: sqlite3.Connection, budget: Budget, now: Clocks) -> None:
    """Go on with what the last run left of the budget."""
    row = connection.execute("SELECT looked_utc_ns, left_bytes, written_bytes, keep_every, batch_s FROM budget")
    found = row.fetchone()
    if found is not None:
        # Where the clock was set back, no time has passed.
        budget.resume(Kept(max(0.0, (now.utc_ns - found[0]) / 1e9), *found[1:]), now.monotonic_ns)


def end(connection: sqlite3.Connection, run_id: int, ended_ns: int, because: str) -> None:
    """Write down that a run ended, within the caller's transaction."""
    connection.execute("UPDATE runs SET ended_ns = ?, ended_because = ? WHERE id = ?", (ended_ns, because, run_id))


def shrink(connection: sqlite3.Connection, max_bytes: int) -> int:
    """Keep the file below a size: the oldest frames go, and what is empty is given back. Gives how many went."""
    most = max_bytes // _pragma(connection, "page_size")
    gone = 0
    for _ in range(_TIMES):
        used = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
        (first, last) = connection.execute("SELECT min(id), max(id) FROM frames").fetchone()
        if used <= most * _FULL or first is None:
            break
        # Of all frames the share by which the file is too large, as if there were nothing else in it: rather too few.
        share = 1 - most * _FULL / used
        rows = min(_MOST_FRAMES, max(_LEAST_FRAMES, round((last - first + 1) * share)))
        gone += connection.execute("DELETE FROM frames WHERE id < ?", (first + rows,)).rowcount
    for _ in range(_TIMES):
        if _pragma(connection, "page_count") <= most or not _pragma(connection, "freelist_count"):
            break
        # A script, because execute() leaves off after the first page. The checkpoint makes the file itself shorter.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE}); PRAGMA wal_checkpoint")
    return gone


def damage(path: Path) -> Optional[str]:
    """What is wrong with a journal; None where nothing is, or that cannot be told now. Reads all of the file."""
    try:
        with contextlib.closing(schema.connect(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, OSError, JournalError) as error:
        return None if files.passes(error) else str(error)
    return None if found == "ok" else " ".join(found.split())


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


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
