"""The picture of how durations spread: a histogram on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

from edge.report.drawn.drawing import (
    COLOURS,
    HALF_PX,
    Key,
    Picture,
    few_ticks,
    key,
    line,
    log_ticks,
    series,
    stack,
    styled,
    svg,
)
from edge.report.figures import Latency
from edge.report.words import count, listed, ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COUNTED = 4
_BINS = 48
_BINS_PER_DECADE = (20, 160)
_BUCKET = 1 / 128
"""Widest bucket of `edge.histogram` as a share of what it holds, but below 131 microseconds."""
_NARROWEST_MS = 512e-6


class Curve(NamedTuple):
    """One distribution of a picture."""

    name: str
    latency: Latency
    place: int
    """Among `drawing.series`."""


def distribution(
    of_what: str, curves: Sequence[Curve], name: str, merged: Optional[Latency] = None
) -> Optional[Picture]:
    """How durations spread, as shares of each curve's own samples; None without samples.

    Args:
        of_what: which durations.
        curves: drawn as outlines.
        name: for ids.
        merged: drawn as an area behind them.
    """
    curves = [curve for curve in curves if curve.latency.distribution]
    if not curves:
        return None
    per_decade = _bins_per_decade([curve.latency for curve in curves])
    with styled():
        figure, (axes,) = stack([170], HALF_PX, 22)
        axes.set_title(f"{of_what} in ms, share of samples in %")
        axes.set_xscale("log")
        if merged is not None and merged.distribution:
            edges_ms, shares = _binned(merged, per_decade)
            axes.stairs(shares, edges_ms, fill=True, color=COLOURS["rule"], linewidth=0)
        for curve in curves:
            edges_ms, shares = _binned(curve.latency, per_decade)
            if merged is None:
                axes.stairs(shares, edges_ms, fill=True, color=series(curve.place)[0], alpha=0.18, linewidth=0)
            axes.stairs(shares, edges_ms, **line(curve.place, 1.3))
        axes.set_ylim(bottom=0)
        _percentile_marks(axes, curves)
        log_ticks(axes.xaxis, axes.get_xlim())
        few_ticks(axes)
        words = "; ".join(f"{curve.name}: {_in_words(curve.latency)}" for curve in curves)
        drawn = svg(figure, name, f"{of_what}. {words}.")
    keys = [key(_named(curve, len(curves) <= _COUNTED), curve.place) for curve in curves]
    if merged is not None:
        keys.append(Key(f"all together ({count(merged.samples, 'sample')})", "rule", area=True))
    caption = f"Bins of equal width on the logarithmic axis; marks above are p50, p90 and p99. In numbers: {words}."
    return Picture(f"Distribution: {of_what.lower()}", drawn, caption, keys, wide=False)


def _named(curve: Curve, counted: bool) -> str:
    return f"{curve.name} ({count(curve.latency.samples, 'sample')})" if counted else curve.name


def _bins_per_decade(latencies: Sequence[Latency]) -> int:
    """So many that what lies between the 1st and the 99th percentile has some dozens."""
    ends = [_ranked(latency, fraction) for latency in latencies for fraction in (0.01, 0.99)]
    least, most = _BINS_PER_DECADE
    return round(min(most, max(least, _BINS / (math.log10(max(ends) / min(ends)) or 1e-9))))


def _ranked(latency: Latency, fraction: float) -> float:
    """Upper end in ms of the bucket with this percentile; for the looks only."""
    wanted = fraction * sum(samples for _, samples in latency.distribution)
    seen = 0
    for upper_ms, samples in latency.distribution:
        seen += samples
        if seen >= wanted:
            return upper_ms
    return latency.distribution[-1][0]


def _binned(latency: Latency, per_decade: int) -> tuple[list[float], list[float]]:
    """Edges in ms, evenly apart on a logarithmic axis, and the share of the samples between them in %.

    A bucket's samples are spread over the bins that it reaches into: put into one, they would make a comb.
    """
    whole = sum(samples for _, samples in latency.distribution)
    shares: dict[int, float] = {}
    for upper_ms, samples in latency.distribution:
        lower_ms = max(upper_ms - max(_BUCKET * upper_ms, _NARROWEST_MS), upper_ms / 2)
        low, high = (math.log10(end_ms) * per_decade for end_ms in (lower_ms, upper_ms))
        for place in range(math.floor(low), math.ceil(high)):
            part = (min(high, place + 1) - max(low, place)) / (high - low)
            shares[place] = shares.get(place, 0.0) + 100 * samples / whole * part
    first, last = min(shares), max(shares)
    edges_ms = [10 ** (place / per_decade) for place in range(first, last + 2)]
    return edges_ms, [shares.get(place, 0.0) for place in range(first, last + 1)]


def _percentile_marks(axes: Axes, curves: Sequence[Curve]) -> None:
    """p50, p90 and p99 as marks above the curves, a row for each curve."""
    top = axes.get_ylim()[1]
    for row, curve in enumerate(reversed(curves)):
        told = [value for value in (curve.latency.p50, curve.latency.p90, curve.latency.p99) if value is not None]
        height = top * (1.06 + 0.07 * row)
        colour, _ = series(curve.place)
        axes.plot(told, [height] * len(told), "-", color=colour, linewidth=0.8)
        for value, marker in zip(told, "|||"):
            axes.plot([value], [height], marker, color=colour, ms=7, markeredgewidth=1.4)
    axes.set_ylim(0, top * (1.06 + 0.07 * len(curves)))


def _in_words(latency: Latency) -> str:
    told = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    parts = [f"{name} {ms(value)}" for name, value in told.items() if value is not None]
    return f"{listed(parts)} ms" if parts else "too few samples for a percentile"
