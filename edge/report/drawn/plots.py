"""The pictures of a page: what each journal, and all of them together, look like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Optional

from edge.report.backends import backend_of, main_state, state_of
from edge.report.drawn import timelines
from edge.report.drawn.distributions import Curve, distribution
from edge.report.drawn.drawing import COLOURS, Picture, key, series, stack, styled, svg
from edge.report.drawn.head import title
from edge.report.drawn.occurrences import happened
from edge.report.figures import Accuracy, JournalFigures, Report, Share
from edge.report.words import count, interval, looked_at, number, percent, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISTRIBUTIONS = {"age": "Age of an answer", "invoke": "Model alone (invoke)"}
_STATES = {"steady": 0, "throttled": 1, "fallback": 5, "warm-up": 5}
_COUNTED_DAYS = 62
_UPRIGHT_DAYS = 14
_FEWEST_DAYS = 7
_DAYS_PX = 150
_ROW_PX = 19


def of_one(journal: JournalFigures, name: str) -> list[Picture]:
    """All pictures of one journal; those without any figure are left out.

    Args:
        journal: whose figures are drawn.
        name: distinct on the page, for the ids in the pictures.
    """
    drawn = [timelines.latency(journal, f"{name}-latency")]
    # Warm-up is a few frames: only where there is nothing else.
    states = [state for state in journal.latency if state_of(state) != "warm-up"] or list(journal.latency)
    states.sort(key=lambda state: list(_STATES).index(state_of(state)))
    # Of several backends, each curve has a colour of its own.
    places = _STATES if all(state in _STATES for state in states) else {name: n for n, name in enumerate(states)}
    for stage, of_what in DISTRIBUTIONS.items():
        curves = [
            Curve(_called(state), journal.latency[state][stage], places[state])
            for state in states
            if stage in journal.latency[state]
        ]
        drawn.append(distribution(of_what, curves, f"{name}-{stage}"))
    drawn.append(timelines.rate(journal, f"{name}-rate"))
    drawn.append(by_day([(title(each, journal), each) for each in journal.accuracy], f"{name}-days"))
    drawn.append(happened([journal], f"{name}-events"))
    return [picture for picture in drawn if picture is not None]


def of_all(report: Report) -> list[Picture]:
    """The pictures that several journals share, a colour and a kind of line for each."""
    journals = report.journals
    drawn = [timelines.several(journals, "all-time")]
    for stage, of_what in DISTRIBUTIONS.items():
        curves = [
            Curve(_journal_called(journal, state), journal.latency[state][stage], place)
            for place, journal in enumerate(journals)
            if (state := main_state(journal.latency, stage)) and state_of(state) == "steady"
        ]
        drawn.append(distribution(of_what, curves, f"all-{stage}", report.latency.get("steady", {}).get(stage)))
    drawn.append(accuracies(journals, "all-accuracy"))
    first = [(journal.name, journal.accuracy[0]) for journal in journals if journal.accuracy]
    if len(first) == len(journals):
        drawn.append(by_day(first, "all-days"))
    drawn.append(happened(journals, "all-events"))
    return [picture for picture in drawn if picture is not None]


def _called(state: str) -> str:
    return "the CPU instead" if state == "fallback" else state


def _journal_called(journal: JournalFigures, state: str) -> str:
    backend = backend_of(state)
    return f"{journal.name} on {backend}" if backend else journal.name


def by_day(accuracy: Sequence[tuple[str, Accuracy]], name: str) -> Optional[Picture]:
    """Top-1 accuracy of each UTC date with its interval, and below the frames that it rests on; None without any day.

    Args:
        accuracy: named; each is drawn beside the others.
        name: for ids.
    """
    accuracy = [(called, each) for called, each in accuracy if any(share.counted for share in each.days.values())]
    if not accuracy:
        return None
    days = sorted({date.fromisoformat(day) for _, each in accuracy for day in each.days})
    with styled():
        figure, (above, below) = stack([_DAYS_PX, 56])
        above.set_title("Right in % of the frames of a day (UTC), with 95 % interval")
        below.set_title("Frames looked at")
        width = 0.8 / len(accuracy)
        for place, (_, each) in enumerate(accuracy):
            shift = (place + 0.5) * width - 0.4
            _days(above, below, each.days, shift, width, place, len(days) * len(accuracy))
        above.set_ylim(max(0.0, above.get_ylim()[0]), min(101.5, above.get_ylim()[1]))
        for axes in (above, below):
            # Few days do not fill the width: their bars would look like more than they are.
            spare = max(0.0, _FEWEST_DAYS - (days[-1] - days[0]).days) / 2
            axes.set_xlim(days[0].toordinal() - 0.6 - spare, days[-1].toordinal() + 0.6 + spare)
            axes.set_xticks(*_day_ticks(days[0], days[-1]))
            axes.grid(axis="x", visible=False)
        below.set_yticks([])
        below.set_ylim(0, below.get_ylim()[1] * 1.45)
        words = "; ".join(f"{called}: {_share_in_words(each.top1)}" for called, each in accuracy)
        drawn = svg(figure, name, f"{words}, over {count(len(days), 'day')}.")
    caption = "Whiskers are Wilson intervals: where they are long, few frames were looked at. In all: " + words + "."
    keys = [key(called, place) for place, (called, _) in enumerate(accuracy)]
    return Picture("Accuracy by day", drawn, caption, keys)


def accuracies(journals: Sequence[JournalFigures], name: str) -> Optional[Picture]:
    """Top-1 accuracy of several journals below each other, with intervals; None where none has a truth."""
    rows = [
        (place, journal, each)
        for place, journal in enumerate(journals)
        for each in journal.accuracy
        if each.top1.value is not None
    ]
    if not rows:
        return None
    with styled():
        figure, (axes,) = stack([2 * _ROW_PX * len(rows)], bottom_px=22)
        axes.set_title("Right in % of the frames, with 95 % interval")
        axes.set_ylim(2 * len(rows), 0)
        axes.set_yticks([])
        axes.grid(axis="y", visible=False)
        for row, (place, journal, each) in enumerate(rows):
            _point(axes, each.top1, 2 * row + 1.45, place)
            called = short(f"{journal.name}: {title(each, journal)}", 100)
            axes.text(0, 2 * row + 0.1, called, transform=axes.get_yaxis_transform(), va="top", color=COLOURS["muted"])
        words = "; ".join(f"{j.name}, {title(each, j)}: {_share_in_words(each.top1)}" for _, j, each in rows)
        drawn = svg(figure, name, f"{words}.")
    caption = "Each source of truth for itself. Where intervals overlap, `edge compare` tells more."
    return Picture("Accuracy", drawn, caption, [])


def _point(axes: Axes, share: Share, height: float, place: int) -> None:
    if share.value is None or share.low is None or share.high is None:
        return
    reach = [[100 * (share.value - share.low)], [100 * (share.high - share.value)]]
    axes.errorbar([100 * share.value], [height], xerr=reach, fmt="o", ms=5, capsize=3, color=series(place)[0], lw=1.5)


def _days(
    above: Axes, below: Axes, days: Mapping[str, Share], shift: float, width: float, place: int, columns: int
) -> None:
    """Points with whiskers above, and the bars and numbers of what they rest on below."""
    known = [
        (date.fromisoformat(day).toordinal() + shift, share, share.value, share.low, share.high)
        for day, share in sorted(days.items())
    ]
    rows = [
        (where, 100 * value, 100 * (value - low), 100 * (high - value))
        for where, _, value, low, high in known
        if value is not None and low is not None and high is not None
    ]
    colour, _ = series(place)
    if rows:
        places, values, down, up = (list(column) for column in zip(*rows))
        reach = [[max(0.0, each) for each in down], [max(0.0, each) for each in up]]
        marker = "osD^v"[place % 5]
        above.errorbar(places, values, yerr=reach, fmt=marker, ms=4, capsize=2, lw=1.2, color=colour)
    below.bar([row[0] for row in known], [row[1].counted for row in known], width * 0.85, color=colour, alpha=0.65)
    if columns > _COUNTED_DAYS:
        return
    for where, share, *_ in known:
        below.annotate(
            _compact(share.counted),
            (where, share.counted),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            rotation=0 if columns <= _UPRIGHT_DAYS else 90,
            color=COLOURS["muted"],
        )


def _day_ticks(first: date, last: date) -> tuple[list[int], list[str]]:
    """Days so far apart that their names have room."""
    every = max(1, math.ceil((last.toordinal() - first.toordinal() + 1) / 12))
    ticks = list(range(first.toordinal(), last.toordinal() + 1, every))
    return ticks, [f"{date.fromordinal(tick):%d %b}" for tick in ticks]


def _share_in_words(share: Share) -> str:
    return f"{percent(share.value)} ({interval(share)}; {looked_at(share)})"


def _compact(value: float) -> str:
    return number(value) if value < 1_000 else f"{value / 1_000:.3g}k" if value < 1e6 else f"{value / 1e6:.3g}M"
