"""Time on pictures: values as level pieces with gaps, spans that are shaded, and an axis that reads in UTC."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.figures import JournalFigures, Moment
from edge.report.words import utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = Callable[[Moment], Optional[float]]

DAY_S = 86_400.0
_SHORTEST_S = 10.0
_MOST_TICKS = 9
_MINUTE_S, _HOUR_S = 60, 3_600
_STEPS_S = (
    *(1, 2, 5, 10, 20, 30),
    *(_MINUTE_S * step for step in (1, 2, 5, 10, 20, 30)),
    *(_HOUR_S * step for step in (1, 2, 3, 6, 12)),
    *(int(DAY_S) * step for step in (1, 2, 4, 7, 14, 28, 91, 182, 365)),
)
_GAP = 0.05
"""Of a moment's length; less is the time between two runs."""


def steps(moments: Sequence[Moment], value: Value) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Days since 1970 and values, as level pieces that are as long as their moments, with gaps between as NaN."""
    times_s, values = [], []
    for place, moment in enumerate(moments):
        told = value(moment)
        level = math.nan if told is None else float(told)
        times_s += [moment.from_utc_s, moment.to_utc_s]
        values += [level, level]
        if place + 1 < len(moments) and not _follow(moment.to_utc_s, moments[place + 1]):
            times_s.append(moment.to_utc_s)
            values.append(math.nan)
    return np.array(times_s, np.float64) / DAY_S, np.array(values, np.float64)


def held_spans(moments: Sequence[Moment]) -> list[tuple[float, float]]:
    """Days since 1970 between which the board was held back; spans that follow each other are one."""
    spans_s: list[tuple[float, float]] = []
    for moment in moments:
        if not moment.throttled:
            continue
        if spans_s and _follow(spans_s[-1][1], moment):
            spans_s[-1] = (spans_s[-1][0], moment.to_utc_s)
        else:
            spans_s.append((moment.from_utc_s, moment.to_utc_s))
    return [(from_s / DAY_S, to_s / DAY_S) for from_s, to_s in spans_s]


def _follow(ended_s: float, moment: Moment) -> bool:
    return moment.from_utc_s - ended_s <= _GAP * (moment.to_utc_s - moment.from_utc_s)


def limits_s(journals: Sequence[JournalFigures]) -> tuple[float, float]:
    """The first and the last UTC second of the axis, at least some seconds apart."""
    times_s: list[float] = []
    for journal in journals:
        times_s += [time_s for time_s in (journal.from_utc_s, journal.to_utc_s) if time_s is not None]
        times_s += [event.utc_s for event in journal.events]
        for run in journal.runs:
            times_s += [run.from_utc_s, run.to_utc_s]
        for moment in journal.moments:
            times_s += [moment.from_utc_s, moment.to_utc_s]
    from_s, to_s = min(times_s), max(times_s)
    missing_s = max(0.0, _SHORTEST_S - (to_s - from_s))
    return from_s - missing_s / 2, to_s + missing_s / 2


def time_axis(axes: Axes, journals: Sequence[JournalFigures]) -> None:
    """Make the axis below one of UTC that holds all of the journals."""
    from_s, to_s = limits_s(journals)
    margin_s = 0.004 * (to_s - from_s)
    axes.set_xlim((from_s - margin_s) / DAY_S, (to_s + margin_s) / DAY_S)
    marks = ticks(from_s, to_s)
    axes.set_xticks([second / DAY_S for second, _ in marks], [text for _, text in marks])
    names = axes.get_xticklabels()
    if names and marks[-1][0] > to_s - 0.03 * (to_s - from_s):
        # In the middle below its tick, it would reach over the picture's edge.
        names[-1].set_horizontalalignment("right")


def ticks(from_s: float, to_s: float) -> list[tuple[float, str]]:
    """UTC seconds at round times, at most ten, with their names; the date is below where it is new."""
    step_s = next((step for step in _STEPS_S if (to_s - from_s) / step <= _MOST_TICKS), None)
    if step_s is None:
        step_s = _STEPS_S[-1] * math.ceil((to_s - from_s) / _STEPS_S[-1] / _MOST_TICKS)
    # Steps of several days begin on the first day, shorter ones at midnight.
    first_s = math.ceil(from_s / min(step_s, DAY_S)) * min(step_s, DAY_S)
    named = []
    before: Optional[datetime] = None
    for place in range(int((to_s - first_s) // step_s) + 1):
        second = first_s + place * step_s
        moment = datetime(1970, 1, 1) + timedelta(seconds=second)
        named.append((second, _name(moment, before, step_s)))
        before = moment
    return named


def _name(moment: datetime, before: Optional[datetime], step_s: float) -> str:
    day = f"{moment.day} {moment:%b}"
    if step_s >= DAY_S:
        return day if before and before.year == moment.year else f"{day}\n{moment.year}"
    time = utc((moment - datetime(1970, 1, 1)).total_seconds(), to_seconds=True)[11:]
    time = time if step_s < _MINUTE_S else time[:5]
    return time if before and before.date() == moment.date() else f"{time}\n{day} {moment.year}"
