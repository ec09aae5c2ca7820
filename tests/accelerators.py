"""Trees of files that stand in for a machine with an Edge TPU, from tests/fixtures/accelerators."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MACHINES = Path(__file__).parent / "fixtures" / "accelerators"
GOOGLES = "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(14)"
"""What edgetpu_version() of Google's 16.0 tells, as google-coral/edgetpu issues 563 and 660 show it."""
_NOBODY = 65534


def machine(name: str, folder: Path, more: str = "") -> Path:
    """Make the tree of a machine; `more` has lines that are added to its file, or replace what it has."""
    for line in [*(MACHINES / f"{name}.txt").read_text().splitlines(), *more.splitlines()]:
        text = line.partition("#")[0].strip()
        if " -> " in text:
            path, _, target = text.partition(" -> ")
            place(folder / path)
            (folder / path).symlink_to(target)
        elif text:
            path, _, content = text.partition(" =")
            place(folder / path)
            (folder / path).write_text(f"{content.strip()}\n")
    return folder


def place(path: Path) -> None:
    """Have the folder of a path, and nothing at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


@contextmanager
def powerless() -> Iterator[Path]:
    """A folder of a user whom permissions bind: this one, or nobody in root's place."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Not with root's powers; whoever else runs the tests stays who they are."""
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        yield
        return
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)
