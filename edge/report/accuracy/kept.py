"""Counts kept frames where labels ask for more than minutes tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.accuracy.accuracy import Names
from edge.report.accuracy.minutes import DAY_NS, Minutes
from edge.report.accuracy.sums import KNOWN, LABELLED, Key, Sums
from edge.report.accuracy.truths import NO_LABEL, Truths
from edge.report.reading import Reader
from edge.report.rows import top_ids

COLUMNS = ("run_id", "sequence", "monotonic_ns", "class_id", "others", "truth", "stands_for")
_NOTHING = -1
_LABELLED, _MODEL, _TRUTH, _CLASS, _DAY, _PLACE, _INSIDE, _RIGHT, _IN_TOP5, _IS_CLASS, _TELLS_TOP5 = range(11)
_COMMON = 5
"""So many of the columns above make a key."""


class Counted(NamedTuple):
    """Kept frames of one source and model."""

    source: str
    model_id: int
    sums: dict[Key, Sums]
    rows: NDArray[np.float64]
    """As `Varying.add_many` takes them."""


class Kept:
    """The kept frames of windows that labels cut, and of labelled time."""

    def __init__(
        self, reader: Reader, truths: Truths, minutes: Minutes, names: Mapping[int, Names], short: AbstractSet[int]
    ) -> None:
        """Begin with none.

        Args:
            reader: for its clocks and runs.
            truths: what people said of spans.
            minutes: all windows.
            names: of the classes of each run's model, by run id.
            short: ids of runs whose frames have too few predictions for a top 5.
        """
        self._reader, self._truths, self._minutes, self._names, self._short = reader, truths, minutes, names, short
        self._codes = _Codes()
        self._said = self._codes.of((*truths.said, None))
        self._rows: list[NDArray[np.int64]] = [np.zeros((0, 11), np.int64)]
        self._weighed: list[NDArray[np.float64]] = [np.zeros((0, 3))]
        """For each of these rows: the sum of the frames' weights, of the squares, and their number."""
        self.weights = np.zeros(len(minutes))
        """Of all kept frames of each window that labels touch."""

    def add(self, columns: tuple[Any, ...]) -> None:
        """Take in some frames, of any time: their `COLUMNS`."""
        run_id, monotonic_ns = np.array(columns[0], np.int64), np.array(columns[2], np.int64)
        stands_for = np.array(columns[6], np.float64)
        utc_ns = self._reader.utc_ns(run_id, monotonic_ns)
        places, inside = self._minutes.of_frames(run_id, monotonic_ns)
        inside &= (self._minutes.said[places] != NO_LABEL) if len(self._minutes) else False
        self.weights += np.bincount(places[inside], stands_for[inside], len(self._minutes))[: len(self._minutes)]
        newest = self._truths.of_spans(utc_ns)
        labelled = newest != NO_LABEL
        truth = np.where(labelled, self._said[newest], np.where(inside, self._codes.of(columns[5]), _NOTHING))
        chosen = np.flatnonzero(truth != _NOTHING)
        if not chosen.size:
            return
        rows = np.zeros((len(chosen), 11), np.int64)
        ids = top_ids([columns[3][index] for index in chosen], [columns[4][index] for index in chosen])
        rows[:, _LABELLED], rows[:, _TRUTH], rows[:, _CLASS] = labelled[chosen], truth[chosen], ids[:, 0]
        rows[:, _DAY], rows[:, _PLACE], rows[:, _INSIDE] = utc_ns[chosen] // DAY_NS, places[chosen], inside[chosen]
        for each in np.unique(run_id[chosen]).tolist():
            of_run = run_id[chosen] == each
            names = self._names.get(each)
            rows[of_run, _MODEL] = names.model.id if names else 0
            rows[of_run, _TELLS_TOP5] = each not in self._short
            for code in np.unique(truth[chosen][of_run]).tolist():
                mine = of_run & (truth[chosen] == code)
                meant = list(names.meant(self._codes.names[code])) if names else []
                rows[mine, _IS_CLASS] = bool(meant)
                rows[mine, _RIGHT] = np.isin(ids[mine, 0], meant)
                rows[mine, _IN_TOP5] = np.isin(ids[mine], meant).any(axis=1)
        alike, which = _alike(rows)
        weights = stands_for[chosen]
        weighed = [np.bincount(which, each, len(alike)) for each in (weights, weights**2, np.ones(len(which)))]
        self._rows.append(alike)
        self._weighed.append(np.stack(weighed, axis=1))

    def counted(self, frames: NDArray[np.int64], exact: NDArray[np.bool_]) -> Iterator[Counted]:
        """The sums of all that were taken in.

        Args:
            frames: of each window: its kept frames stand for so many.
            exact: of each window, whether first predictions were counted without them.
        """
        rows, (weights, squares, numbers) = np.concatenate(self._rows), np.concatenate(self._weighed).T
        places, inside = rows[:, _PLACE], rows[:, _INSIDE] > 0
        scale = np.ones(len(rows))
        scale[inside] = frames[places[inside]] / np.maximum(self.weights[places[inside]], 1.0)
        counts, tells = np.ones(len(rows)), rows[:, _TELLS_TOP5]
        counts[inside] = ~exact[places[inside]]
        first, top5 = weights * scale * counts, weights * scale * tells
        squares = squares * scale**2
        of_first = (first, squares * counts, numbers * counts)
        of_top5 = (top5 * rows[:, _IN_TOP5], top5, squares * tells, numbers * tells)
        keys, which = _alike(rows[:, :_COMMON])
        totals = np.stack([np.bincount(which, each, len(keys)) for each in (*of_first, *of_top5)], axis=1)
        for is_labelled, model_id in {(key[_LABELLED], key[_MODEL]) for key in keys.tolist()}:
            source = LABELLED if is_labelled else KNOWN
            sums = {
                Key(source, model_id, self._codes.names[key[_TRUTH]], key[_CLASS], key[_DAY]): Sums(*told)
                for key, told in zip(keys.tolist(), totals.tolist())
                if key[:_TRUTH] == [is_labelled, model_id]
            }
            mine = (rows[:, _LABELLED] == is_labelled) & (rows[:, _MODEL] == model_id) & (rows[:, _IS_CLASS] > 0)
            seen, at = np.unique(places[mine], return_inverse=True)
            columns = (first * rows[:, _RIGHT], first, top5 * rows[:, _IN_TOP5], top5)
            by_place = [np.bincount(at.ravel(), column[mine], len(seen)) for column in columns]
            yield Counted(source, model_id, sums, np.stack((seen, *by_place), axis=1))


def _alike(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The different rows, and which of them each row is; many times faster than `np.unique` with an axis."""
    number = np.zeros(len(rows), np.int64)
    for column in rows.T:
        values, which = np.unique(column, return_inverse=True)
        number = np.unique(number * len(values) + which.ravel(), return_inverse=True)[1].ravel()
    _, first = np.unique(number, return_index=True)
    return rows[first], number


class _Codes:
    """Numbers for truths, so that they can be compared many at once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._known: dict[Optional[str], int] = {None: _NOTHING}

    def one(self, truth: Optional[str]) -> int:
        if truth not in self._known:
            self._known[truth] = len(self.names)
            self.names.append(str(truth))
        return self._known[truth]

    def of(self, truths: Iterable[Optional[str]]) -> NDArray[np.int64]:
        return np.array([self.one(truth) for truth in truths], np.int64)
