"""The tables of a journal, and how one is opened. Times are nanoseconds; a NULL is what was not known."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.errors import JournalError
from edge.journal.files import APPLICATION_ID, BUSY_S, holds_log, may_be_ours, open_to_read

VERSION = 1
PAGE_BYTES = 512
"""Small, because every commit writes whole pages and an SD card wears out with what is written."""
WAL_BYTES = 250_000
"""So much waits in the write-ahead log before it goes into the file itself."""
CACHE_KIB = 400
"""Of the file in memory, in place of SQLite's 2 MB: rows come at the end only, and a small board has better uses."""

TABLES = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    labels TEXT NOT NULL,              -- JSON: the classes' names in the order of their ids
    UNIQUE (name, sha256, labels)
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,          -- as in the records
    boot_id TEXT,                      -- the monotonic clocks of runs of one boot are one clock
    started_ns INTEGER NOT NULL,       -- monotonic, as are all times that are not called utc
    ended_ns INTEGER,                  -- NULL: it is running, or ended without a chance to say so
    ended_because TEXT,
    model_id INTEGER NOT NULL REFERENCES models (id),
    runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL,
    backend TEXT NOT NULL,             -- what the run is for; frames.state tells where the CPU answered in its place
    threads INTEGER NOT NULL,
    camera TEXT NOT NULL,
    configuration TEXT NOT NULL,       -- JSON
    board TEXT NOT NULL,               -- JSON: edge.device.Device
    versions TEXT NOT NULL,            -- JSON: package -> version
    opened_ns INTEGER,                 -- how long opening the model took
    first_invoke_ns INTEGER            -- how long the first inference took
);
CREATE TABLE clocks (                  -- UTC of a moment: its monotonic time plus the offset of the last row before it
    run_id INTEGER NOT NULL REFERENCES runs (id),
    since_ns INTEGER NOT NULL,
    utc_minus_monotonic_ns INTEGER NOT NULL,
    PRIMARY KEY (run_id, since_ns)
) WITHOUT ROWID;
CREATE TABLE frames (                  -- a part of the frames: each stands for so many as stands_for tells
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    sequence INTEGER NOT NULL,
    monotonic_ns INTEGER NOT NULL,     -- when its result was there
    wait_ns INTEGER NOT NULL,
    preprocess_ns INTEGER NOT NULL,
    invoke_ns INTEGER NOT NULL,
    postprocess_ns INTEGER NOT NULL,
    class_id INTEGER NOT NULL,         -- of the first prediction
    score INTEGER NOT NULL,            -- of it, in 1/10000
    others BLOB NOT NULL,              -- the next predictions: class id and score, uint16 little-endian each
    truth TEXT,                        -- as it was known at the time
    dropped INTEGER NOT NULL,          -- frames of the camera since the previous result that nobody classified
    throttled INTEGER,                 -- Raspberry Pi throttling bits
    state INTEGER NOT NULL,            -- 0 steady, 1 warm-up, 2 throttled, 3 fallback: the CPU answered
    stands_for INTEGER NOT NULL        -- this one and the frames of which no row was kept
);
CREATE TABLE windows (                 -- a minute each; all frames count here
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    began_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    unrecorded INTEGER NOT NULL,       -- frames that the journal could not take, and that count nowhere else
    drops TEXT NOT NULL,               -- JSON: reason -> frames that nobody classified; "unchanged": kept by a gate
    answers TEXT NOT NULL,             -- JSON: [truth or null, first prediction's class id, frames, right in top 5]
    throttled INTEGER,                 -- all bits that were seen
    temperature_min_c REAL, temperature_mean_c REAL, temperature_max_c REAL,
    clock_min_mhz REAL, clock_mean_mhz REAL, clock_max_mhz REAL,
    governor TEXT,
    memory_available_min_bytes INTEGER,
    resident_max_bytes INTEGER,        -- of this process
    load_mean REAL,
    coral_max_c REAL,                  -- of a PCIe Edge TPU
    histograms BLOB NOT NULL           -- see edge.journal.packing
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    monotonic_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL               -- JSON
);
CREATE TABLE labels (                  -- what somebody says was true: of one frame, or of a span of time
    id INTEGER PRIMARY KEY,
    run_id INTEGER REFERENCES runs (id),
    sequence INTEGER,
    from_utc_ns INTEGER,
    to_utc_ns INTEGER,                 -- not in the span any more
    truth TEXT,                        -- NULL: nothing is known; takes back what was said before
    said_by TEXT NOT NULL,
    said_utc_ns INTEGER NOT NULL,
    CHECK ((run_id IS NOT NULL AND sequence IS NOT NULL) <> (from_utc_ns IS NOT NULL AND to_utc_ns IS NOT NULL))
);
CREATE TABLE pictures (                -- a sample of frames whose pictures were kept, for a person to look at
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id),
    sequence INTEGER NOT NULL,
    monotonic_ns INTEGER NOT NULL,
    stratum TEXT NOT NULL,             -- why it was chosen: ordinary, unsure or changed
    stands_for REAL NOT NULL,          -- frames that it was chosen from: of its stratum and time
    file TEXT NOT NULL,                -- in the folder of pictures beside the journal; '' when it was deleted since
    class_id INTEGER NOT NULL,
    score INTEGER NOT NULL,
    others BLOB NOT NULL,
    truth TEXT
);
CREATE TABLE budget (                  -- one row: what may still be written, for the next run
    id INTEGER PRIMARY KEY CHECK (id = 1),
    looked_utc_ns INTEGER NOT NULL,    -- when it was last decided how much is written
    left_bytes INTEGER NOT NULL,       -- then, and what was written since
    written_bytes INTEGER NOT NULL,
    keep_every INTEGER NOT NULL,
    batch_s REAL NOT NULL
);
CREATE VIEW frames_utc AS
    SELECT strftime('%Y-%m-%dT%H:%M:%fZ', utc_s, 'unixepoch') AS utc, * FROM (
        SELECT frames.*, (monotonic_ns + (
            SELECT utc_minus_monotonic_ns FROM clocks
            WHERE clocks.run_id = frames.run_id AND since_ns <= monotonic_ns ORDER BY since_ns DESC LIMIT 1
        )) / 1e9 AS utc_s FROM frames
    );
