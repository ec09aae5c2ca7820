"""Counts a journal's answers, right and wrong, by where the truth is from."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.accuracy import sample
from edge.report.accuracy.accuracy import TOP, Names, merged
from edge.report.accuracy.kept import COLUMNS, Kept
from edge.report.accuracy.minutes import DAY_NS, Minutes
from edge.report.accuracy.sums import KNOWN, LABELLED, REVIEWED, SOURCES, Key, Sums, all_of, moved, one, total
from edge.report.accuracy.truths import CUT, NO_LABEL, Truths
from edge.report.accuracy.varying import Effective, Varying, limited
from edge.report.figures import Accuracy
from edge.report.reading import Reader
from edge.report.rows import Model, Picture, Window, top_ids
from edge.report.stretches import FEWEST_BLOCKS
from edge.report.words import count

_NAMED = COLUMNS[:6]


class Tally:
    """Counts a journal's answers by source of truth.

    `add_window` takes each window; what people said since is counted by `add_frames` and `add_pictures` after that.
    Windows hold all frames, and are counted as they are, by what labels say of their time or else by what was known
    then; a label on a frame moves that one only. Where labels cut a window, its kept frames stand for it.
    """

    def __init__(self, reader: Reader, times_ns: NDArray[np.int64]) -> None:
        """Read what people said; `times_ns` are the reader's `window_times`."""
        self._reader = reader
        self.truths = Truths(reader.labels())
        self.varying = Varying()
        self.notes: list[str] = []
        self._minutes = Minutes(reader, times_ns, self.truths)
        self._of_model = {model.id: Names(model) for model in reader.models.values()}
        self._names = {run.id: self._names_of(run.model.id) for run in reader.runs.values()}
        fullest = reader.predictions()
        self._short = {
            run.id for run in reader.runs.values() if fullest.get(run.id, TOP) < min(TOP, len(run.model.labels))
        }
        self._counted: defaultdict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
        """Of windows that are counted as they are: frames, those in top 5, and those of which that is known."""
        self._sums: defaultdict[Key, Sums] = defaultdict(Sums)
        self._frames = np.zeros(len(times_ns), np.int64)
        self._exact = np.zeros(len(times_ns), bool)
        """Which of the windows that labels touch are counted as they are."""
        self._pictures = list(reader.pictures()) if self.truths.frames else []
        self._reviewed: dict[int, Effective] = {}

    def add_window(self, place: int, window: Window) -> None:
        """Count the answers of a window, unless labels cut it; `place` is its row in `window_times`."""
        said = int(self._minutes.said[place])
        source, label = KNOWN, None
        if said != NO_LABEL:
            self._frames[place] = window.frames
            self._exact[place] = said != CUT and bool(window.answers)
            source, label = LABELLED, None if said == CUT else self.truths.said[said]
            if not self._exact[place] or label is None:
                return
        model_id = self._model_id(window.run_id)
        names, day = self._names_of(model_id), int(self._minutes.days[place])
        # Whether a truth that was said later was in the top 5, only kept frames tell.
        tells_top5 = label is None and window.run_id not in self._short
        told = [0, 0, 0, 0]
        for truth, class_id, frames, in_top5 in window.answers:
            true = truth if label is None else label
            if true is None:
                continue
            counted = self._counted[Key(source, model_id, true, class_id, day)]
            values = (frames, in_top5 * tells_top5, frames * tells_top5)
            for index, value in enumerate(values):
                counted[index] += value
            if meant := names.meant(true):
                right_of = frames * (class_id in meant)
                told = [told[0] + right_of, told[1] + frames, told[2] + values[1], told[3] + values[2]]
        if told[1]:
            right, frames, in_top5, of_top5 = told
            self.varying.add(source, model_id, place, right, frames, in_top5, of_top5)

    def add_frames(self) -> None:
        """Count the kept frames where labels cut windows, and the frames that labels name."""
        for key, counted in self._counted.items():
            self._sums[key] = self._sums[key].plus(all_of(*counted))
        self._counted.clear()
        if self.truths.said:
            kept = Kept(self._reader, self.truths, self._minutes, self._names, self._short)
            for columns in self._reader.frames(COLUMNS, self._around_ns()):
                kept.add(columns)
            for each in kept.counted(self._frames, self._exact):
                for key, sums in each.sums.items():
                    self._sums[key] = self._sums[key].plus(sums)
                self.varying.add_many(each.source, each.model_id, each.rows)
            touched = (self._minutes.said != NO_LABEL) & ~self._exact
            lost = int((touched & (self._frames > 0) & (kept.weights == 0)).sum())
            if lost:
                self.notes.append(
                    f"{count(lost, 'minute')} that labels cover in part kept no frames: what was true then counts "
                    "nowhere."
                )
        self._add_named()

    def add_pictures(self) -> None:
        """Count the pictures that a person looked at."""
        by_model: defaultdict[int, list[tuple[Picture, Optional[str]]]] = defaultdict(list)
        for picture in self._pictures:
            said = self.truths.frames.get((picture.run_id, picture.sequence))
            by_model[self._model_id(picture.run_id)].append((picture, said))
        for model_id, pictures in by_model.items():
            names = self._names_of(model_id)
            strata = sample.seen(pictures, names)
            self._reviewed[model_id] = sample.effective(strata, names)
            self.notes += sample.notes(pictures)
            for picture, truth, weight, _, in_top5 in (each for stratum in strata for each in stratum):
                utc_ns = self._reader.clock(picture.run_id).utc_ns(np.array([picture.monotonic_ns], np.int64))
                key = Key(REVIEWED, model_id, truth, picture.class_id, int(utc_ns[0] // DAY_NS))
                self._sums[key] = self._sums[key].plus(one(weight, in_top5, picture.run_id not in self._short))

    def told(self) -> list[Accuracy]:
        """The accuracies, by source and model."""
        groups: defaultdict[tuple[int, int], dict[Key, Sums]] = defaultdict(dict)
        for key, each in self._sums.items():
            if each.weight > 0 or each.of_top5 > 0:
                groups[SOURCES.index(key.source), key.model_id][key] = each
        shared = Counter(model.name for model in self._reader.models.values())
        result = []
        for (source, model_id), sums in sorted(groups.items(), key=lambda group: group[0]):
            names = self._names_of(model_id)
            model = names.model
            title = f"{model.name} ({model.sha256[:8]})" if shared[model.name] > 1 else model.name
            effective = self._effective(SOURCES[source], names, sums)
            result.append(merged(SOURCES[source], title, names, sums, effective))
        return result

    def _effective(self, source: str, names: Names, sums: dict[Key, Sums]) -> Effective:
        if source == REVIEWED:
            return self._reviewed.get(names.model.id, Effective())
        varying = self.varying.told(source, names.model.id)
        if varying.stretches is None or varying.stretches < FEWEST_BLOCKS:
            return Effective(stretches=varying.stretches or 0)
        known = total({key: each for key, each in sums.items() if names.meant(key.truth)})
        return Effective(
            limited(known.weight, known.squares, varying.top1),
            limited(known.of_top5, known.squares_of_top5, varying.top5),
            varying.stretches,
        )

    def _add_named(self) -> None:
        """Move each frame that a label names from what was counted to what the label says."""
        named = self.truths.frames
        sampled = {(picture.run_id, picture.sequence): picture for picture in self._pictures}
        rows = list(self._reader.named_frames(_NAMED, named)) if named else []
        found = {row[:2] for row in rows}
        rows += [
            tuple(getattr(picture, column) for column in _NAMED)
            for frame, picture in sampled.items()
            if frame in named and frame not in found
        ]
        if rows:
            run_id, monotonic_ns = (np.array([row[column] for row in rows], np.int64) for column in (0, 2))
            utc_ns = self._reader.utc_ns(run_id, monotonic_ns)
            places, inside = (each.tolist() for each in self._minutes.of_frames(run_id, monotonic_ns))
            newest, days = self.truths.of_spans(utc_ns).tolist(), (utc_ns // DAY_NS).tolist()
            for index, row in enumerate(rows):
                place = places[index]
                source, old, day = LABELLED, None, days[index]
                if newest[index] != NO_LABEL:
                    old = self.truths.said[newest[index]]
                elif inside[index]:
                    source, old = KNOWN, row[5]
                if inside[index] and (self._minutes.said[place] == NO_LABEL or self._exact[place]):
                    day = int(self._minutes.days[place])
                if old is not None or row[:2] not in sampled:
                    self._name(row, (source, old), named[row[:2]], place, day)
        lost = len(set(named) - found - set(sampled))
        if lost:
            self.notes.append(
                f"{count(lost, 'labelled frame has', 'labelled frames have')} no row any more: what was said of "
                f"{'it' if lost == 1 else 'them'} counts nowhere."
            )

    def _name(
        self, row: tuple[Any, ...], was: tuple[str, Optional[str]], truth: Optional[str], place: int, day: int
    ) -> None:
        """Count a frame, whose columns are `_NAMED`, as what a label says of it.

        Args:
            row: the frame.
            was: the source and truth that it was counted with; a truth of None: it was not counted.
            truth: what the label says.
            place: of its window.
            day: on which it counts.
        """
        source, old = was
        if truth == old:
            return
        ids, model_id = top_ids([row[3]], [row[4]])[0].tolist(), self._model_id(row[0])
        names = self._names_of(model_id)
        taken, of_top5 = 1.0, float(row[0] not in self._short)
        if old is None:
            source = LABELLED
        else:
            key = Key(source, model_id, old, ids[0], day)
            self._sums[key], taken, of_top5 = moved(self._sums[key], not names.meant(old).isdisjoint(ids))
        for said, sign in ((old, -1), (truth, 1)):
            if said is None:
                continue
            meant = names.meant(said)
            in_top5 = of_top5 * (not meant.isdisjoint(ids))
            if sign > 0:
                key = Key(source, model_id, said, ids[0], day)
                self._sums[key] = self._sums[key].plus(Sums(taken, taken, taken, in_top5, of_top5, of_top5, of_top5))
            if meant:
                told = (taken * (ids[0] in meant), taken, in_top5, of_top5)
                self.varying.add(source, model_id, place, *(sign * each for each in told))

    def _model_id(self, run_id: int) -> int:
        run = self._reader.runs.get(run_id)
        return run.model.id if run else 0

    def _names_of(self, model_id: int) -> Names:
        if model_id not in self._of_model:
            self._of_model[model_id] = Names(Model(model_id, "unknown", "", ()))
        return self._of_model[model_id]

    def _around_ns(self) -> NDArray[np.int64]:
        """The spans of monotonic time in which all frames lie that may count."""
        labelled_ns = self.truths.labelled_ns()
        spans = [self._minutes.cut_ns]
        for run in self._reader.runs.values():
            of_run = self._reader.clock(run.id).monotonic_ns(labelled_ns)
            of_run = np.clip(of_run, run.started_ns, run.ended_ns)
            spans.append(of_run[of_run[:, 0] < of_run[:, 1]])
        return np.concatenate(spans)
