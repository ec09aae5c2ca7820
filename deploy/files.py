"""Files that are whole under their name, or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Union

from edge.errors import ConfigError


def write(path: Path, content: Union[str, bytes]) -> None:
    """Write a file aside, then rename it into place; an older one of that name is replaced.

    Raises:
        ConfigError: the place cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
        partial = None
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror or error}.") from None
    finally:
        if partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(partial)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
