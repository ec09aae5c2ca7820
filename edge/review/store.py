"""Kept pictures in the journal's tables, and what somebody says that they show."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Optional

import msgspec

from edge.errors import JournalError
from edge.journal import schema
from edge.journal.files import BUSY_S
from edge.journal.packing import SCORE_UNITS, unpack_others
from edge.records import Prediction

NO_CLASS = "(no class)"
"""The truth of a picture that shows nothing that a class names."""

_SELECT = """
SELECT pictures.id, run_id, run, sequence, (
    monotonic_ns + (
        SELECT utc_minus_monotonic_ns FROM clocks
        WHERE clocks.run_id = pictures.run_id AND since_ns <= monotonic_ns ORDER BY since_ns DESC LIMIT 1
    )
), stratum, stands_for, file, class_id, score, others, truth, models.id, name
FROM pictures JOIN runs ON runs.id = run_id JOIN models ON models.id = model_id
"""
# Of two that say something of a frame, the newest does. By ids of pictures, as SQLite takes long to find that something
# is not among what may be NULL.
LABELLED = """(SELECT shown.id FROM pictures AS shown WHERE (run_id, sequence) IN (
    SELECT run_id, sequence FROM labels
    WHERE truth IS NOT NULL AND id IN (SELECT max(id) FROM labels WHERE run_id IS NOT NULL GROUP BY run_id, sequence)
))"""
"""The pictures that somebody labelled, for an IN."""


class Said(NamedTuple):
    """Which label: SQLite gives ids again, but no two are of the same moment."""

    id: int
    utc_ns: int


class Picture(msgspec.Struct, frozen=True):
    """A kept picture."""

    id: int
    run_id: int
    run: str
    sequence: int
    utc_ns: Optional[int]
    """None: the journal has no clock for its time."""
    stratum: str
    stands_for: float
    file: str
    """In the folder of pictures; "" when it was deleted."""
    predictions: tuple[Prediction, ...]
    """As the model answered, highest score first, at most five."""
    truth: Optional[str]
    """As it was known at the time."""
    model_id: int
    model: str
    label: Optional[str]
    """What somebody said of this very frame."""
    said_by: Optional[str]


def open_to_label(path: Path, wait_s: float = BUSY_S) -> sqlite3.Connection:
    """Open a journal for `label`, also while a daemon writes it, and in the daemon itself. For one thread at a time.

    Args:
        path: of the journal.
        wait_s: so long others are waited for that write just now.

    Raises:
        JournalError: there is none, or it cannot be used.
    """
    connection = schema.connect_to_add(path, wait_s)
    with told():
        # What a person said is on the medium before the next question.
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def pictures(connection: sqlite3.Connection, ids: Optional[Sequence[int]] = None) -> list[Picture]:
    """All pictures, or those with some ids that there are, in the order in which they were kept.

    Raises:
        JournalError: the journal cannot be read.
    """
    return _pictures(connection, "") if ids is None else _pictures(connection, f"WHERE pictures.id IN {_listed(ids)}")


def picture(connection: sqlite3.Connection, picture_id: int) -> Picture:
    """One picture.

    Raises:
        JournalError: there is none with this id, or the journal cannot be read.
    """
    found = _pictures(connection, "WHERE pictures.id = ?", (picture_id,))
    if not found:
        raise JournalError(f"No picture {picture_id} in the journal: `edge review --list` tells which there are.")
    return found[0]


def unlabelled(connection: sqlite3.Connection, folder: Optional[Path] = None) -> list[Picture]:
    """Pictures that nobody has labelled yet and that were not deleted, in the order in which they were kept.

    To be shown in random order: then what is labelled is a random sample whenever a person stops.

    Args:
        connection: to a journal.
        folder: where the pictures are: those whose file is gone are left out too.

    Raises:
        JournalError: the journal cannot be read.
    """
    return [
        each
        for each in _pictures(connection, "WHERE file <> ''")
        if each.label is None and (folder is None or (folder / each.file).is_file())
    ]


def labelled(connection: sqlite3.Connection, model_id: int) -> list[Picture]:
    """The pictures of a model's frames that somebody has labelled, in the order in which they were kept.

    Raises:
        JournalError: the journal cannot be read.
    """
    return _pictures(connection, f"WHERE model_id = ? AND pictures.id IN {LABELLED}", (model_id,))


def model_of(connection: sqlite3.Connection, run: str) -> Optional[int]:
    """The id of the model of a run; None where the journal does not know the run.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        row = connection.execute("SELECT model_id FROM runs WHERE run = ?", (run,)).fetchone()
        return None if row is None else int(row[0])


