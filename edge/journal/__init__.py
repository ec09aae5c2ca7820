"""The field log: what a device saw, how long it took, how hot it was, how often it was right, and what went wrong."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import JournalError
from edge.journal.settings import JournalSettings

_LONGEST_NAME = 80
"""Bytes of a socket's name that fit into an address beside `/proc/self/fd/N/`."""


def journal_path(settings: JournalSettings) -> Path:
    """The file that is recorded to.

    Raises:
        JournalError: none is named, it is a folder, or where it lies may not be looked at.
    """
    if settings.path is None:
        raise JournalError("No journal is named: expected a file, which may be a new one.")
    path = Path(settings.path).expanduser().resolve()  # what lies beside it lies beside the file, not beside a link
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be reached ({error.strerror}): expected a folder that this user may enter; a "
            "systemd unit needs it in ReadWritePaths=, and below /home not ProtectHome=yes."
        ) from None
    if is_folder:
        raise JournalError(f"The journal {path} is a folder: expected a file, which may be a new one.")
    return path


def pictures_folder(path: Path) -> Path:
    """Where the pictures of a journal are."""
    return path.with_name(path.name + ".pictures")


def socket_path(path: Path) -> Path:
    """The Unix socket of the daemon that writes a journal."""
    beside = path.resolve()
    name = f"{beside.name}.sock"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        import hashlib

        name = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.sock"
    return beside.with_name(name)
