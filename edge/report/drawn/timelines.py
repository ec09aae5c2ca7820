"""Pictures with a time axis: latency, heat and clock; frame rate and what was not classified. Time is UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.backends import warning
from edge.report.drawn.drawing import COLOURS, Key, Picture, finite, key, line, log_ticks, series, stack, styled, svg
from edge.report.drawn.head import dropped_for, drops_in_words, temperature
from edge.report.drawn.timeaxis import Value, held_spans, steps, time_axis
from edge.report.figures import JournalFigures, Moment
from edge.report.words import NOT_KNOWN, count, ms, number, of, percent, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = ("invoke", "wait", "preprocess", "postprocess")
_BAND = 0.22
_HELD = 0.3
_FALLEN = 5
"""Place among the series of what the CPU answered in another backend's place."""


class Panel(NamedTuple):
    """A quantity over time, for the picture of several journals."""

    title: str
    value: Value
    height_px: int
    from_zero: bool


def latency(journal: JournalFigures, name: str) -> Optional[Picture]:
    """Age and stages over time, with temperature and clock below; None without any moment."""
    if not journal.moments:
        return None
    hot = any(moment.temperature_c for moment in journal.moments)
    clocked = any(moment.clock_mhz for moment in journal.moments)
    fallen = any(moment.fallback for moment in journal.moments)
    alone = fallen and not any(moment.stages for moment in journal.moments)
    stage_of, beside = _fallen if alone else _stage, fallen and not alone
    with styled():
        figure, panels = stack([150, 170, *[84] * hot, *[60] * clocked])
        rest = iter(panels)
        axes = next(rest)
        axes.set_title("Age of an answer, capture to result, in ms")
        _band(axes, journal.moments, stage_of("age", 0), stage_of("age", 1), 0)
        if beside:
            _band(axes, journal.moments, _fallen("age", 0), _fallen("age", 1), _FALLEN)
        _from_zero(axes)
        axes = next(rest)
        axes.set_title("Stages in ms, logarithmic")
        axes.set_yscale("log")
        for place, stage in enumerate(_PARTS, 1):
            _band(axes, journal.moments, stage_of(stage, 0), stage_of(stage, 1), place)
        if beside:
            _band(axes, journal.moments, _fallen("invoke", 0), _fallen("invoke", 1), _FALLEN)
        axes.margins(y=0.08)
        log_ticks(axes.yaxis, axes.get_ylim())
        if hot:
            _range(next(rest), "Temperature in °C: mean, and lowest to highest", journal.moments, "temperature_c", 1)
        if clocked:
            _range(next(rest), "Clock in MHz: mean, and lowest to highest", journal.moments, "clock_mhz", 5)
        for axes in panels:
            _shade(axes, journal.moments)
            time_axis(axes, [journal])
        words = _latency_in_words(journal)
        drawn = svg(figure, name, words)
    keys = [key(stage, place) for place, stage in enumerate(("age", *_PARTS))]
    if beside:
        keys.append(key("age and invoke where the CPU answered instead", _FALLEN))
    keys.append(Key("median to 90th percentile", "series-0", area=True))
    if any(moment.throttled for moment in journal.moments):
        keys.append(Key("the board was held back at some time in this span", "held", area=True))
    length_s = float(np.median([moment.to_utc_s - moment.from_utc_s for moment in journal.moments]))
    caption = (
        f"Lines are medians, bands reach up to the 90th percentile, of spans of {span(length_s)} each, "
        f"warm-up left out. A gap is a gap in the record, or a span with too few samples. {words}"
        f"{warning(journal.runs, 'All of this' if len({run.backend for run in journal.runs}) == 1 else 'Some of this')}"
    )
    return Picture("Latency, temperature and clock", drawn, caption, keys)


