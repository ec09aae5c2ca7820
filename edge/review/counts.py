"""How many kept pictures are labelled, and how many wait."""

from __future__ import annotations

import sqlite3

from edge.review.store import LABELLED, told


def waiting(connection: sqlite3.Connection) -> list[int]:
    """The ids of what `store.unlabelled` gives, which costs less; the files are not looked for.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        rows = connection.execute(f"SELECT id FROM pictures WHERE file <> '' AND id NOT IN {LABELLED} ORDER BY id")
        return [picture_id for (picture_id,) in rows]


def count_labelled(connection: sqlite3.Connection) -> int:
    """How many pictures somebody has labelled, of all models.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        return int(connection.execute(f"SELECT count(*) FROM pictures WHERE id IN {LABELLED}").fetchone()[0])


def version(connection: sqlite3.Connection) -> tuple[object, ...]:
    """Is another one where something was said of pictures since, or another picture was kept; costs next to nothing.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        # The time too, as the id of a label that was taken back is given again.
        labels = connection.execute("SELECT max(id), count(*), max(said_utc_ns) FROM labels").fetchone()
        return (*labels, *connection.execute("SELECT max(id) FROM pictures").fetchone())


def not_labelled(connection: sqlite3.Connection, model_id: int) -> dict[str, float]:
    """How many frames all other pictures of a model stand for, the deleted ones too, by stratum.

    Raises:
        JournalError: the journal cannot be read.
    """
    with told():
        return dict(
            connection.execute(
                "SELECT stratum, sum(stands_for) FROM pictures JOIN runs ON runs.id = run_id "
                f"WHERE model_id = ? AND pictures.id NOT IN {LABELLED} GROUP BY stratum",
                (model_id,),
            ).fetchall()
        )
