"""The field log: what a device saw, how long it took, how hot it was, how often it was right, and what went wrong."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from edge.device import Live
from edge.errors import JournalError
from edge.journal.ledger import Event, Picture, RunFacts
from edge.journal.settings import JournalSettings, JournalStatus
from edge.journal.writer import Writer
from edge.records import Record

__all__ = ["Journal", "JournalSettings", "JournalStatus", "RunFacts", "pictures_folder", "socket_path"]

_LONGEST_ADDRESS = 107
"""Bytes in the address of a Unix socket: sun_path, less its NUL."""


class Journal:
    """A sink that records; every method returns at once, another thread writes."""

    def __init__(self, settings: JournalSettings, facts: RunFacts) -> None:
        """Begin a run.

        A file that cannot be written (a full disk, a read-only one) does not stop anything: see `status`.

        Raises:
            JournalError: the path is a folder, or a file that is no journal or one of a newer version.
        """
        if settings.path is None:
            raise JournalError("A journal needs a path.")
        self.path = Path(settings.path).expanduser().absolute()
        if self.path.is_dir():
            raise JournalError(f"The journal {self.path} is a folder: expected a file, which may be a new one.")
        self._writer = Writer(self.path, settings, facts)

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        self._writer.put(record)

    def reading(self, live: Live) -> None:
        """Take in a reading of the board; the frames before it are judged by it."""
        self._writer.put(live)

    def event(self, kind: str, **detail: Any) -> None:
        """Take in something that happened just now; it is written at once."""
        self._writer.put(Event(time.monotonic_ns(), kind, detail))

    def picture(self, record: Record, stratum: str, stands_for: float, file: str) -> None:
        """Take in that a frame's picture was kept."""
        self._writer.put(Picture(record, stratum, stands_for, file))

    def status(self) -> JournalStatus:
        """How it does."""
        return self._writer.status()

    def close(self, because: str = "end") -> None:
        """Write what is left and end the run."""
        self._writer.close(because)


def pictures_folder(path: Path) -> Path:
    """Where the pictures of a journal are."""
    return path.with_name(path.name + ".pictures")


def socket_path(path: Path) -> Path:
    """The Unix socket of the daemon that writes a journal; a short one elsewhere where the journal's path is long."""
    beside = path.absolute().with_name(path.name + ".sock")
    if len(os.fsencode(beside)) <= _LONGEST_ADDRESS:
        return beside
    short = hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"edge-{short}.sock")
