"""What somebody says was true over a span of time, in a journal's table of labels."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Optional

from edge.errors import JournalError, LabelError
from edge.journal import schema
from edge.labels import ClassNames
from edge.truth.live import label_of


class Span(NamedTuple):
    """One row: what was true from one moment until just before another, in UTC nanoseconds."""

    id: int
    from_utc_ns: int
    to_utc_ns: int
    truth: Optional[str]
    """None: not known; takes back what was said before."""
    said_by: str
    said_utc_ns: int


def models(path: Path) -> list[tuple[str, ...]]:
    """The labels of a journal's models, those of the latest run first.

    Raises:
        JournalError: there is no such journal, or it cannot be read.
    """
    import msgspec

    rows = _read(
        path,
        "SELECT labels FROM models JOIN runs ON model_id = models.id GROUP BY models.id ORDER BY max(runs.id) DESC",
    )
    return [msgspec.json.decode(row[0], type=tuple[str, ...]) for row in rows]


def truth_in(path: Path, name: str, other: bool = False) -> str:
    """A class's label as a model of a journal spells it, the latest model first.

    Args:
        path: the journal.
        name: what somebody calls the class.
        other: it is meant to be no class of any model; then the name is taken as it is.

    Raises:
        LabelError: it is a class and should be none, or the other way round; the nearest classes are told.
        JournalError: there is no such journal, it cannot be read, or no run was begun in it.
    """
    known = models(path)
    if not known:
        raise JournalError(f"The journal {path} has no run yet, so that no class is known: run `edge run` on it first.")
    if other:
        if not name.strip():
            raise LabelError("The name is empty: say what it was.")
        if any(ClassNames(labels).find(name) for labels in known):
            raise LabelError(f"{name!r} is a class of the model: leave --other away.")
        return name.strip()
    return label_of(name, next((labels for labels in known if ClassNames(labels).find(name)), known[0]))


def read(path: Path) -> list[Span]:
    """All spans that were ever said, in the order in which they were: of two that overlap the later one holds.

    Raises:
        JournalError: there is no such journal, or it cannot be read.
    """
    rows = _read(
        path,
        "SELECT id, from_utc_ns, to_utc_ns, truth, said_by, said_utc_ns FROM labels "
        "WHERE from_utc_ns IS NOT NULL ORDER BY id",
    )
    return [Span(*row) for row in rows]


def saw_nothing(path: Path, from_utc_ns: int, to_utc_ns: int) -> bool:
    """Whether no run of a journal reaches into a span; one without an end may have gone on for ever.

    Raises:
        JournalError: there is no such journal, or it cannot be read.
    """
    offset = (
        "(SELECT utc_minus_monotonic_ns FROM clocks WHERE run_id = runs.id AND since_ns <= {0} "
        "ORDER BY since_ns DESC LIMIT 1)"
    )
    begin, end = (f"{moment} + {offset.format(moment)}" for moment in ("started_ns", "ended_ns"))
    runs = _read(path, f"SELECT {begin}, {end} FROM runs")
    # A run whose clock is not known may have been at any time.
    return not any((begin is None or begin < to_utc_ns) and (end is None or end > from_utc_ns) for begin, end in runs)


def write(path: Path, from_utc_ns: int, to_utc_ns: int, truth: Optional[str], said_by: str, now_ns: int) -> int:
    """Say what was true over a span of time, also while a daemon writes the journal.

    Returns:
        The row's id.

    Raises:
        JournalError: there is no such journal, or it cannot be written.
    """
    schema.connect_to_read(path).close()  # `connect` would make what is not there
    try:
        with closing(schema.connect(path)) as connection:
            # What a person said is on the medium before the command ends.
            connection.execute("PRAGMA synchronous = FULL")
            cursor = connection.execute(
                "INSERT INTO labels (from_utc_ns, to_utc_ns, truth, said_by, said_utc_ns) VALUES (?, ?, ?, ?, ?)",
                (from_utc_ns, to_utc_ns, truth, said_by, now_ns),
            )
            return int(cursor.lastrowid or 0)
    except sqlite3.Error as error:
        advice = "; another program holds it: try again" if "locked" in str(error) else ""
        raise JournalError(f"Cannot write the label into the journal {path}: {error}{advice}.") from None


def _read(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(schema.connect_to_read(path)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise JournalError(f"Cannot read the journal {path}: {error}.") from None
