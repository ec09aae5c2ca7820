"""Whether this is a Python that the packages exist for."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, ok

_FIRST, _LAST = (3, 9), (3, 13)


class Interpreter(NamedTuple):
    """A Python."""

    version: tuple[int, int, int]
    bits: int
    sees_system: Optional[bool]
    """Of a virtual environment: whether it sees the system's packages; None for a Python that is in none."""


def examine(_: Case) -> Iterator[Finding]:
    """This Python."""
    yield from judge(this())


def this() -> Interpreter:
    """This Python."""
    major, minor, micro = sys.version_info[:3]
    return Interpreter((major, minor, micro), struct.calcsize("P") * 8, _sees_system())


def judge(python: Interpreter) -> Iterator[Finding]:
    """What to say of a Python."""
    version = ".".join(map(str, python.version))
    if not _FIRST <= python.version[:2] <= _LAST:
        yield blocks(
            f"this is Python {version}: expected 3.9 to 3.13, for which the packages exist.",
            "make the environment with another one: `rm -rf .venv && make run PYTHON=python3.11`.",
        )
    if python.bits != 64:
        yield blocks(
            f"this Python has {python.bits} bits: there is no numpy, OpenCV or LiteRT for it.",
            "install the 64-bit system (Raspberry Pi OS 64-bit; a 64-bit kernel alone is not enough).",
        )
    if python.sees_system is None:
        where = "in no virtual environment"
    else:
        sees = "sees" if python.sees_system else "does not see"
        where = f"in a virtual environment that {sees} the system's packages"
    yield ok(f"Python {version}, {python.bits} bits, {where}.")


def _sees_system() -> Optional[bool]:
    if sys.prefix == sys.base_prefix:
        return None
    try:
        text = (Path(sys.prefix) / "pyvenv.cfg").read_text("utf-8", "replace")
    except OSError:
        return False
    settings = {name.strip().lower(): value.strip().lower() for name, _, value in _pairs(text)}
    return settings.get("include-system-site-packages") == "true"


def _pairs(text: str) -> list[tuple[str, str, str]]:
    return [line.partition("=") for line in text.splitlines()]
