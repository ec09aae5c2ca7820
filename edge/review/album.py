"""The folder of kept pictures, which stays within its budget."""

from __future__ import annotations

import contextlib
import itertools
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable

from edge.errors import EdgeError
from edge.review.strata import STRATA

SUFFIX = ".jpg"
_PART = ".part"
_STAMP = "%Y%m%d-%H%M%S"


_FOLDER_MODE, _FILE_MODE = 0o750, 0o640
"""What a camera saw is not for everybody."""


class BudgetError(EdgeError):
    """The budget has no room for a picture."""


def file_name(utc: str, run: str, sequence: int) -> str:
    """Name of a picture's file; names sort by time.

    Args:
        utc: ISO 8601, as in a record.
        run: identifies the run.
        sequence: of the frame.
    """
    return f"{_time(utc).strftime(_STAMP)}-{run}-{sequence}{SUFFIX}"


def is_of(name: str, run: str, sequence: int) -> bool:
    """Whether a file is called as the picture of a frame is.

    Args:
        name: of the file.
        run: of the frame.
        sequence: of the frame.
    """
    return name.endswith(f"-{run}-{sequence}{SUFFIX}")


def _for_the_group(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE_MODE)


class Album:
    """A folder of pictures. For one thread, and no other writer beside it."""

    def __init__(self, folder: Path, max_bytes: int, max_per_day: int, on_delete: Callable[[str], object]) -> None:
        """Nothing is read or made yet.

        Args:
            folder: made when it is needed.
            max_bytes: of all pictures.
            max_per_day: in any 24 hours, over all runs; one block's more, as a day may begin and end within a block.
            on_delete: gets the name of each file that was deleted to make room.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_per_day = max_per_day + len(STRATA)
        self._on_delete = on_delete
        self._looked = False
        self._sizes: dict[str, int] = {}  # the oldest first
        self._total_bytes = 0

    def look(self) -> None:
        """Find out what is there, which takes a while where there is much; else the first `make_room` does.

        Raises:
            OSError: the folder cannot be read.
        """
        self._sizes = _sizes(self._folder)
        self._total_bytes = sum(self._sizes.values())
        self._looked = True

    def make_room(self, utc: str, size_bytes: int) -> None:
        """Delete the oldest pictures where that is needed for one more.

        Args:
            utc: when the new one was taken.
            size_bytes: of the new one.

        Raises:
            OSError: the folder cannot be read, or a file not be deleted.
            BudgetError: the new one is larger than the whole budget, or its day has had its pictures.
        """
        if size_bytes > self._max_bytes:
            raise BudgetError(
                f"A picture has {size_bytes} bytes, and review.max_bytes is {self._max_bytes}: raise it, or lower "
                "review.longest_side_px."
            )
        if not self._looked:
            self.look()
        if self._in_day_before(utc) >= self._max_per_day:
            raise BudgetError(
                f"The last 24 hours have all the pictures that review.max_pictures_per_day allows ({self._max_per_day} "
                "with those of a block under way), as short runs keep more: the next ones are not kept."
            )
        while self._total_bytes + size_bytes > self._max_bytes:
            name = next(iter(self._sizes))
            with contextlib.suppress(FileNotFoundError):
                (self._folder / name).unlink()
            self._total_bytes -= self._sizes.pop(name)
            self._on_delete(name)

    def _in_day_before(self, utc: str) -> int:
        day_ago, now = ((_time(utc) - timedelta(days=days)).strftime(_STAMP) for days in (1, 0))
        # Backwards, so that a month of pictures is not gone through: this holds the interpreter that classifies too.
        recent = itertools.takewhile(lambda name: name > day_ago, reversed(self._sizes))
        return sum(name < now for name in recent)

    def keep(self, name: str, content: bytes) -> None:
        """Store a picture, whole or not at all, also when the power fails.

        Args:
            name: from `file_name`.
            content: of the file.

        Raises:
            OSError: the folder cannot be made or written.
        """
        self._folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        part = self._folder / f"{name}{_PART}"
        try:
            with open(part, "wb", opener=_for_the_group) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        self._sizes[name] = len(content)
        self._total_bytes += len(content)


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each picture, the oldest first; what a power cut left half written is deleted."""
    sizes: dict[str, int] = {}
    if not folder.is_dir():
        return sizes
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(f"{SUFFIX}{_PART}"):
                os.unlink(entry.path)
            elif entry.name.endswith(SUFFIX):
                sizes[entry.name] = entry.stat().st_size
    return dict(sorted(sizes.items()))


def _time(utc: str) -> datetime:
    return datetime.fromisoformat(utc).astimezone(timezone.utc)
