"""The picture of what happened: runs as bars, and events as marks in a row for each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from edge.report.drawn.drawing import COLOURS, LEFT_PX, RIGHT_PX, WIDTH_PX, Picture, key, series, stack, styled, svg
from edge.report.drawn.head import is_trouble
from edge.report.drawn.timeaxis import DAY_S, limits_s, time_axis
from edge.report.figures import Event, JournalFigures
from edge.report.words import count, number, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_PX = 27
_BAR_PX = 7
_KINDS = 14


def happened(journals: Sequence[JournalFigures], name: str) -> Optional[Picture]:
    """Runs and events of one or several journals; None when there is neither.

    Args:
        journals: what went wrong in any of them comes first, then what happened most often.
        name: distinct on the page, for the ids in the picture.
    """
    if not any(journal.runs or journal.events for journal in journals):
        return None
    frequent = Counter(event.kind for journal in journals for event in journal.events)
    kinds = sorted(frequent, key=lambda kind: (not is_trouble(kind), -frequent[kind], kind))
    rows = [[kind] for kind in kinds[:_KINDS]] + [kinds[_KINDS:]] * (len(kinds) > _KINDS)
    top_px = _ROW_PX + _BAR_PX * (len(journals) - 1)
    with styled():
        figure, (axes,) = stack([top_px + _ROW_PX * len(rows)])
        axes.set_ylim(top_px + _ROW_PX * len(rows), 0)
        axes.set_yticks([])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        _runs(axes, journals)
        for row, taken in enumerate(rows):
            _marks(axes, journals, taken, top_px + _ROW_PX * row)
        time_axis(axes, journals)
        runs = count(sum(len(journal.runs) for journal in journals), "run")
        told = ", ".join(f"{kind} {number(frequent[kind])}" for kind in kinds)
        words = f"{runs}; events by kind: {told}." if told else f"{runs}; no event is recorded."
        drawn = svg(figure, name, words)
    caption = (
        "Bars are runs. What went wrong comes first, as triangles; then what is ordinary, as dots. Numbers are events."
    )
    keys = [key(journal.name, place) for place, journal in enumerate(journals)]
    return Picture("What happened", drawn, caption, keys if len(keys) > 1 else [])


def _runs(axes: Axes, journals: Sequence[JournalFigures]) -> None:
    for place, journal in enumerate(journals):
        bars = [(run.from_utc_s / DAY_S, (run.to_utc_s - run.from_utc_s) / DAY_S) for run in journal.runs]
        top_px = 14 + _BAR_PX * place
        axes.broken_barh(bars, (top_px, _BAR_PX - 2), color=series(place)[0], alpha=0.8, linewidth=0)
        # Where one run follows another at once, the bars alone would not tell.
        middles_px = [top_px + _BAR_PX / 2 - 1] * len(bars)
        axes.plot([start for start, _ in bars], middles_px, "|", color=series(place)[0], ms=8)
    axes.text(0, 2, "runs", transform=axes.get_yaxis_transform(), va="top", color=COLOURS["muted"])


def _marks(axes: Axes, journals: Sequence[JournalFigures], kinds: Sequence[str], top_px: int) -> None:
    """One row: the kind's name, the number of its events, and below a mark for each."""
    trouble = any(is_trouble(kind) for kind in kinds)
    colour = COLOURS["alarm" if trouble else "muted"]
    events = [[event for event in journal.events if event.kind in kinds] for journal in journals]
    for place, own in enumerate(events):
        days = _distinct(own, journals)
        axes.plot(
            days,
            [top_px + 19.5] * len(days),
            "^" if trouble else "o",
            color=series(place)[0] if len(journals) > 1 else colour,
            ms=5.5 if trouble else 4,
            alpha=0.8,
            markeredgewidth=0,
        )
    axes.axhline(top_px, color=COLOURS["rule"], linewidth=0.5)
    title = kinds[0] if len(kinds) == 1 else f"{count(len(kinds), 'other kind')}: {', '.join(kinds)}"
    where = axes.get_yaxis_transform()
    axes.text(0, top_px + 3, short(title, 90), transform=where, va="top", color=colour)
    total = number(sum(len(own) for own in events))
    axes.text(1, top_px + 3, total, transform=where, va="top", ha="right", color=COLOURS["muted"])


def _distinct(events: Sequence[Event], journals: Sequence[JournalFigures]) -> list[float]:
    """Days since 1970 of the events, those in one pixel once: more marks on one spot only make a larger page."""
    from_s, to_s = limits_s(journals)
    pixel_s = (to_s - from_s) / (WIDTH_PX - LEFT_PX - RIGHT_PX)
    return [utc_s / DAY_S for utc_s in {round(event.utc_s / pixel_s): event.utc_s for event in events}.values()]