def labels_of(connection: sqlite3.Connection, model_id: int) -> tuple[str, ...]:
    """A model's class names, by output index; empty where the journal does not know the model.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        row = connection.execute("SELECT labels FROM models WHERE id = ?", (model_id,)).fetchone()
        return () if row is None else msgspec.convert(json.loads(row[0]), tuple[str, ...])


def label(connection: sqlite3.Connection, run_id: int, sequence: int, truth: Optional[str], by: str) -> Said:
    """Say what a frame shows; the newest label of a frame counts.

    Args:
        connection: to a journal, for writing; a daemon may write to it as well.
        run_id: of the frame's run.
        sequence: of the frame.
        truth: a class as the model spells it, or `NO_CLASS`; None takes back what was said before.
        by: who says so.

    Returns:
        The label, for `unsay`.

    Raises:
        JournalError: the journal cannot be written.
    """
    utc_ns = time.time_ns()
    with told():
        row = connection.execute(
            "INSERT INTO labels (run_id, sequence, truth, said_by, said_utc_ns) VALUES (?, ?, ?, ?, ?)",
            (run_id, sequence, truth, by, utc_ns),
        ).lastrowid
    assert row is not None
    return Said(row, utc_ns)


def newest(connection: sqlite3.Connection, run_id: int, sequence: int, truth: str, by: str) -> Optional[Said]:
    """The newest label of a frame, where it is that of somebody who says just this; else None.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        row = connection.execute(
            "SELECT id, said_utc_ns, truth, said_by FROM labels WHERE run_id = ? AND sequence = ? ORDER BY id DESC",
            (run_id, sequence),
        ).fetchone()
    return Said(*row[:2]) if row and row[2:] == (truth, by) else None


def unsay(connection: sqlite3.Connection, slip: Said) -> bool:
    """Make a slip undone: the label was never said, and what was known before it counts again.

    Returns:
        Whether there was such a label, which there is not when it is undone already.

    Raises:
        JournalError: the journal cannot be written.
    """
    with told():
        found = connection.execute("DELETE FROM labels WHERE id = ? AND said_utc_ns = ?", slip)
    return found.rowcount > 0


def _listed(ids: Sequence[int]) -> str:
    return f"({', '.join(f'{each:d}' for each in ids)})"


def _pictures(connection: sqlite3.Connection, where: str, values: Sequence[Any] = ()) -> list[Picture]:
    with told():
        said = {
            (run_id, sequence): (truth, by)
            for run_id, sequence, truth, by in connection.execute(
                "SELECT run_id, sequence, truth, said_by FROM labels WHERE run_id IS NOT NULL ORDER BY id"
            )
        }
        rows = connection.execute(f"{_SELECT} {where} ORDER BY pictures.id", values).fetchall()
        names = {model_id: labels_of(connection, model_id) for model_id in {row[12] for row in rows}}
        return [_picture(row, names[row[12]], said.get((row[1], row[3]))) for row in rows]


def _picture(row: Sequence[Any], names: Sequence[str], said: Optional[tuple[Optional[str], str]]) -> Picture:
    picture_id, run_id, run, sequence, utc_ns, stratum, stands_for, file, *answer, truth, model_id, model = row
    class_id, score, others = answer
    ranked = [(class_id, score / SCORE_UNITS), *unpack_others(others)]
    known = said if said and said[0] is not None else (None, None)
    return Picture(
        id=picture_id,
        run_id=run_id,
        run=run,
        sequence=sequence,
        utc_ns=utc_ns,
        stratum=stratum,
        stands_for=stands_for,
        file=file,
        predictions=tuple(Prediction(each, _name(names, each), share) for each, share in ranked),
        truth=truth,
        model_id=model_id,
        model=model,
        label=known[0],
        said_by=known[1],
    )


def _name(labels: Sequence[str], class_id: int) -> str:
    return labels[class_id] if class_id < len(labels) else f"class {class_id}"


@contextmanager
def told() -> Iterator[None]:
    """Tell what SQLite says in the block as a JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        advice = "; another program holds it: try again" if "locked" in str(error) else ""
        raise JournalError(f"Cannot use the journal: {error}{advice}.") from None
    except (ValueError, TypeError, struct.error, msgspec.MsgspecError) as error:
        raise JournalError(f"The journal is damaged: {error}.") from None
