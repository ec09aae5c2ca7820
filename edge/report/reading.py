"""Reads a journal, also while a daemon writes it: runs, windows, frames, labels, events and pictures as they are."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Optional, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import JournalError
from edge.histogram import Sparse, decode_many
from edge.journal import schema
from edge.journal.packing import Histograms, unpack_histograms
from edge.journal.recovery import under_way
from edge.journal.windows import COLUMNS
from edge.records import UNCHANGED
from edge.report.rows import Answer, Clock, Event, Label, Model, Picture, Run, Window

ROWS_AT_ONCE = 50_000
"""So many frames are in memory at a time."""
_WINDOWS_AT_ONCE = 1_000
_NAMED_AT_ONCE = 10_000
_DECODED_AT_ONCE = 500
_HISTOGRAMS = msgspec.msgpack.Decoder(dict[str, dict[str, bytes]])
_STEP_NS = 1_000_000_000
_MOST_STEPS = 2_000
_WINDOW = ", ".join(("id", *COLUMNS))

SparseHistograms = dict[str, dict[str, Sparse]]
"""State -> stage -> durations in nanoseconds."""
_Decoded = TypeVar("_Decoded")


class Reader:
    """One journal, as it was when this was opened."""

    def __init__(self, path: Path) -> None:
        """Open a journal.

        Raises:
            JournalError: there is none, it cannot be read, or it is of another version.
        """
        self.path = path
        self.damaged: Counter[str] = Counter()
        """Rows of which a part could not be read, by table."""
        self._damaged_windows: set[int] = set()
        self._connection = schema.connect_to_read(path)
        # What is no UTF-8 is shown as well as it can be: a flipped bit must not hide a month.
        # Most texts of frames are the same few.
        self._connection.text_factory = lru_cache(maxsize=256)(_decoded)
        try:
            self._connection.execute("BEGIN")  # all that is read is of one moment
            self.models = {model.id: model for model in self._models()}
            self.runs = {run.id: run for run in self._runs()}
            self._clocks = self._read_clocks()
            self._under_way = self._windows_under_way()
        except sqlite3.Error as error:
            self.close()
            raise self._unreadable(error) from None
        except JournalError:
            self.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def clock(self, run_id: int) -> Clock:
        """The clock of a run; where none was recorded, one that starts in 1970."""
        return self._clocks.get(run_id) or Clock([0], [0])

    def has_clock(self, run_id: int) -> bool:
        """False where nobody knows what time it was."""
        return run_id in self._clocks

    def utc_ns(self, run_id: NDArray[np.int64], monotonic_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """UTC of moments of several runs."""
        utc_ns = np.empty_like(monotonic_ns)
        for each in np.unique(run_id).tolist():
            mine = run_id == each
            utc_ns[mine] = self.clock(each).utc_ns(monotonic_ns[mine])
        return utc_ns

    def window_times(self) -> NDArray[np.int64]:
        """Run id, begin and end (monotonic, in nanoseconds) of all windows: shape (windows, 3), oldest rows first."""
        rows = [
            row for rows in self._chunks("SELECT run_id, began_ns, ended_ns FROM windows ORDER BY id") for row in rows
        ]
        rows += [row[1:4] for row in self._under_way]
        return np.array(rows, np.int64).reshape(-1, 3)

    def windows(self) -> Iterator[Window]:
        """All windows in the order of `window_times`; histograms are decoded by `histograms` only.

        Last come those that runs have begun and not written yet, as far as the rows of their frames tell them.
        """
        drops = msgspec.json.Decoder(dict[str, int])
        answers = msgspec.json.Decoder(list[tuple[Optional[str], int, int, int]])
        written = self._chunks(f"SELECT {_WINDOW} FROM windows ORDER BY id", _WINDOWS_AT_ONCE)
        for rows in chain(written, [self._under_way]):
            for row in rows:
                told = self._decode(drops, row[6], row[0]) or {}
                given = [Answer(*each) for each in self._decode(answers, row[7], row[0]) or []]
                kept_back = told.pop(UNCHANGED, 0)
                yield Window._make((*row[:6], told, kept_back, given, row[8], row[9:12], row[12:15], *row[15:]))

    def _windows_under_way(self) -> list[Any]:
        found = []
        for row in self._connection.execute(
            "SELECT runs.id, started_ns, labels, configuration FROM runs JOIN models ON models.id = model_id "
            "WHERE ended_ns IS NULL ORDER BY runs.id"
        ).fetchall():
            with contextlib.suppress(ArithmeticError, LookupError, TypeError, ValueError, struct.error):
                window = under_way(self._connection, *row)
                if window is not None:
                    found.append((-row[0], *window))
        return found

    def windows_with_histograms(self) -> Iterator[tuple[Window, SparseHistograms]]:
        """All windows in the order of `window_times`, each with its histograms; none where they are damaged."""
        windows = self.windows()
        while some := list(islice(windows, _DECODED_AT_ONCE)):
            packed = [self._packed(window) for window in some]
            decoded = iter(
                decode_many([each for states in packed for stages in states.values() for each in stages.values()])
            )
            for window, states in zip(some, packed):
                told = {state: {stage: next(decoded) for stage in stages} for state, stages in states.items()}
                if any(each is None for stages in told.values() for each in stages.values()):
                    self._damage_window(window.id)
                    told = {}
                yield window, cast(SparseHistograms, told)

    def _packed(self, window: Window) -> dict[str, dict[str, bytes]]:
        try:
            return _HISTOGRAMS.decode(window.packed)
        except (msgspec.MsgspecError, TypeError):
            self._damage_window(window.id)
            return {}

    def histograms(self, window: Window) -> Histograms:
        """A window's histograms; none where they are damaged."""
        try:
            return unpack_histograms(window.packed)
        except (ValueError, TypeError):
            self._damage_window(window.id)
            return {}

    def frames(
        self, columns: Sequence[str], around_ns: Optional[NDArray[np.int64]] = None, run_id: Optional[int] = None
    ) -> Iterator[tuple[Any, ...]]:
        """The kept frames in the order in which they were written, `ROWS_AT_ONCE` at a time.

        Args:
            columns: of the table `frames`.
            around_ns: spans of monotonic time, shape (spans, 2): only the frames in one of them, and some near them.
            run_id: only those of a run.

        Yields:
            The columns of some frames, each a tuple of values.
        """
        wanted = [] if run_id is None else [f"run_id = {run_id:d}"]
        if around_ns is not None:
            wanted.append(_around(around_ns))
        where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
        for rows in self._chunks(f"SELECT {', '.join(columns)} FROM frames{where} ORDER BY id"):
            yield tuple(zip(*rows))

    def named_frames(self, columns: Sequence[str], named: Iterable[tuple[int, int]]) -> Iterator[tuple[Any, ...]]:
        """The rows of some frames, by run id and sequence, as far as they were kept; the columns of one at a time."""
        pairs = sorted(named)
        for first in range(0, len(pairs), _NAMED_AT_ONCE):
            listed = ", ".join(f"({run_id:d}, {number:d})" for run_id, number in pairs[first : first + _NAMED_AT_ONCE])
            sql = f"SELECT {', '.join(columns)} FROM frames WHERE (run_id, sequence) IN (VALUES {listed})"
            for rows in self._chunks(sql):
                yield from rows

    def predictions(self) -> dict[int, int]:
        """Run id -> how many predictions each of its frames has, at most five; only of runs that kept frames.

        All frames of a run have as many, and its rows follow each other: looking at some of them is enough.
        """
        found: dict[int, int] = {}
        to_see = [(self._prediction("1 ORDER BY id"), self._prediction("1 ORDER BY id DESC"))]
        while to_see:
            first, last = to_see.pop()
            if first is None or last is None:  # there are no frames
                continue
            for _, run_id, predictions in (first, last):
                found[run_id] = max(found.get(run_id, 0), predictions)
            if first[1] != last[1]:
                middle = (first[0] + last[0] + 1) // 2
                to_see.append((first, self._prediction(f"id < {middle:d} ORDER BY id DESC")))
                to_see.append((self._prediction(f"id >= {middle:d} ORDER BY id"), last))
        return found

    def _prediction(self, which: str) -> Optional[tuple[int, int, int]]:
        """Id, run id and number of predictions of the first row of those."""
        sql = f"SELECT id, run_id, 1 + length(others) / 4 FROM frames WHERE {which} LIMIT 1"
        return next((tuple(rows[0]) for rows in self._chunks(sql)), None)

    def kept(self) -> int:
        """How many frames have a row."""
        return int(next(self._chunks("SELECT count(*) FROM frames"))[0][0])

    def labels(self) -> list[Label]:
        """What people said, in the order in which they said it."""
        sql = f"SELECT {', '.join(Label._fields)} FROM labels ORDER BY id"
        return [Label(*row) for rows in self._chunks(sql) for row in rows]

    def events(self) -> Iterator[Event]:
        """What happened, oldest rows first; a damaged detail is empty."""
        detail = msgspec.json.Decoder(dict[str, Any])
        for rows in self._chunks("SELECT run_id, monotonic_ns, kind, detail FROM events ORDER BY id"):
            for row in rows:
                yield Event._make((*row[:3], self._json(detail, row[3], "events") or {}))

    def pictures(self) -> Iterator[Picture]:
        """The sample of pictures, oldest rows first."""
        for rows in self._chunks(f"SELECT {', '.join(Picture._fields)} FROM pictures ORDER BY id"):
            yield from (Picture(*row) for row in rows)

    def _models(self) -> Iterator[Model]:
        decoder = msgspec.json.Decoder(tuple[str, ...])
        for rows in self._chunks("SELECT id, name, sha256, labels FROM models"):
            for row in rows:
                yield Model._make((*row[:3], self._json(decoder, row[3], "models") or ()))

    def _runs(self) -> Iterator[Run]:
        decoder = msgspec.json.Decoder(dict[str, Any])
        sql = ", ".join("model_id" if name == "model" else name for name in Run._fields)
        for rows in self._chunks(f"SELECT {sql} FROM runs ORDER BY id"):
            for row in rows:
                documents = [self._json(decoder, text, "runs") or {} for text in row[11:14]]
                model = self.models.get(row[5]) or Model(row[5], "unknown", "", ())
                yield Run._make((*row[:5], model, *row[6:11], *documents, *row[14:]))

    def _read_clocks(self) -> dict[int, Clock]:
        by_run: dict[int, tuple[list[int], list[int]]] = {}
        for rows in self._chunks(
            "SELECT run_id, since_ns, utc_minus_monotonic_ns FROM clocks ORDER BY run_id, since_ns"
        ):
            for run_id, since_ns, offset_ns in rows:
                since, offsets = by_run.setdefault(run_id, ([], []))
                since.append(since_ns)
                offsets.append(offset_ns)
        return {run_id: Clock(*columns) for run_id, columns in by_run.items()}

    def _chunks(self, sql: str, at_once: int = ROWS_AT_ONCE) -> Iterator[list[Any]]:
        try:
            cursor = self._connection.execute(sql)
            while rows := cursor.fetchmany(at_once):
                yield rows
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _decode(self, decoder: msgspec.json.Decoder[_Decoded], text: Any, window_id: int) -> Optional[_Decoded]:
        try:
            return decoder.decode(text)
        except (msgspec.MsgspecError, TypeError):
            self._damage_window(window_id)
            return None

    def _json(self, decoder: msgspec.json.Decoder[_Decoded], text: Any, table: str) -> Optional[_Decoded]:
        try:
            return decoder.decode(text)
        except (msgspec.MsgspecError, TypeError):
            self.damaged[table] += 1
            return None

    def _damage_window(self, window_id: int) -> None:
        self._damaged_windows.add(window_id)
        self.damaged["windows"] = len(self._damaged_windows)

    def _unreadable(self, error: sqlite3.Error) -> JournalError:
        return JournalError(f"Cannot read all of the journal {self.path}: {error}.")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _around(spans_ns: NDArray[np.int64]) -> str:
    """A condition that holds in all of the spans, and little else: the table has no index by time."""
    if not len(spans_ns):
        return "0"
    long_ns = int((spans_ns[:, 1] - spans_ns[:, 0]).sum())
    step_ns = max(_STEP_NS, long_ns // _MOST_STEPS)
    first, last = spans_ns[:, 0] // step_ns, spans_ns[:, 1] // step_ns
    if int((last - first + 1).sum()) > _MOST_STEPS * 4:  # very many short ones
        return f"monotonic_ns BETWEEN {spans_ns.min()} AND {spans_ns.max()}"
    steps = np.unique(np.concatenate([np.arange(begin, end + 1) for begin, end in zip(first, last)]))
    return f"monotonic_ns / {step_ns} IN ({', '.join(map(str, steps.tolist()))})"
