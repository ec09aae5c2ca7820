"""Trees of files that stand in for a machine with an Edge TPU, from tests/fixtures/accelerators."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MACHINES = Path(__file__).parent / "fixtures" / "accelerators"
GOOGLES = "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(14)"
"""What edgetpu_version() of Google's 16.0 tells, as google-coral/edgetpu issues 563 and 660 show it."""
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2


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
def bound_by_permissions() -> Iterator[None]:
    """Root without the powers to read and write whatever it likes (this thread); who is not root has none anyway."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, and the same for capabilities from 32 on
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~(_CAP_DAC_OVERRIDE | _CAP_DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0
