"""Files that are whole under their name, or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.errors import ConfigError

_DATABASE = b"SQLite format 3\0"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path` when all went well; an older one of that name is replaced.

    What is no regular file, such as /dev/stdout, is written to as it is.

    Raises:
        ConfigError: the place cannot be written, or holds a journal.
    """
    try:
        if path.is_file() and _is_database(path):
            raise ConfigError(f"{path} is a database, perhaps the journal itself: give another --out.")
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        with _beside(path.resolve()) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror or error}.") from None


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_DATABASE)) == _DATABASE


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
