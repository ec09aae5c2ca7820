"""The time line of a report: windows gathered into spans that a picture can show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from edge.device import throttled_now
from edge.histogram import Histogram
from edge.journal.packing import FALLBACK, STATES, WARM_UP, Histograms
from edge.report.figures import Moment
from edge.report.reading import Reader, SparseHistograms
from edge.report.rows import Range, Window
from edge.stats import STAGES, in_ms

_NS = 10**9
_FALLBACK = STATES[FALLBACK]
_NOT_ITS_OWN = (STATES[WARM_UP], _FALLBACK)
_MINUTE_S, _DAY_S = 60, 86_400
_SPANS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE_S * minutes for minutes in (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 720)),
    *(_DAY_S << doublings for doublings in range(15)),
)
_SLIVER = 0.25
_MOST_RUNS = 4
"""With more runs than a part of so many of the spans, a span may hold several runs."""


class Moments:
    """Gathers windows into spans, and keeps their histograms."""

    def __init__(self, reader: Reader, times_ns: NDArray[np.int64], bins: int) -> None:
        """Cut the time line.

        Args:
            reader: for its clocks.
            times_ns: its `window_times`.
            bins: the most spans.
        """
        run_id, began_ns, ended_ns = times_ns.T
        # By the clock at its end: where the machine slept within a window, it is as long as it worked.
        self._to_ns = reader.utc_ns(run_id, ended_ns)
        self._from_ns = self._to_ns - (ended_ns - began_ns)
        backends = {run.id: run.backend for run in reader.runs.values()}
        self._backends = [backends.get(each, "") for each in run_id.tolist()]
        self._places = _cut(run_id, self._backends, self._from_ns, self._to_ns, bins)
        self._spans: dict[int, _Span] = {}

    def add(self, place: int, window: Window, histograms: SparseHistograms) -> None:
        """Take in a window; `place` is its row in `window_times`."""
        span = self._spans.setdefault(self._places[place], _Span(self._backends[place]))
        span.add(window, histograms, int(self._from_ns[place]), int(self._to_ns[place]))

    def histograms(self) -> dict[str, Histograms]:
        """Those of all windows merged, by the backend that their runs are for, state and stage."""
        merged: dict[str, Histograms] = {}
        for span in self._spans.values():
            merge(merged.setdefault(span.backend, {}), span.histograms)
        return merged

    def told(self) -> list[Moment]:
        """The spans, the earliest first."""
        return sorted((span.told() for span in self._spans.values()), key=lambda moment: moment.from_utc_s)


def merge(into: Histograms, histograms: Histograms) -> None:
    """Take in all samples, state by state and stage by stage."""
    for state, stages in histograms.items():
        mine = into.setdefault(state, {})
        for stage, histogram in stages.items():
            if stage not in mine:
                mine[stage] = Histogram()
            mine[stage].merge(histogram)


class _Span:
    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.histograms: Histograms = {}
        self._from_ns: Optional[int] = None
        self._to_ns = 0
        self._long_ns = 0
        self._frames = self._unchanged = 0
        self._drops: Counter[str] = Counter()
        self._throttled: Optional[int] = None
        self._temperature_c, self._clock_mhz = _Reading(), _Reading()
        self._load, self._memory_bytes, self._resident_bytes, self._coral_c = (_Reading() for _ in range(4))

    def add(self, window: Window, histograms: SparseHistograms, from_ns: int, to_ns: int) -> None:
        for state, stages in histograms.items():
            mine = self.histograms.setdefault(state, {})
            for stage, sparse in stages.items():
                if stage not in mine:
                    mine[stage] = Histogram()
                mine[stage].take(sparse)
        self._from_ns = from_ns if self._from_ns is None else min(from_ns, self._from_ns)
        self._to_ns = max(to_ns, self._to_ns)
        long_ns = max(1, to_ns - from_ns)
        self._long_ns += long_ns
        self._frames += window.frames
        self._unchanged += window.unchanged
        self._drops.update(window.drops)
        if window.throttled is not None:
            self._throttled = (self._throttled or 0) | window.throttled
        self._temperature_c.add(window.temperature_c, long_ns)
        self._clock_mhz.add(window.clock_mhz, long_ns)
        self._load.add((window.load_mean,) * 3, long_ns)
        self._memory_bytes.add((window.memory_available_min_bytes,) * 3, long_ns)
        self._resident_bytes.add((window.resident_max_bytes,) * 3, long_ns)
        self._coral_c.add((window.coral_max_c,) * 3, long_ns)

    def told(self) -> Moment:
        load, memory, resident, coral = (
            each.told() or (None, None, None)
            for each in (self._load, self._memory_bytes, self._resident_bytes, self._coral_c)
        )
        return Moment(
            from_utc_s=round((self._from_ns or 0) / _NS, 3),
            to_utc_s=round(self._to_ns / _NS, 3),
            frames=self._frames,
            fps=round(self._frames * _NS / self._long_ns, 3),
            drops=dict(self._drops),
            stages=self._stages([state for state in self.histograms if state not in _NOT_ITS_OWN]),
            throttled=None if self._throttled is None else list(throttled_now(self._throttled)),
            temperature_c=self._temperature_c.told(),
            clock_mhz=self._clock_mhz.told(),
            memory_available_min_bytes=None if memory[0] is None else int(memory[0]),
            resident_max_bytes=None if resident[2] is None else int(resident[2]),
            load_mean=load[1],
            coral_max_c=coral[2],
            unchanged=self._unchanged,
            fallback=self.histograms.get(_FALLBACK, {}).get("age", Histogram()).samples,
            fallback_stages=self._stages([_FALLBACK]),
        )

    def _stages(self, states: Sequence[str]) -> dict[str, tuple[Optional[float], Optional[float], Optional[float]]]:
        told = {}
        for stage in STAGES:
            merged = Histogram()
            for state in states:
                if stage in self.histograms.get(state, {}):
                    merged.merge(self.histograms[state][stage])
            if merged.samples:
                p50, p90, p99 = (in_ms(merged.percentile(fraction)) for fraction in (0.5, 0.9, 0.99))
                told[stage] = (p50, p90, p99)
        return told


class _Reading:
    """Least, mean by time, and most of a sensor."""

    def __init__(self) -> None:
        self._least: list[float] = []
        self._most: list[float] = []
        self._sum = 0.0
        self._weight = 0

    def add(self, told: Range, weight: int) -> None:
        least, mean, most = told
        if least is None or mean is None or most is None:
            return
        self._least.append(least)
        self._most.append(most)
        self._sum += mean * weight
        self._weight += weight

    def told(self) -> Optional[tuple[float, float, float]]:
        if not self._weight:
            return None
        return min(self._least), round(self._sum / self._weight, 3), max(self._most)


def _cut(
    run_id: NDArray[np.int64],
    backends: Sequence[str],
    from_ns: NDArray[np.int64],
    to_ns: NDArray[np.int64],
    bins: int,
) -> list[int]:
    """A number for each window: of the span that it belongs to.

    All spans are equally long and there are at most `bins` of them, unless runs for several backends, which share no
    span, leave more.
    """
    if not len(run_id):
        return []
    apart = len(np.unique(run_id)) <= bins // _MOST_RUNS
    backend = np.unique(np.array(backends), return_inverse=True)[1].astype(np.int64)
    middle_ns = (from_ns - from_ns.min()) + (to_ns - from_ns) // 2
    places: NDArray[np.intp] = np.zeros(len(run_id), np.intp)
    for span_s in _SPANS_S:
        keys = np.stack([run_id if apart else backend, middle_ns // (span_s * _NS)])
        found, places = np.unique(keys, axis=1, return_inverse=True)
        if found.shape[1] <= bins:
            break
    numbers: list[int] = places.ravel().tolist()
    for window in np.flatnonzero(to_ns - from_ns < np.median(to_ns - from_ns) * _SLIVER).tolist():
        if window and run_id[window] == run_id[window - 1]:  # the rest of a minute, in which a rate means little
            numbers[window] = numbers[window - 1]
    return numbers
