"""What a comparison needs of one side: a whole journal or one run of it, gathered into stretches of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.errors import JournalError
from edge.histogram import BUCKETS, Histogram, Sparse, middles_ns
from edge.journal.packing import STATES, STEADY
from edge.report.accuracy.tally import Tally
from edge.report.comparison.correct import Correct, correct_by_source
from edge.report.comparison.resampling import Blocks, blocks_of
from edge.report.reading import Reader
from edge.report.rows import Label, Picture, Run, Window
from edge.report.stretches import FEWEST_BLOCKS, MOST_BLOCKS, blocks_for
from edge.stats import STAGES

LAST = "last"
WINDOWS, KEPT_FRAMES = "windows", "kept frames"
_MOST_FRAME_BLOCKS = 20
_MOST_HELD = 2 * MOST_BLOCKS
_MOST_NAMED = 20
_NS_PER_S = 1_000_000_000
_FRAME_COLUMNS = ("monotonic_ns", "wait_ns", "preprocess_ns", "invoke_ns", "postprocess_ns", "stands_for", "state")

_Counts = NDArray[np.int64]


class Place(NamedTuple):
    """Where a side is recorded."""

    journal: Path
    run: Optional[str]
    """As the person named it; None: all runs."""


class Side(NamedTuple):
    """One side of a comparison."""

    runs: tuple[Run, ...]
    samples: dict[str, int]
    """State -> frames in the windows."""
    seconds: float
    """Time that is recorded."""
    frames: int
    governors: tuple[str, ...]
    temperature_c: Optional[float]
    """Mean."""
    basis: str
    """What `blocks` are made of: `WINDOWS` or `KEPT_FRAMES`."""
    used: int
    """Steady samples in `blocks`: frames, not what they stand for."""
    blocks: dict[str, Optional[Blocks]]
    """Stage -> its steady samples; None where there are none."""
    correct: dict[str, Correct]
    """Source of truth -> share of right first predictions."""
    damaged: int
    """Windows of which a part could not be read."""


def place_of(text: str) -> Place:
    """The journal and run that `JOURNAL` or `JOURNAL:RUN` names; a file of that very name comes first."""
    journal, colon, run = text.rpartition(":")
    if not colon or not journal or Path(text).exists():
        return Place(Path(text), None)
    return Place(Path(journal), run)


def chosen_runs(reader: Reader, run: Optional[str]) -> tuple[Run, ...]:
    """The runs that a person means: 1, 2, …, `last`, or the beginning of a run's id; all for None.

    Raises:
        JournalError: there is none, or several begin so.
    """
    runs = [reader.runs[key] for key in sorted(reader.runs)]
    if not runs:
        raise JournalError(f"{reader.path} holds no run: give a journal that `edge run` has written to.")
    if run is None:
        return tuple(runs)
    if run == LAST:
        return (runs[-1],)
    # Not isdigit: that also holds for digits of which int() makes no number.
    if run.isascii() and run.isdecimal() and 1 <= int(run) <= len(runs):
        return (runs[int(run) - 1],)
    found = [each for each in runs if run not in ("", "0") and each.run.startswith(run)]
    exact = [each for each in found if each.run == run]
    if len(exact or found) == 1:
        return tuple(exact or found)
    what = f"{len(found)} runs that begin with" if found else "no run"
    raise JournalError(f"{reader.path} has {what} {run!r}: give {_choices(found or runs, runs)}, or {LAST}.")


def read_side(place: Place) -> Side:
    """Read one side.

    Raises:
        JournalError: the journal cannot be read, or has no such run.
    """
    with _Part(place) as reader:
        return _gathered(reader)


class _Part(Reader):
    """A journal of which only some runs are read."""

    def __init__(self, place: Place) -> None:
        """Open a journal as if it held no other runs."""
        super().__init__(place.journal)
        try:
            self.runs = {run.id: run for run in chosen_runs(self, place.run)}
        except JournalError:
            self.close()
            raise

    def window_times(self) -> NDArray[np.int64]:
        times_ns = super().window_times()
        return times_ns[np.isin(times_ns[:, 0], list(self.runs))]

    def windows(self) -> Iterator[Window]:
        return (window for window in super().windows() if window.run_id in self.runs)

    def frames(
        self, columns: Sequence[str], around_ns: Optional[NDArray[np.int64]] = None, run_id: Optional[int] = None
    ) -> Iterator[tuple[Any, ...]]:
        for each in self.runs if run_id is None else [run_id]:
            yield from super().frames(columns, around_ns, each)

    def labels(self) -> list[Label]:
        return [label for label in super().labels() if label.run_id is None or label.run_id in self.runs]

    def pictures(self) -> Iterator[Picture]:
        return (picture for picture in super().pictures() if picture.run_id in self.runs)


def _choices(shown: Sequence[Run], runs: Sequence[Run]) -> str:
    named = [f"{runs.index(each) + 1} ({each.run})" for each in shown[-_MOST_NAMED:]]
    more = len(shown) - len(named)
    return (f"one of the {more} before or " if more else "") + ", ".join(named)


def _gathered(reader: Reader) -> Side:
    runs = tuple(reader.runs.values())
    samples: Counter[str] = Counter(dict.fromkeys(STATES, 0))
    steady = _Windows()
    seconds, frames = 0.0, 0
    governors: Counter[str] = Counter()
    warmth = np.zeros(2)
    tally = Tally(reader, reader.window_times())
    for place, (window, histograms) in enumerate(reader.windows_with_histograms()):
        tally.add_window(place, window)
        seconds += _seconds(window)
        frames += window.frames
        if window.governor is not None:
            governors[window.governor] += 1
        if window.temperature_c[1] is not None:
            warmth += (window.temperature_c[1], 1)
        for state, stages in histograms.items():
            age = stages.get("age")
            samples[state] += age.samples if age else 0
            if state == STATES[STEADY] and age and age.samples:
                steady.add(stages)
    tally.add_frames()
    tally.add_pictures()
    basis, used, counts = WINDOWS, samples[STATES[STEADY]], steady.stretches()
    if len(counts) < FEWEST_BLOCKS:
        of_frames, kept = _frame_counts(reader, runs)
        if len(of_frames) >= FEWEST_BLOCKS or not len(counts):
            basis, used, counts = KEPT_FRAMES, kept, of_frames
    return Side(
        runs=runs,
        samples=dict(samples),
        seconds=seconds,
        frames=frames,
        governors=tuple(sorted(governors)),
        temperature_c=float(warmth[0] / warmth[1]) if warmth[1] else None,
        basis=basis,
        used=used,
        blocks={stage: blocks_of(counts[:, place], middles_ns()) for place, stage in enumerate(STAGES)},
        correct=correct_by_source(tally),
        damaged=reader.damaged["windows"],
    )


def _seconds(window: Window) -> float:
    return max(0, window.ended_ns - window.began_ns) / _NS_PER_S


class _Windows:
    """Windows in time order, gathered into stretches of about equally many."""

    def __init__(self) -> None:
        self._counts = np.zeros((_MOST_HELD, len(STAGES), BUCKETS), np.int64)
        self._windows = 0
        self._in_each = 1

    def add(self, stages: dict[str, Sparse]) -> None:
        """Take in the next window."""
        if self._windows == _MOST_HELD * self._in_each:
            half = _MOST_HELD // 2
            self._counts[:half] = self._counts[::2] + self._counts[1::2]
            self._counts[half:] = 0
            self._in_each *= 2
        held = self._counts[self._windows // self._in_each]
        for place, stage in enumerate(STAGES):
            if stage in stages:
                held[place, stages[stage].buckets] += stages[stage].counts
        self._windows += 1

    def stretches(self) -> _Counts:
        """Samples, shape (`blocks_for` the windows, stages, buckets)."""
        if not self._windows:
            return self._counts[:0]
        held = self._counts[: -(-self._windows // self._in_each)]
        return np.array([part.sum(axis=0) for part in np.array_split(held, blocks_for(self._windows))])


def _frame_counts(reader: Reader, runs: Sequence[Run]) -> tuple[_Counts, int]:
    """The steady frames that have a row, in stretches of equal time, each counted as often as it stands for others.

    Returns:
        Shape (stretches, stages, buckets), no stretch empty; and how many frames they are.

    Raises:
        JournalError: a row is damaged.
    """
    try:
        rows = _steady_frames(reader, runs)
        stretches = [_stretch(each) for each in _cut(rows)]
    except (ValueError, TypeError, OverflowError):
        raise JournalError(
            f"A row of the frames in {reader.path} is damaged: a duration is no number of ns; compare other runs."
        ) from None
    return np.array(stretches, np.int64).reshape(-1, len(STAGES), BUCKETS), len(rows)


def _steady_frames(reader: Reader, runs: Sequence[Run]) -> NDArray[np.int64]:
    """Their `_FRAME_COLUMNS`, in time order, with times from the first one; there is no time between two runs."""
    chunks: list[Any] = [np.zeros((0, len(_FRAME_COLUMNS)), np.int64)]
    end_ns = 0
    for run in runs:
        of_run: list[Any] = [chunks[0]]
        of_run += [np.array(columns, np.int64).T for columns in reader.frames(_FRAME_COLUMNS, run_id=run.id)]
        rows = np.concatenate(of_run)
        rows = rows[rows[:, _FRAME_COLUMNS.index("state")] == STEADY]
        if len(rows):
            rows[:, 0] += end_ns - rows[:, 0].min()
            end_ns = int(rows[:, 0].max()) + 1
            chunks.append(rows[np.argsort(rows[:, 0], kind="stable")])
    steady: NDArray[np.int64] = np.concatenate(chunks)
    return steady


def _cut(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows in stretches of equal time; empty ones are left out."""
    if not len(rows):
        return []
    places = rows[:, 0] * _MOST_FRAME_BLOCKS // (int(rows[-1, 0]) + 1)
    return np.split(rows, np.flatnonzero(np.diff(places)) + 1)


def _stretch(rows: NDArray[np.int64]) -> _Counts:
    counts = np.zeros((len(STAGES), BUCKETS), np.int64)
    stands_for = rows[:, _FRAME_COLUMNS.index("stands_for")]
    for weight in np.unique(stands_for):
        stages_ns = rows[stands_for == weight, 1:5].T
        for column, stage_ns in enumerate((*stages_ns, stages_ns.sum(axis=0))):
            histogram = Histogram()
            histogram.add(stage_ns)
            counts[column] += weight * histogram.counts
    return counts
