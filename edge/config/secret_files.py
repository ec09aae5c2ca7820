"""What is wrong with a file that a key names, mostly with one that holds a secret."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from typing import Optional

from edge.cameras import local_path

_PASSED_ON = "/run/credentials"
"""Where systemd puts what LoadCredential= names, while the service runs and for it alone."""
_LONGEST_BYTES = 4096
UNREADABLE = "cannot be read by this user"
"""Is in the sentence that says so; another user may well be able to."""


def doubts(
    key: str, path: str, *, secret: bool = True, one_line: bool = True, shortest: int = 1, maker: Optional[str] = None
) -> Iterator[str]:
    """A sentence for each thing that somebody should look at.

    Args:
        key: that names the file.
        path: as it is configured.
        secret: nobody else should read it.
        one_line: it holds one line; else anything.
        shortest: characters in that line, to be safe.
        maker: a command that prints such a line; None where it is somebody's to choose.
    """
    file = local_path(path)
    if file.is_relative_to(_PASSED_ON) and not os.access(file.parent, os.R_OK | os.X_OK):
        return
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        can_be_made = maker and isinstance(error, FileNotFoundError) and not file.is_relative_to(_PASSED_ON)
        advice = f"; `(umask 077; {maker} >{shlex.quote(path)})` makes one" if can_be_made else ""
        yield f"{key} {path} cannot be read: {getattr(error, 'strerror', None) or error}{advice}."
        return
    if not stat.S_ISREG(mode):
        yield f"{key} {path} is no file."
        return
    if secret and mode & stat.S_IROTH:
        yield f"{key} {path} can be read by everybody: chmod o-r it."
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_BYTES + 1)
    except OSError as error:
        why = error.strerror or error
        yield f"{key} {path} {UNREADABLE}: {why}; who runs the service must be able to."
        return
    such = f", such as `{maker}` prints" if maker else ""
    line = content.removesuffix(b"\n").removesuffix(b"\r")
    if not line.strip():
        yield f"{key} {path} is empty" + (f": expected one line{such}." if one_line else ".")
    elif one_line and (b"\n" in line or len(content) > _LONGEST_BYTES):
        yield f"{key} {path} holds more than a line: expected the secret alone, at most {_LONGEST_BYTES} bytes."
    elif len(line) < shortest:
        yield f"{key} {path} holds a secret that can be guessed: expected at least {shortest} characters{such}."
