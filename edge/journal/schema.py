"""How a journal is opened, made where there is none, and brought forward."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

from edge.errors import JournalError
from edge.journal.files import (
    APPLICATION_ID,
    BUSY_S,
    explain,
    holds_log,
    open_to_add,
    open_to_read,
    require_regular,
)
from edge.journal.tables import TABLES

VERSION = 1
PAGE_BYTES = 512
"""Small, because every commit writes whole pages and an SD card wears out with what is written."""
WAL_BYTES = 250_000
"""So much waits in the write-ahead log before it goes into the file itself."""
CACHE_KIB = 400
"""Of the file in memory, in place of SQLite's 2 MB: rows come at the end only, and a small board has better uses."""

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
    require_regular(path)
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        version = check(connection, path)
        if not version:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # which writes, also where it is so already
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
        _spare(connection)
        if version != VERSION:
            _upgrade(connection, path)
        else:
            connection.execute("BEGIN IMMEDIATE")  # what cannot be written shows here
            connection.execute("ROLLBACK")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise explain(path, error) from None
        raise
    return connection


def refuse_others(path: Path) -> None:
    """Say at once when a file is something else; whatever else is wrong with it shows when it is opened.

    Raises:
        JournalError: it is something else, or a journal of a newer version.
    """
    require_regular(path)
    try:
        if path.exists():
            with contextlib.closing(open_to_read(path)) as connection:
                check(connection, path)
    except OSError:
        return
    except sqlite3.Error as error:
        # Not before SQLite says so: an earlier run of this process may be writing it still.
        meant = explain(path, error)
        if isinstance(meant, JournalError):
            raise meant from None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal to read it, also while a daemon writes it, or from a card that cannot be written.

    Raises:
        JournalError: there is none, it cannot be read, or it is of another version.
    """
    return _there(path, open_to_read)


def connect_to_add(path: Path, wait_s: float = BUSY_S) -> sqlite3.Connection:
    """Open a journal that is there for writing, also while a daemon writes it, and in the daemon itself.

    Closing a file takes away all locks that the process has on it, those of SQLite's other connections too; and then
    another program may delete a write-ahead log that is in use. So nothing but SQLite opens the file here.

    Args:
        path: of the journal.
        wait_s: so long others are waited for that write just now.

    Raises:
        JournalError: there is none, it cannot be read, or it is of another version.
    """
    connection = _there(path, lambda path: open_to_add(path, wait_s))
    try:
        _spare(connection)
    except sqlite3.Error as error:
        connection.close()
        raise _unreadable(path, error) from None
    return connection


def _there(path: Path, connect: Callable[[Path], sqlite3.Connection]) -> sqlite3.Connection:
    if not path.is_file():
        raise JournalError(f"No journal {path}: expected a file that `edge run --journal` wrote.")
    try:
        connection = connect(path)
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


def _spare(connection: sqlite3.Connection) -> None:
    """Have little written, and little held in memory."""
    # Debian builds SQLite so that it overwrites what is deleted, which doubles what a deleted row costs the card.
    connection.execute("PRAGMA secure_delete = OFF")
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES // page_bytes}")
    connection.execute(f"PRAGMA journal_size_limit = {2 * WAL_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


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


def _unreadable(path: Path, error: sqlite3.Error) -> JournalError:
    if "unable to open" in str(error) and holds_log(path) and not os.access(path.parent, os.W_OK, effective_ids=True):
        return JournalError(
            f"Cannot read the journal {path}, which was cut off while it was written: copy it, with {path.name}-wal, "
            "to a folder that can be written."
        )
    return JournalError(f"Cannot read the journal {path}: {error}.")
