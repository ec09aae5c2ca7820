"""Ends runs that had no chance to end themselves: the power went, or the process was killed."""

from __future__ import annotations

import json
import sqlite3
from typing import Optional

from edge.journal import store
from edge.journal.packing import unpack_others
from edge.journal.windows import COLUMNS, Answer, Counted, Minute, Truths
from edge.records import Timings

BECAUSE = "power or process lost"


def recover(connection: sqlite3.Connection, own_run: str) -> None:
    """Look through the file, and give each run that was cut off an end and the minute that was under way.

    That minute's frames come from their rows, each with those that it stands for; its histograms hold the rows alone.

    Args:
        connection: to the journal.
        own_run: a run that is not over.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    cut_off = connection.execute(
        "SELECT runs.id, started_ns, labels FROM runs JOIN models ON models.id = model_id "
        "WHERE ended_ns IS NULL AND run <> ?",
        (own_run,),
    ).fetchall()
    if not cut_off:
        return
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))
    for run_id, started_ns, labels in cut_off:
        with store.transaction(connection):
            _recover_run(connection, run_id, started_ns, json.loads(labels))


def _recover_run(connection: sqlite3.Connection, run_id: int, started_ns: int, labels: list[str]) -> None:
    counted_ns = _last(connection, "windows", "ended_ns", run_id) or started_ns
    minute = _minute_of_rows(connection, run_id, counted_ns, Truths(labels))
    if minute is not None:
        connection.execute(store.insert("windows", COLUMNS), minute.row(run_id, over=False))
    seen = (_last(connection, table, "monotonic_ns", run_id) for table in ("frames", "events"))
    store.end(connection, run_id, max(counted_ns, *(last or 0 for last in seen)), BECAUSE)


def _last(connection: sqlite3.Connection, table: str, column: str, run_id: int) -> Optional[int]:
    # The newest rows have the highest ids: no index over the times is needed.
    row = connection.execute(
        f"SELECT {column} FROM {table} WHERE run_id = ? ORDER BY id DESC LIMIT 1", (run_id,)
    ).fetchone()
    return None if row is None else int(row[0])


def _minute_of_rows(connection: sqlite3.Connection, run_id: int, since_ns: int, truths: Truths) -> Optional[Minute]:
    rows = connection.execute(
        "SELECT monotonic_ns, wait_ns, preprocess_ns, invoke_ns, postprocess_ns, class_id, others, truth, dropped, "
        "state, stands_for FROM frames WHERE run_id = ? ORDER BY id DESC",
        (run_id,),
    )
    minute: Optional[Minute] = None
    for monotonic_ns, wait, preprocess, invoke, postprocess, class_id, others, truth, dropped, state, frames in rows:
        if monotonic_ns < since_ns:
            break
        if minute is None:
            minute = Minute(since_ns, monotonic_ns)
        class_ids = [class_id, *(other for other, _ in unpack_others(others))]
        timings = Timings(wait, preprocess, invoke, postprocess)
        answer: Answer = truths.answer(truth, class_ids)
        minute.add(Counted(monotonic_ns, timings, answer, dropped, frames), state, "busy")
    return minute
