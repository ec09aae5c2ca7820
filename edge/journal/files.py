"""What a journal's file is, before and after SQLite has opened it."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from edge.errors import AlreadyRunningError, EdgeError, JournalError

APPLICATION_ID = 0x45444745
"""In the file's header: "EDGE"."""
MODE = 0o640
BUSY_S = 5.0
"""So long is another program waited for that writes just now."""
_HEAD_BYTES = 65_536
_SQLITE = b"SQLite format 3\0"
_MARK = b"CREATE TABLE windows ("
"""In the first pages of every journal."""
_PASSING = (
    *("locked", "disk is full", "readonly database", "unable to open", "disk I/O error", "locking protocol"),
    *("interrupted", "access permission"),
)
"""In SQLite's messages about the place, not the content, of a file. Error codes came with Python 3.11."""


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open any database to read it; what is wrong with it shows when it is read.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    if not os.access(path.parent, os.W_OK, effective_ids=True) and not holds_log(path):
        address += "&immutable=1"  # SQLite would need files beside it to coordinate with others, of which are none
    return sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)


def open_to_add(path: Path, wait_s: float) -> sqlite3.Connection:
    """Open any database that is there to write to it; what is wrong with it shows when it is used.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=wait_s, isolation_level=None)


def hold(path: Path) -> Optional[int]:
    """Hold a journal for this process, as long as the descriptor is open; None where no lock can be made now.

    Not on the journal itself: closing any descriptor of it would take SQLite's own locks away.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunningError(f"Another program is recording to the journal {path}: stop it first.") from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return None
    return descriptor


def make(path: Path) -> None:
    """Make an empty file that only its owner's group may read: what a camera saw is nobody else's business.

    One that is there is not touched: this process may have a connection to it, whose locks would be gone.

    Raises:
        OSError: it cannot be made, or not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))
    elif not os.access(path, os.W_OK, effective_ids=True):
        code = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, os.strerror(code), str(path))


def passes(error: Exception) -> bool:
    """Whether an error is about the place of a file (full, locked, read-only, not there) and not its content."""
    told = isinstance(error, sqlite3.OperationalError) and any(part in str(error) for part in _PASSING)
    return told or isinstance(error, (OSError, EdgeError))


def require_regular(path: Path) -> None:
    """Make sure that a journal's path names a file, if anything.

    Raises:
        JournalError: it names something else.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise JournalError(f"The journal {path} is no regular file: expected a file, which may be a new one.")


def explain(path: Path, error: sqlite3.Error) -> Exception:
    """What an error at opening a file means, as its content tells: another file, or a journal with a damaged header.

    To be called when SQLite has closed the file, and only where its content says more than the error: closing the file
    here takes away the locks of whatever connection this process has to it.
    """
    damaged = type(error) is sqlite3.DatabaseError
    if not damaged and "readonly" not in str(error):
        return error
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return error
    ours = head[68:72] == APPLICATION_ID.to_bytes(4, "big") or _MARK in head
    if ours and head.startswith(_SQLITE) and not {1, 2}.issuperset(head[18:20]):  # which SQLite may call read-only
        return sqlite3.DatabaseError("its header is damaged")
    if damaged and not ours and head.strip(b"\0"):
        return JournalError(f"{path} is no journal but another file: give a journal, or the name of a new one.")
    return error


def holds_log(path: Path) -> bool:
    """Whether something waits in the write-ahead log of a journal that nobody writes."""
    log = path.with_name(path.name + "-wal")
    try:
        return log.stat().st_size > 0
    except OSError:
        return False