def rate(journal: JournalFigures, name: str) -> Optional[Picture]:
    """Frames classified in a second, and those that were not, by reason; None without any moment."""
    if not journal.moments:
        return None
    fallen = sum(moment.fallback for moment in journal.moments)
    reasons = [reason for reason, dropped in sorted(journal.drops.items(), key=lambda row: -row[1]) if dropped]
    with styled():
        figure, panels = stack([96, *[84] * bool(reasons), *[84] * bool(journal.unchanged)])
        panels[0].set_title("Frames classified in a second")
        panels[0].plot(*steps(journal.moments, lambda moment: moment.fps), **line(0))
        if fallen:
            times, rates = steps(journal.moments, _fallen_rate)
            panels[0].fill_between(times, 0, rates, color=series(_FALLEN)[0], alpha=_HELD, linewidth=0)
        _from_zero(panels[0])
        if reasons:
            panels[1].set_title("Frames not classified in a second, on top of each other")
            _stacked(panels[1], journal.moments, reasons)
            _from_zero(panels[1])
        if journal.unchanged:
            panels[-1].set_title("Frames in a second that the gate kept back, unchanged")
            panels[-1].plot(*steps(journal.moments, _unchanged), **line(0))
            _from_zero(panels[-1])
        for axes in panels:
            _shade(axes, journal.moments)
            time_axis(axes, [journal])
        dropped = sum(journal.drops.values())
        words = f"Classified {count(journal.frames, 'frame')}, " + (
            f"not classified {number(dropped)} ({percent(of(dropped, dropped + journal.frames))}): "
            f"{drops_in_words(journal.drops)}."
            if dropped
            else "none was left out."
        )
        if journal.unchanged:
            words += f" Kept back by the gate, unchanged: {number(journal.unchanged)}."
        if fallen:
            words += f" Of those classified, the CPU answered {number(fallen)} in another backend's place."
        drawn = svg(figure, name, words)
    keys = [key("classified", 0)]
    keys += [Key("of them by the CPU instead", f"series-{_FALLEN}", area=True)] * bool(fallen)
    keys += [Key(dropped_for(reason), f"series-{_colour(place)}", area=True) for place, reason in enumerate(reasons)]
    return Picture("Frame rate and frames not classified", drawn, words, keys if len(keys) > 1 else [])


def several(journals: Sequence[JournalFigures], name: str) -> Optional[Picture]:
    """The main quantities of several journals over time, a line each; None without any moment."""
    if not any(journal.moments for journal in journals):
        return None
    panels = [
        Panel("Age of an answer in ms: median", _stage("age", 0), 130, True),
        Panel("Age of an answer in ms: 90th percentile", _stage("age", 1), 110, True),
        Panel("Model alone (invoke) in ms: median", _stage("invoke", 0), 110, True),
        Panel("Temperature in °C: mean", lambda moment: moment.temperature_c and moment.temperature_c[1], 84, False),
        Panel("Clock in MHz: mean", lambda moment: moment.clock_mhz and moment.clock_mhz[1], 60, False),
        Panel("Frames classified in a second", lambda moment: moment.fps, 84, True),
    ]
    if any(moment.fallback for journal in journals for moment in journal.moments):
        panels.append(Panel("Answered by the CPU in another backend's place, % of frames", _fallen_share, 84, True))
    known = [each for each in panels if any(each.value(moment) is not None for j in journals for moment in j.moments)]
    held = any(moment.throttled for journal in journals for moment in journal.moments)
    with styled():
        figure, drawn_on = stack([*(each.height_px for each in known), *[10 + 9 * len(journals)] * held])
        for axes, panel in zip(drawn_on, known):
            axes.set_title(panel.title)
            for place, journal in enumerate(journals):
                axes.plot(*steps(journal.moments, panel.value), **line(place, 1.2))
            if panel.from_zero:
                _from_zero(axes)
        if held:
            _held_rows(drawn_on[-1], journals)
        for axes in drawn_on:
            time_axis(axes, journals)
        words = " ".join(f"{journal.name}: {_latency_in_words(journal)}" for journal in journals)
        drawn = svg(figure, name, words)
    caption = (
        "Of spans of time, warm-up and what the CPU answered in another backend's place left out. A gap is a gap in "
        "the record, or a span with too few samples."
    ) + "".join(warning(journal.runs, journal.name) for journal in journals)
    keys = [key(journal.name, place) for place, journal in enumerate(journals)]
    return Picture("Side by side over time", drawn, caption, keys)


def _stage(stage: str, place: int) -> Value:
    """Of a moment: the stage's p50 (0), p90 (1) or p99 (2) in ms."""
    return lambda moment: moment.stages[stage][place] if stage in moment.stages else None


def _fallen(stage: str, place: int) -> Value:
    """The same of what the CPU answered in place of the backend that the run was for."""
    return lambda moment: moment.fallback_stages[stage][place] if stage in moment.fallback_stages else None


def _fallen_rate(moment: Moment) -> Optional[float]:
    """Frames in a second that the CPU answered in place of another backend."""
    share = of(moment.fallback, moment.frames)
    return None if share is None else min(1.0, share) * moment.fps


def _fallen_share(moment: Moment) -> Optional[float]:
    """The same in % of the frames."""
    share = of(moment.fallback, moment.frames)
    return None if share is None else 100 * min(1.0, share)


