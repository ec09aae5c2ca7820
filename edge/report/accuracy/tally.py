"""Counts a journal's answers, right and wrong, by where the truth is from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.accuracy.accuracy import KNOWN, LABELLED, REVIEWED, SOURCES, Key, Merged, Names, Sums, merged
from edge.report.accuracy.truths import Truths
from edge.report.reading import Reader
from edge.report.rows import Model, Picture, Window, top_ids

_DAY_NS = 86_400 * 10**9
_COLUMNS = ("run_id", "sequence", "monotonic_ns", "class_id", "others", "truth", "stands_for")
_NOTHING = -1


class Tally:
    """Counts a journal's answers by source of truth.

    `add_window` takes each window; what people labelled since is counted by `add_frames` and `add_pictures` after that.
    """

    def __init__(self, reader: Reader, times_ns: NDArray[np.int64]) -> None:
        """Read what people said; `times_ns` are the reader's `window_times`."""
        self._reader = reader
        self.truths = Truths(reader.labels())
        self._sums: defaultdict[Key, Sums] = defaultdict(Sums)
        self.notes: list[str] = []
        self._names = {model.id: Names(model) for model in reader.models.values()}
        self._model_ids = {run.id: run.model.id for run in reader.runs.values()}
        named = self.truths.frames
        self._pictures = list(reader.pictures()) if named else []
        self._sampled = {(picture.run_id, picture.sequence) for picture in self._pictures}
        self._lone = any(frame not in self._sampled for frame in named)
        self._windows: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        """Run id -> begin and end of the windows that count by their kept frames."""
        self._touched = self._touch(times_ns)
        self._days = (reader.utc_ns(times_ns[:, 0], times_ns[:, 1]) // _DAY_NS).tolist()

    def add_window(self, place: int, window: Window) -> None:
        """Count the answers of a window if no later label touches it; `place` is its row in `window_times`."""
        answers = [answer for answer in window.answers if answer.truth is not None]
        if answers and self._touched[place]:
            self._windows[window.run_id].append((window.began_ns, window.ended_ns))
            return
        model_id = self._model_ids.get(window.run_id, 0)
        for truth, class_id, frames, in_top5 in answers:
            key = Key(KNOWN, model_id, str(truth), class_id, self._days[place])
            self._sums[key] = self._sums[key].plus(Sums(frames, in_top5, frames, frames))

    def add_frames(self) -> None:
        """Count the kept frames of labelled spans, of windows that a label touches, and those that a label names."""
        if not self.truths.said and not self._lone and not self._windows:
            return
        windows = {run_id: np.array(sorted(spans), np.int64) for run_id, spans in self._windows.items()}
        used = {run_id: np.zeros(len(spans), bool) for run_id, spans in windows.items()}
        for columns in self._reader.frames(_COLUMNS, None if self._lone else self._around_ns(windows)):
            self._add_frames(columns, windows, used)
        unused = sum(int((~each).sum()) for each in used.values())
        if unused:
            self.notes.append(
                f"{_minutes(unused)} that a later label touches kept no frames: what was true then counts nowhere."
            )

    def add_pictures(self) -> None:
        """Count the pictures that a person looked at.

        Each stands for its share of all frames; within a stratum those that were looked at stand for those that were
        not, so that it does no harm to look at some strata more than at others.
        """
        strata: defaultdict[tuple[int, str], list[Picture]] = defaultdict(list)
        for picture in self._pictures:
            strata[self._model_ids.get(picture.run_id, 0), picture.stratum].append(picture)
        seen = {key: [each for each in pictures if self._said(each)] for key, pictures in strata.items()}
        for (model_id, stratum), pictures in strata.items():
            reviewed = seen[model_id, stratum]
            if reviewed:
                whole, part = (sum(each.stands_for for each in some) for some in (pictures, reviewed))
                for picture in reviewed:
                    self._add_picture(model_id, picture, picture.stands_for * whole / part if part > 0 else 0.0)
            elif any(seen[other] for other in seen if other[0] == model_id):
                self.notes.append(
                    f"Nobody looked at {_pictures(len(pictures))} kept as {stratum!r}: the accuracy of reviewed "
                    "pictures leaves out the frames that they stand for."
                )

    def told(self) -> list[Merged]:
        """The accuracies, by source and model."""
        groups: defaultdict[tuple[int, int], dict[Key, Sums]] = defaultdict(dict)
        for key, each in self._sums.items():
            groups[SOURCES.index(key.source), key.model_id][key] = each
        models = self._reader.models
        shared = Counter(model.name for model in models.values())
        result = []
        for (source, model_id), sums in sorted(groups.items(), key=lambda group: group[0]):
            names = self._names_of(model_id)
            model = names.model
            title = f"{model.name} ({model.sha256[:8]})" if shared[model.name] > 1 else model.name
            result.append(merged(SOURCES[source], title, names, sums))
        return result

    def _add_frames(
        self,
        columns: tuple[Any, ...],
        windows: Mapping[int, NDArray[np.int64]],
        used: Mapping[int, NDArray[np.bool_]],
    ) -> None:
        run_id, monotonic_ns = np.array(columns[0], np.int64), np.array(columns[2], np.int64)
        utc_ns = self._reader.utc_ns(run_id, monotonic_ns)
        codes = _Codes()
        known = codes.of(columns[5])
        known[~_inside(run_id, monotonic_ns, windows, used)] = _NOTHING
        newest = self.truths.of_spans(utc_ns)
        truth = np.where(newest >= 0, codes.of((*self.truths.said, None))[newest], known)
        labelled = newest >= 0
        for index, said in self.truths.of_frames(columns[0], columns[1]):
            if truth[index] == _NOTHING:
                # A picture of a weighted sample counts with the sample; by itself it would stand for too much.
                if (columns[0][index], columns[1][index]) in self._sampled:
                    continue
                labelled[index] = True
            truth[index] = codes.one(said)
        chosen = np.flatnonzero(truth != _NOTHING)
        if not chosen.size:
            return
        ids = top_ids([columns[3][index] for index in chosen], [columns[4][index] for index in chosen])
        model_id = np.array([self._model_ids.get(each, 0) for each in run_id[chosen].tolist()])
        groups = np.stack([labelled[chosen], model_id, truth[chosen]])
        weights = np.array(columns[6], np.float64)[chosen]
        days = utc_ns[chosen] // _DAY_NS
        for group in np.unique(groups, axis=1).T:
            mine = (groups == group[:, None]).all(axis=0)
            source, name = (KNOWN, LABELLED)[group[0]], codes.names[group[2]]
            self._add_alike(source, int(group[1]), name, ids[mine], weights[mine], days[mine])

    def _add_alike(
        self,
        source: str,
        model_id: int,
        truth: str,
        ids: NDArray[np.uint16],
        weights: NDArray[np.float64],
        days: NDArray[np.int64],
    ) -> None:
        """Count frames of one source, model and truth."""
        in_top5 = np.isin(ids, list(self._names_of(model_id).meant(truth))).any(axis=1)
        pairs, which = np.unique(days << 16 | ids[:, 0], return_inverse=True)
        sums = (weights, weights * in_top5, weights**2)
        totals = [np.bincount(which, values, len(pairs)).tolist() for values in sums]
        counts = np.bincount(which, minlength=len(pairs)).tolist()
        for pair, *told in zip(pairs.tolist(), *totals, counts):
            key = Key(source, model_id, truth, pair & 0xFFFF, pair >> 16)
            self._sums[key] = self._sums[key].plus(Sums(*told))

    def _add_picture(self, model_id: int, picture: Picture, weight: float) -> None:
        truth = str(self._said(picture))
        ids = top_ids([picture.class_id], [picture.others])
        days = self._reader.clock(picture.run_id).utc_ns(np.array([picture.monotonic_ns], np.int64)) // _DAY_NS
        self._add_alike(REVIEWED, model_id, truth, ids, np.array([weight]), days)

    def _said(self, picture: Picture) -> Optional[str]:
        return self.truths.frames.get((picture.run_id, picture.sequence))

    def _names_of(self, model_id: int) -> Names:
        return self._names.get(model_id) or Names(Model(model_id, "unknown", "", ()))

    def _times_of_named(self) -> dict[int, NDArray[np.int64]]:
        """Run id -> sorted monotonic times of the frames that labels name, as far as the journal still knows them."""
        times: defaultdict[int, list[int]] = defaultdict(list)
        for picture in self._pictures:
            if (picture.run_id, picture.sequence) in self.truths.frames:
                times[picture.run_id].append(picture.monotonic_ns)
        if self._lone:
            for run_ids, sequences, monotonic_ns in self._reader.frames(_COLUMNS[:3]):
                for index, _ in self.truths.of_frames(run_ids, sequences):
                    times[run_ids[index]].append(monotonic_ns[index])
        return {run_id: np.sort(np.array(each, np.int64)) for run_id, each in times.items()}

    def _touch(self, times_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which windows hold a moment or a frame that somebody labelled."""
        run_id, began_ns, ended_ns = times_ns.T
        last_ns = np.maximum(began_ns, ended_ns - 1)
        long_ns = last_ns - began_ns
        # Where the machine slept within a window, it is two spans of UTC.
        began_utc_ns, last_utc_ns = self._reader.utc_ns(run_id, began_ns), self._reader.utc_ns(run_id, last_ns)
        touched = self.truths.touch(began_utc_ns, began_utc_ns + long_ns)
        touched |= self.truths.touch(last_utc_ns - long_ns, last_utc_ns)
        for each, named_ns in self._times_of_named().items():
            mine = run_id == each
            first = np.searchsorted(named_ns, began_ns[mine])
            touched[mine] |= np.searchsorted(named_ns, ended_ns[mine], side="right") > first
        return touched

    def _around_ns(self, windows: Mapping[int, NDArray[np.int64]]) -> NDArray[np.int64]:
        """The spans of monotonic time in which all frames lie that may count."""
        labelled_ns = self.truths.labelled_ns()
        spans = [np.zeros((0, 2), np.int64), *windows.values()]
        for run in self._reader.runs.values():
            of_run = self._reader.clock(run.id).monotonic_ns(labelled_ns)
            of_run = np.clip(of_run, run.started_ns, run.ended_ns)
            spans.append(of_run[of_run[:, 0] < of_run[:, 1]])
        return np.concatenate(spans)


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


def _inside(
    run_id: NDArray[np.int64],
    monotonic_ns: NDArray[np.int64],
    windows: Mapping[int, NDArray[np.int64]],
    used: Mapping[int, NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Whether each frame lies in one of the windows; those that hold one are marked as used."""
    inside = np.zeros(len(run_id), bool)
    for each, spans in windows.items():
        mine = np.flatnonzero(run_id == each)
        places = np.searchsorted(spans[:, 0], monotonic_ns[mine], side="right") - 1
        within = (places >= 0) & (monotonic_ns[mine] <= spans[places, 1])
        inside[mine] = within
        used[each][places[within]] = True
    return inside


def _minutes(count: int) -> str:
    return "1 minute" if count == 1 else f"{count} minutes"


def _pictures(count: int) -> str:
    return "the 1 picture" if count == 1 else f"any of the {count} pictures"
