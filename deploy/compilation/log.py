"""What Coral's `edgetpu_compiler -s` prints, read into facts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

import msgspec

from edge.errors import ModelError

MAPPED = "Mapped to Edge TPU"
_MOST_COMPLAINTS = 6
_MOST_CHARACTERS = 300  # of a line
_UNITS_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)"
_TABLE_HEAD = re.compile(r"Operator\s+Count\s+Status")
_ROW = re.compile(r"(\S+)\s+(\d{1,9})\s+(\S.*)")
_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
# What it says whether or not something is wrong.
_CHATTER = re.compile(
    r"Edge TPU Compiler version|Started a compilation timeout timer|Compilation child process completed|"
    r"Compilation failed!|INFO: |(ERROR: )?Restored original execution plan"
)
_HEADINGS = re.compile(r"^(?:(?:ERROR|WARNING|Compilation failed): )+")


class Row(msgspec.Struct, frozen=True):
    """Operators of one kind that the compiler treated alike."""

    operator: str
    count: int
    status: str
    """Where they run, in the compiler's words: `MAPPED`, or why they stay on the CPU."""


class Log(msgspec.Struct, frozen=True):
    """What a run of the compiler told; None where it did not."""

    version: Optional[str]
    compiled: bool
    """Whether it says that it succeeded."""
    compile_ms: Optional[int]
    subgraphs: Optional[int]
    """Parts that run on the Edge TPU, one after the other, with the CPU between them."""
    tpu_operators: Optional[int]
    cpu_operators: Optional[int]
    on_chip_bytes: Optional[int]
    """Parameters that stay in the Edge TPU's own memory. The compiler rounds to two decimals of KiB or MiB."""
    on_chip_left_bytes: Optional[int]
    """What of that memory remains for them."""
    off_chip_bytes: Optional[int]
    """Parameters that are sent anew for each inference."""
    operators: tuple[Row, ...]
    complaints: tuple[str, ...]
    """Why it failed, in its own words, the first few; empty where it succeeded, and where it gave no reason."""


def parse(text: str) -> Log:
    """Read what the compiler printed, from a run that went well or did not.

    Raises:
        ModelError: its counts of operators contradict each other.
    """
    compiled = _number(text, r"Model compiled successfully in (\d{1,12}) ms")
    rows = _rows(text)
    total = _number(text, r"Total number of operations: (\d{1,9})")
    on_tpu = _number(text, r"Number of operations that will run on Edge TPU: (\d{1,9})")
    on_cpu = _number(text, r"Number of operations that will run on CPU: (\d{1,9})")
    mapped = sum(row.count for row in rows if row.status == MAPPED)
    left = sum(row.count for row in rows) - mapped
    if on_tpu is None and on_cpu is None and rows:  # it counts them apart only where some stay on the CPU
        on_tpu, on_cpu = mapped, left
    if (rows and (on_tpu, on_cpu) != (mapped, left)) or (
        total is not None and on_tpu is not None and on_cpu is not None and on_tpu + on_cpu != total
    ):
        raise ModelError(
            f"The Edge TPU compiler's log contradicts itself: of {total} operators it puts {on_tpu} onto the Edge TPU "
            f"and {on_cpu} onto the CPU, and its table {mapped} and {left}; compile again."
        )
    version = _VERSION.search(text)
    return Log(
        version=version[1] if version else None,
        compiled=compiled is not None,
        compile_ms=compiled,
        subgraphs=_number(text, r"Number of Edge TPU subgraphs: (\d{1,9})"),
        tpu_operators=on_tpu,
        cpu_operators=on_cpu,
        on_chip_bytes=_size(text, "On-chip memory used for caching model parameters"),
        on_chip_left_bytes=_size(text, "On-chip memory remaining for caching model parameters"),
        off_chip_bytes=_size(text, "Off-chip memory used for streaming uncached model parameters"),
        operators=rows,
        complaints=() if compiled is not None else _complaints(text),
    )


def _number(text: str, pattern: str) -> Optional[int]:
    found = re.search(rf"^{pattern}", text, re.MULTILINE)
    return int(found[1]) if found else None


def _size(text: str, what: str) -> Optional[int]:
    found = re.search(rf"^{what}: {_SIZE}\s*$", text, re.MULTILINE)
    return round(float(found[1]) * _UNITS_BYTES[found[2]]) if found else None


def _rows(text: str) -> tuple[Row, ...]:
    """The table of operators: from its heading to the first line that is neither a row nor empty."""
    rows: list[Row] = []
    inside = False
    for line in map(str.strip, text.splitlines()):
        if not inside:
            inside = _TABLE_HEAD.fullmatch(line) is not None
            continue
        found = _ROW.fullmatch(line)
        if found:
            rows.append(Row(plain(found[1]), int(found[2]), plain(found[3])))
        elif line:
            break
    return tuple(rows)


def _complaints(text: str) -> tuple[str, ...]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    said = (_HEADINGS.sub("", line).rstrip(".! ") for line in lines if line and not _CHATTER.match(line))
    return tuple(dict.fromkeys(plain(line) for line in said if line))[:_MOST_COMPLAINTS]


def plain(line: str) -> str:
    """What others wrote, fit for a terminal: no control characters, and not too long."""
    text = "".join(character if character.isprintable() else "?" for character in line)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


def on_cpu(rows: Sequence[Row]) -> str:
    """The operators that stay on the CPU and why, as part of a sentence."""
    return "; ".join(f"{row.count} {row.operator} ({row.status})" for row in rows if row.status != MAPPED)