"""

MIGRATIONS: dict[int, str] = {}
"""From a version to the next: the statements that turn the one into the other, each from the start of a line."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a journal for writing, and make or migrate it where that is needed.

    For one thread at a time; autocommit, so that transactions are begun in so many words. A process that is killed
    loses nothing that was committed, and a power cut damages nothing but may take the last half minute: so long may
    Linux keep what was written before the card has it. Syncing each commit would write many times as much.

    Raises:
        sqlite3.Error: the file cannot be opened, or is damaged (exactly `sqlite3.DatabaseError`).
        JournalError: it is something else, or of a newer version.
    """
    ours = may_be_ours(path)
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        # Debian builds SQLite so that it overwrites what is deleted, which doubles what a deleted row costs the card.
        connection.execute("PRAGMA secure_delete = OFF")
        version = check(connection, path)
        if not version:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # which writes, also where it is so already
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES // page_bytes}")
        connection.execute(f"PRAGMA journal_size_limit = {2 * WAL_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if version != VERSION:
            _upgrade(connection, path)
    except BaseException as error:
        connection.close()
        if type(error) is sqlite3.DatabaseError and not ours:
            raise _no_journal(path) from None
        raise
    return connection


def refuse_others(path: Path) -> None:
    """Say at once when a file is something else; whatever else is wrong with it shows when it is opened.

    Raises:
        JournalError: it is something else, or a journal of a newer version.
    """
    ours = True
    try:
        ours = may_be_ours(path)
        if path.exists():
            with contextlib.closing(open_to_read(path)) as connection:
                check(connection, path)
    except OSError:
        return
    except sqlite3.Error as error:
        if type(error) is sqlite3.DatabaseError and not ours:
            raise _no_journal(path) from None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal to read it, also while a daemon writes it, or from a card that cannot be written.

    Raises:
        JournalError: there is none, it cannot be read, or it is of another version.
    """
    if not path.is_file():
        raise JournalError(f"No journal {path}: expected a file that `edge run --journal` wrote.")
    try:
        connection = open_to_read(path)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None
    try:
        version = check(connection, path)
        if not version:
            raise JournalError(f"The journal {path} is empty: nothing was recorded yet.")
        if version != VERSION:
            raise JournalError(
                f"{path} is a journal of version {version}, expected {VERSION}: run `edge run` on it once."
            )
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise _unreadable(path, error) from None
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a journal; 0 of an empty file.

    Raises:
        sqlite3.DatabaseError: it is no database, or damaged.
        JournalError: it is a database of something else, or of a newer version.
    """
    alone = not connection.in_transaction
    if alone:
        connection.execute("BEGIN")  # so that all is of one moment: another program may be making it just now
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        if alone and connection.in_transaction:
            connection.execute("COMMIT")
    if application != APPLICATION_ID and (application or version or objects):
        raise JournalError(f"{path} is a database, but no journal of edge: give another file.")
    if version > VERSION:
        raise JournalError(
            f"{path} is a journal of version {version}, newer than this edge-runner knows ({VERSION}): "
            "update edge-runner, or give another file."
        )
    if version < 0 or bool(version) != bool(objects):
        raise sqlite3.DatabaseError("its tables do not fit its version")
    return int(version)


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check(connection, path)  # again, as another program may have been faster
        for number in range(version, VERSION) if version else (0,):
            for statement in _statements(MIGRATIONS[number] if number else TABLES):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    # Not executescript(), which would end the transaction.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _no_journal(path: Path) -> JournalError:
    return JournalError(f"{path} is no journal but another file: give a journal, or the name of a new one.")


def _unreadable(path: Path, error: sqlite3.Error) -> JournalError:
    if "unable to open" in str(error) and holds_log(path) and not os.access(path.parent, os.W_OK, effective_ids=True):
        return JournalError(
            f"Cannot read the journal {path}, which was cut off while it was written: copy it, with {path.name}-wal, "
            "to a folder that can be written."
        )
    return JournalError(f"Cannot read the journal {path}: {error}.")
