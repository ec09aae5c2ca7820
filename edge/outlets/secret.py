"""Secrets that stand in files, such as those that systemd passes on."""

from __future__ import annotations

import os
import stat

from edge.cameras import local_path
from edge.errors import OutletError

LONGEST_BYTES = 4096


def read_secret(key: str, path: str) -> bytes:
    """The one line of a file.

    Args:
        key: of the configuration, that names the file.
        path: as it is configured.

    Raises:
        OutletError: the file is missing, cannot be read, or holds anything but one line.
    """
    try:
        # Nobody waits for what a pipe may bring.
        descriptor = os.open(local_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no regular file")
            content = file.read(LONGEST_BYTES + 2)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutletError(
            f"Key {key} names {path!r}, which cannot be read ({why}): expected a file with one line."
        ) from None
    secret = content.removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(secret) <= LONGEST_BYTES or b"\n" in secret:
        raise OutletError(
            f"Key {key} names {path!r}, which holds no secret: expected one line of at most {LONGEST_BYTES} bytes."
        )
    return secret
