"""How sure a difference of medians is, when samples that follow each other resemble each other. Pure; times in ns."""

from __future__ import annotations

import math
import zlib
from statistics import NormalDist
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.stretches import CONFIDENCE, student

RESAMPLES = 1_000


class Blocks(NamedTuple):
    """Samples of one stage, gathered into stretches of neighbouring time."""

    counts: NDArray[np.float64]
    """Shape (blocks, values): samples, or what they stand for; no block is empty."""
    values_ns: NDArray[np.float64]
    """Shape (values,), ascending: the middles of a histogram's buckets."""
    widths_ns: NDArray[np.float64]
    """Shape (values,): of the buckets."""


class Interval(NamedTuple):
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """Of two medians, the second less the first."""

    first_ns: float
    second_ns: float
    difference_ns: Interval
    ratio: Optional[Interval]
    """Difference by the first median; None where that is 0."""
    resolution_ns: float
    """Smaller differences cannot be told by histograms."""


def blocks_of(counts: NDArray[np.int64], middles_ns: NDArray[np.int64]) -> Optional[Blocks]:
    """Leave out blocks and values that hold nothing.

    Args:
        counts: shape (blocks, buckets).
        middles_ns: shape (buckets,), of all buckets of the histogram.

    Returns:
        None when nothing is left.
    """
    held = np.flatnonzero(counts.any(axis=0))
    filled = np.flatnonzero(counts.any(axis=1))
    if not held.size:
        return None
    values_ns = middles_ns.astype(np.float64)
    return Blocks(counts[np.ix_(filled, held)].astype(np.float64), values_ns[held], np.gradient(values_ns)[held])


def medians_ns(blocks: Blocks, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest-rank median of blocks merged, each taken so many times.

    Args:
        blocks: of one stage.
        times: shape (resamples, blocks); no row is all 0.

    Returns:
        Shape (resamples,).
    """
    medians: NDArray[np.float64] = blocks.values_ns[_median_buckets(blocks, times)]
    return medians


def median_ns(blocks: Blocks) -> float:
    """The nearest-rank median of all samples."""
    return float(blocks.values_ns[_median_buckets(blocks, _once(blocks))[0]])


def difference_of_medians(first: Blocks, second: Blocks, resamples: int = RESAMPLES) -> Difference:
    """The difference of two medians with its 95 % interval.

    Neighbouring samples share temperature and load, so whole stretches of time are resampled instead of samples, with
    replacement and each side apart: H. R. Künsch, "The jackknife and the bootstrap for general stationary
    observations", The Annals of Statistics 17 (1989), with blocks that do not overlap (E. Carlstein, ibid. 14 (1986)).
    The interval lies between percentiles of the resampled differences, farther out where there are few blocks, see
    `tail`. As a histogram knows a median only to its bucket, half a bucket of each is added at both ends.

    The result is the same on every machine and mirrored when the sides are swapped.

    Args:
        first: the baseline; as `second` of at least 2 blocks.
        second: what is compared with it.
        resamples: how often.
    """
    swapped = _key(second) < _key(first)
    one, other = (second, first) if swapped else (first, second)
    # One generator for both, so that the same record on both sides is not resampled alike.
    random = np.random.default_rng(list(_key(one)))
    drawn = [medians_ns(blocks, _draws(random, len(blocks.counts), resamples)) for blocks in (one, other)]
    drawn_first, drawn_second = reversed(drawn) if swapped else drawn
    at_first, at_second = (int(_median_buckets(blocks, _once(blocks))[0]) for blocks in (first, second))
    first_ns, second_ns = float(first.values_ns[at_first]), float(second.values_ns[at_second])
    widths_ns = float(first.widths_ns[at_first] + second.widths_ns[at_second])
    outside = tail(_freedom(drawn_first, len(first.counts), drawn_second, len(second.counts)))
    difference_ns = second_ns - first_ns
    low_ns, high_ns = np.quantile(drawn_second - drawn_first, (outside, 1 - outside))
    ratio = None
    if first_ns > 0 and drawn_first.all():
        low, high = np.quantile(drawn_second / drawn_first - 1, (outside, 1 - outside))
        ratio = _interval(difference_ns / first_ns, low, high, widths_ns / 2 / first_ns)
    return Difference(
        first_ns,
        second_ns,
        _interval(difference_ns, low_ns, high_ns, widths_ns / 2),
        ratio,
        max(0.01 * max(first_ns, second_ns), widths_ns / 2),
    )


def tail(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The share of resampled values to leave out at each end.

    Of few blocks, the plain percentile interval is too narrow: it has z where Student's t belongs, and n in a
    denominator where n - 1 belongs. Source: T. Hesterberg, "What teachers should know about the bootstrap", The
    American Statistician 69 (2015), "expanded percentile interval".

    Args:
        freedom: degrees of freedom, blocks - 1.
        confidence: two-sided.
    """
    return NormalDist().cdf(-math.sqrt((freedom + 1) / freedom) * student(freedom, confidence))


def _freedom(
    drawn_first: NDArray[np.float64], blocks_first: int, drawn_second: NDArray[np.float64], blocks_second: int
) -> float:
    """Degrees of freedom of a difference, B. L. Welch, Biometrika 34 (1947); the fewest where nothing varies."""
    squares = float(drawn_first.var()), float(drawn_second.var())
    if not sum(squares):
        return min(blocks_first, blocks_second) - 1
    parts = squares[0] ** 2 / (blocks_first - 1) + squares[1] ** 2 / (blocks_second - 1)
    return sum(squares) ** 2 / parts


def _interval(value: float, low: float, high: float, more: float) -> Interval:
    return Interval(value, min(value, float(low) - more), max(value, float(high) + more))


def _median_buckets(blocks: Blocks, times: NDArray[np.float64]) -> NDArray[np.intp]:
    reached = np.cumsum(times @ blocks.counts, axis=1)
    buckets: NDArray[np.intp] = np.argmax(2 * reached >= reached[:, -1:], axis=1)
    return buckets


def _draws(random: np.random.Generator, blocks: int, resamples: int) -> NDArray[np.float64]:
    return random.multinomial(blocks, np.full(blocks, 1 / blocks), resamples).astype(np.float64)


def _once(blocks: Blocks) -> NDArray[np.float64]:
    return np.ones((1, len(blocks.counts)))


def _key(blocks: Blocks) -> tuple[int, int]:
    """The same for the same samples, and hardly ever for others."""
    return zlib.crc32(blocks.counts.tobytes()), zlib.crc32(blocks.values_ns.tobytes())
