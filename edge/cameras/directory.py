"""Pictures in a folder, in class folders, or one alone."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Callable, Optional

import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings, file_mode, local_path
from edge.errors import CameraError, ImageError
from edge.images import SUFFIXES, path_text, read_rgb
from edge.records import Frame


class Directory:
    """Every picture below a folder, sorted by path; the folder that it lies in is its truth.

    A picture at the top has no truth. One that cannot be read is passed over: `on_skip` gets a sentence that
    names it, `skipped` counts it, and the numbering of frames does not count it.
    """

    live = False
    lost: Optional[str] = None

    def __init__(self, settings: CameraSettings, on_skip: Optional[Callable[[str], None]] = None) -> None:
        """List the pictures of the folder `settings.source`, whatever its name: here "scene" is a folder too.

        Raises:
            CameraError: there is no such folder, or it holds none.
        """
        root = local_path(settings.source)
        if file_mode(settings.source) is None:
            raise CameraError(f"There is no folder or picture {path_text(root)}.")
        self._root = root if root.is_dir() else root.parent
        self._paths = find_pictures(root)
        if not self._paths:
            raise CameraError(f"{path_text(root)} holds no pictures: expected files that end in {', '.join(SUFFIXES)}.")
        pictures = "1 picture" if len(self._paths) == 1 else f"{len(self._paths)} pictures"
        self.name = f"picture {path_text(root)}" if root.is_file() else f"folder {path_text(root)}, {pictures}"
        self.ended = False
        self.skipped = 0
        self.on_skip = on_skip or logging.getLogger(__name__).warning
        self._loop = settings.loop
        self._good: list[Path] = []
        self._next = 0
        self._sequence = 0

    def __len__(self) -> int:
        """Pictures in one pass, the unreadable ones included until they were met."""
        return len(self._paths)

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:  # noqa: ARG002
        """The next picture, or None after the last.

        Raises:
            CameraError: not one of the pictures could be read.
        """
        while not self.ended:
            if self._next == len(self._paths):
                self._finish_pass()
                continue
            path = self._paths[self._next]
            self._next += 1
            try:
                pixels = _read_file(path)
            except ImageError as error:
                self.skipped += 1
                self.on_skip(str(error))
                continue
            self._good.append(path)
            label = path_text(Path(path.parent.name)) if path.parent != self._root else None
            frame = Frame(pixels, self._sequence, time.monotonic_ns(), label, path_text(path))
            self._sequence += 1
            return frame
        return None

    def _finish_pass(self) -> None:
        if not self._good:
            self.ended = True
            raise CameraError(f"Not one of the {self.skipped} pictures of {self.name} could be read.")
        # The next pass leaves out what could not be read, so that it is counted and named once.
        self._paths, self._good, self._next = self._good, [], 0
        self.ended = not self._loop

    def close(self) -> None:
        self.ended = True


def _read_file(path: Path) -> NDArray[np.uint8]:
    if os.path.exists(path) and not os.path.isfile(path):
        # A pipe among pictures would be waited for without end.
        raise ImageError(f"{path_text(path)} is not a file: expected a picture.")
    return read_rgb(path)


def find_pictures(root: Path) -> list[Path]:
    """Picture files below `root` in the order of their paths, without hidden ones; `root` itself when it is a file."""
    if root.is_file():
        return [root]
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
    return sorted(found)