def _band(axes: Axes, moments: Sequence[Moment], low: Value, high: Value, place: int) -> None:
    """A line at the low value, and an area from it to the high one."""
    times, lows = steps(moments, low)
    _, highs = steps(moments, high)
    colour, _ = series(place)
    axes.fill_between(times, lows, highs, color=colour, alpha=_BAND, linewidth=0)
    axes.plot(times, lows, **line(place))


def _range(axes: Axes, title: str, moments: Sequence[Moment], field: str, place: int) -> None:
    """A line at the mean of a field with (min, mean, max), and an area from min to max."""

    def part(which: int) -> Value:
        return lambda moment: None if getattr(moment, field) is None else getattr(moment, field)[which]

    axes.set_title(title)
    times, lows = steps(moments, part(0))
    highs, means = steps(moments, part(2))[1], steps(moments, part(1))[1]
    colour, _ = series(place)
    axes.fill_between(times, lows, highs, color=colour, alpha=_BAND, linewidth=0)
    axes.plot(times, means, color=colour, linewidth=1.2)


def _stacked(axes: Axes, moments: Sequence[Moment], reasons: Sequence[str]) -> None:
    base: Optional[NDArray[np.float64]] = None
    for place, reason in enumerate(reasons):
        times, values = steps(moments, _dropped(reason))
        above = values if base is None else base + values
        below = np.zeros_like(values) if base is None else base
        colour, _ = series(_colour(place))
        axes.fill_between(times, below, above, color=colour, alpha=0.75, linewidth=0)
        base = above


def _dropped(reason: str) -> Value:
    """Of a moment: frames in a second that were not classified for this reason."""
    return lambda moment: of(moment.drops.get(reason, 0), moment.to_utc_s - moment.from_utc_s)


def _unchanged(moment: Moment) -> Optional[float]:
    """Frames in a second that the gate kept back."""
    return of(moment.unchanged, moment.to_utc_s - moment.from_utc_s)


def _colour(place: int) -> int:
    """Reasons have other colours than what was classified."""
    return 1 + place % 5


def _shade(axes: Axes, moments: Sequence[Moment]) -> None:
    for from_day, to_day in held_spans(moments):
        axes.axvspan(from_day, to_day, color=COLOURS["held"], alpha=_HELD, linewidth=0, zorder=0)


def _held_rows(axes: Axes, journals: Sequence[JournalFigures]) -> None:
    axes.set_title("Held back (throttled, under-voltage or capped)")
    axes.set_ylim(len(journals), 0)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    for place, journal in enumerate(journals):
        spans = [(from_day, to_day - from_day) for from_day, to_day in held_spans(journal.moments)]
        axes.broken_barh(spans, (place + 0.15, 0.7), color=series(place)[0], linewidth=0)


def _from_zero(axes: Axes) -> None:
    """The axis from 0 to a little above the highest value."""
    highest = finite(np.concatenate([np.asarray(each.get_ydata(), np.float64) for each in axes.lines] or [np.zeros(1)]))
    tops = [float(highest.max())] if highest.size else []
    tops += [float(area.get_datalim(axes.transData).ymax) for area in axes.collections]
    top = max((value for value in tops if np.isfinite(value)), default=0.0)
    axes.set_ylim(0, 1.08 * top or 1)


def _latency_in_words(journal: JournalFigures) -> str:
    ages_ms = _medians(moment.stages for moment in journal.moments)
    fallen_ms = _medians(moment.fallback_stages for moment in journal.moments)
    parts = [_between("The median age of a span", ages_ms)] if ages_ms else [] if fallen_ms else ["Age not known"]
    if fallen_ms:
        what = "that of the CPU's answers" if parts else "The median age of a span, answered by the CPU instead,"
        parts.append(_between(what, fallen_ms))
    heat = temperature(journal)
    parts.append(f"temperature between {heat[0]:.0f} and {heat[2]:.0f} °C" if heat else f"temperature {NOT_KNOWN}")
    held, told_of = (
        sum(bool(m.throttled) for m in journal.moments),
        sum(m.throttled is not None for m in journal.moments),
    )
    parts.append(f"held back in {number(held)} of {count(told_of, 'span')}" if told_of else f"throttling {NOT_KNOWN}")
    return "; ".join(parts) + "."


def _medians(stages: Iterable[Mapping[str, tuple[Optional[float], ...]]]) -> list[float]:
    """The median ages in ms that are known."""
    return [told[0] for each in stages if (told := each.get("age")) and told[0] is not None]


def _between(what: str, values_ms: Sequence[float]) -> str:
    return f"{what} lay between {ms(min(values_ms))} and {ms(max(values_ms))} ms"
