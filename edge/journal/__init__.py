"""The field log: what a device saw, how long it took, how hot it was, how often it was right, and what went wrong."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import JournalError
from edge.journal.settings import JournalSettings

_LONGEST_ADDRESS = 107
"""Bytes in the address of a Unix socket: sun_path, less its NUL."""


def journal_path(settings: JournalSettings) -> Path:
    """The file that is recorded to.

    Raises:
        JournalError: none is named, or it is a folder.
    """
    if settings.path is None:
        raise JournalError("No journal is named: expected a file, which may be a new one.")
    path = Path(settings.path).expanduser().absolute()
    if path.is_dir():
        raise JournalError(f"The journal {path} is a folder: expected a file, which may be a new one.")
    return path


def pictures_folder(path: Path) -> Path:
    """Where the pictures of a journal are."""
    return path.with_name(path.name + ".pictures")


def socket_path(path: Path) -> Path:
    """The Unix socket of the daemon that writes a journal; a short one elsewhere where the journal's path is long."""
    beside = path.absolute().with_name(path.name + ".sock")
    if len(os.fsencode(beside)) <= _LONGEST_ADDRESS:
        return beside
    import hashlib
    import tempfile

    short = hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"edge-{short}.sock")
