"""Ends runs that had no chance to end themselves: the power went, or the process was killed."""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
from typing import Any, Optional

from edge.journal import store
from edge.journal.ledger import Event
from edge.journal.packing import NOW_BITS, unpack_others
from edge.journal.windows import COLUMNS, Counted, Minute, Truths
from edge.records import Timings

BECAUSE = "power or process lost"
_TIMES = (("windows", "ended_ns"), ("frames", "monotonic_ns"), ("events", "monotonic_ns"))
_log = logging.getLogger(__name__)


def recover(connection: sqlite3.Connection, own_run: str) -> None:
    """Look through the file, and give each run that was cut off an end and the minute that was under way.

    That minute's frames come from their rows, each with those that it stands for, and so do their drops; its histograms
    hold the rows alone. How many frames a gate kept back in it is in no row, and lost.

    Args:
        connection: to the journal.
        own_run: a run that is not over.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    cut_off = connection.execute(
        "SELECT runs.id, started_ns, labels, configuration FROM runs JOIN models ON models.id = model_id "
        "WHERE ended_ns IS NULL AND run <> ? ORDER BY runs.id",
        (own_run,),
    ).fetchall()
    if not cut_off:
        return
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))
    for run in cut_off:
        with store.transaction(connection):
            _recover_run(connection, *run)


def under_way(
    connection: sqlite3.Connection, run_id: int, started_ns: int, labels: str, configuration: str
) -> Optional[tuple[Any, ...]]:
    """The window that a run has begun and not written yet, from the frames' rows; None where there are none.

    Args:
        connection: to the journal.
        run_id: of a run.
        started_ns: of it.
        labels: of its model, as the table has them.
        configuration: of it, as the table has it.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError, struct.error: a value is damaged.
    """
    counted_ns = _last(connection, "windows", "ended_ns", run_id) or started_ns
    truths = Truths(_read(labels, []))
    minute = _minute_of_rows(connection, run_id, counted_ns, truths, _drop_reason(configuration))
    return None if minute is None else minute.row(run_id, over=False)


def _recover_run(connection: sqlite3.Connection, run_id: int, started_ns: int, labels: str, configuration: str) -> None:
    ended_ns, row = started_ns, None
    try:
        seen = [_last(connection, table, column, run_id) for table, column in _TIMES]
        ended_ns = max(started_ns, *(last or 0 for last in seen))
        row = under_way(connection, run_id, started_ns, labels, configuration)
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error):
        # SQLite does not notice damage within a value. It must not keep the next run from being recorded.
        _log.warning("The journal's run %d was cut off, and its last minute cannot be read.", run_id)
    if row is not None:
        connection.execute(store.insert("windows", COLUMNS), row)
    store.add_events(connection, run_id, [Event(ended_ns, BECAUSE, {})])
    store.end(connection, run_id, ended_ns, BECAUSE)


def _last(connection: sqlite3.Connection, table: str, column: str, run_id: int) -> Optional[int]:
    # The newest rows have the highest ids: no index is needed.
    for run, value in connection.execute(f"SELECT run_id, {column} FROM {table} ORDER BY id DESC"):
        if run <= run_id:
            return int(value) if run == run_id else None
    return None


def _minute_of_rows(
    connection: sqlite3.Connection, run_id: int, since_ns: int, truths: Truths, reason: str
) -> Optional[Minute]:
    rows = connection.execute(
        "SELECT run_id, monotonic_ns, wait_ns, preprocess_ns, invoke_ns, postprocess_ns, class_id, others, truth, "
        "dropped, throttled, state, stands_for FROM frames ORDER BY id DESC"
    )
    minute: Optional[Minute] = None
    for run, monotonic_ns, wait, preprocess, invoke, postprocess, class_id, others, truth, *rest in rows:
        if run > run_id:
            continue
        if run < run_id or monotonic_ns < since_ns:
            break
        dropped, throttled, state, frames = rest
        if minute is None:
            minute = Minute(since_ns, monotonic_ns)
        answer = truths.answer(truth, [class_id, *(other for other, _ in unpack_others(others))])
        timings = Timings(wait, preprocess, invoke, postprocess)
        minute.add(Counted(monotonic_ns, timings, answer, dropped * frames, frames), state, reason)
        minute.throttle(None if throttled is None else throttled & NOW_BITS)
    return minute


def _drop_reason(configuration: str) -> str:
    settings = _read(configuration, {})
    return "paced" if isinstance(settings, dict) and settings.get("fps") else "busy"


def _read(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return otherwise
