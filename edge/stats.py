"""Percentiles that refuse too few samples, Wilson intervals, and a window for live displays. Pure; times in ns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from statistics import NormalDist
from typing import Optional, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.records import NS_PER_MS, Timings

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
STAGES = ("wait", "preprocess", "invoke", "postprocess", "age")

Samples = Union[Sequence[int], NDArray[np.integer]]


class Summary(msgspec.Struct, frozen=True):
    """A distribution of durations in milliseconds; None is what the number of samples cannot tell."""

    mean: Optional[float]
    std: Optional[float]
    """Of the sample (n - 1 in the denominator)."""
    min: Optional[float]
    p50: Optional[float]
    p90: Optional[float]
    p95: Optional[float]
    p99: Optional[float]
    p999: Optional[float]
    max: Optional[float]


class Live(msgspec.Struct, frozen=True):
    """What a live display shows of one stage, in milliseconds; None with too few samples."""

    p50: Optional[float]
    p90: Optional[float]


@cache
def minimum_samples(fraction: float, confidence: float = 0.99) -> int:
    """The fewest samples from which a percentile may be told: 64 for p90, 662 for p99.

    The smallest n with P(Binomial(n, 1 - fraction) <= 1) <= 1 - confidence: with so many samples it would be
    too unlikely that only one of them lay above the percentile. Source: MLPerf Inference, early stopping
    (LoadGen `early_stopping.cc`, with one sample over the latency), which gives the same 64 and 662.

    Args:
        fraction: the percentile as a fraction, in (0, 1), for example 0.9.
        confidence: in (0, 1).
    """
    if not 0 < fraction < 1 or not 0 < confidence < 1:
        raise ValueError(f"fraction {fraction} and confidence {confidence} must lie between 0 and 1.")
    high = 2
    while _at_most_one_above(high, fraction) > 1 - confidence:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if _at_most_one_above(middle, fraction) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most_one_above(count: int, fraction: float) -> float:
    """P(Binomial(count, 1 - fraction) <= 1)."""
    return float(fraction**count + count * (1 - fraction) * fraction ** (count - 1))


def rank(samples: int, fraction: float) -> int:
    """How many of so many samples in ascending order reach the percentile: from 1, for a fraction in (0, 1]."""
    # As a decimal: 0.07 * 100 is a little more than 7 in binary, and its rank would be 8.
    return math.ceil(Fraction(str(fraction)) * samples)


def nearest_rank(samples_ns: Samples, fraction: float) -> int:
    """The smallest sample with at least `fraction` of all samples at or below it; nothing is interpolated.

    Args:
        samples_ns: at least one, in any order.
        fraction: in (0, 1].
    """
    place = rank(len(samples_ns), fraction) - 1
    return int(np.partition(np.asarray(samples_ns), place)[place])


def percentile(samples_ns: Samples, fraction: float) -> Optional[int]:
    """The nearest-rank percentile, or None when there are fewer than `minimum_samples(fraction)`."""
    return None if len(samples_ns) < minimum_samples(fraction) else nearest_rank(samples_ns, fraction)


def insufficient(samples: int) -> dict[str, str]:
    """Why percentiles of a summary are None: {"p99": "insufficient (300 of 662 samples)"}; empty when none is."""
    needed = {name: minimum_samples(fraction) for name, fraction in PERCENTILES.items()}
    return {name: f"insufficient ({samples} of {least} samples)" for name, least in needed.items() if samples < least}


def summary(samples_ns: Samples) -> Summary:
    """The distribution of durations given in nanoseconds, in milliseconds rounded to 0.1 microseconds.

    Args:
        samples_ns: any number, in any order; with none, all fields are None.
    """
    values = np.asarray(samples_ns, dtype=np.int64)
    if not values.size:
        return Summary(None, None, None, None, None, None, None, None, None)
    return Summary(
        mean=in_ms(float(values.mean())),
        std=in_ms(float(values.std(ddof=1))) if values.size > 1 else None,
        min=in_ms(int(values.min())),
        max=in_ms(int(values.max())),
        **{name: in_ms(percentile(values, fraction)) for name, fraction in PERCENTILES.items()},
    )


def in_ms(value_ns: Optional[float]) -> Optional[float]:
    """Nanoseconds in milliseconds rounded to 0.1 microseconds; None stays None."""
    return None if value_ns is None else round(value_ns / NS_PER_MS, 4)


def table(summaries: Mapping[str, Summary]) -> list[str]:
    """Lines that show mean, p50, p90 and p99 of each stage; a dash where there are too few samples to tell."""
    lines = [f"{'ms':12s}{'mean':>10s}{'p50':>10s}{'p90':>10s}{'p99':>10s}"]
    for stage, told in summaries.items():
        cells = (told.mean, told.p50, told.p90, told.p99)
        lines.append(f"{stage:12s}" + "".join("         -" if cell is None else f"{cell:10.3f}" for cell in cells))
    return lines


def shown_insufficient(reasons: Mapping[str, str]) -> str:
    """Those of the reasons of `insufficient` that explain a dash of `table`."""
    return ", ".join(f"{name} {reason}" for name, reason in reasons.items() if name in ("p50", "p90", "p99"))


def wilson(successes: float, total: float, confidence: float = 0.95) -> Optional[tuple[float, float]]:
    """The Wilson score interval of a proportion; None when nothing was counted.

    Formula: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22 (1927); without continuity correction.

    Args:
        successes: 0 to `total`; not whole where `total` is an effective number.
        total: number of trials.
        confidence: two-sided, in (0, 1).
    """
    if not 0 <= successes <= total < math.inf or not 0 < confidence < 1:
        raise ValueError(f"{successes} of {total} at confidence {confidence} is not a proportion.")
    if total == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    # The ends are exact where rounding would leave a little less than 0 or more than 1.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == total else min(1.0, centre + half)
    return low, high


def effective_samples(total: float, sum_of_squared_weights: float) -> float:
    """How many samples of equal weight tell as much as these: (sum of weights)^2 / sum of squared weights.

    Source: L. Kish, Survey Sampling (1965). From 1 (one sample outweighs all) to the number of samples; 0 with none.

    Args:
        total: sum of the weights, each at least 0.
        sum_of_squared_weights: of the same samples.
    """
    if total == 0 == sum_of_squared_weights:
        return 0.0
    # Rounded, the square of a single weight may be a little more than that of the total.
    if total <= 0 or not 0 < sum_of_squared_weights <= total * total * (1 + 1e-9) < math.inf:
        raise ValueError(f"no weights sum to {total} and their squares to {sum_of_squared_weights}.")
    return max(1.0, total * total / sum_of_squared_weights)


def wilson_weighted(
    right: float, total: float, sum_of_squared_weights: float, confidence: float = 0.95
) -> Optional[tuple[float, float]]:
    """The Wilson interval of a share of weighted samples, with `effective_samples` as the number of trials.

    Args:
        right: sum of the weights of the samples that count as a success.
        total: sum of all weights.
        sum_of_squared_weights: of all samples.
        confidence: two-sided, in (0, 1).

    Returns:
        Low and high end, those of `wilson` where all weights are equal; None when nothing was counted.
    """
    trials = effective_samples(total, sum_of_squared_weights)
    if not trials:
        return None
    # Where all are right, the two sums may have been rounded differently.
    share = 1.0 if math.isclose(right, total) else right / total
    return wilson(share * trials, trials, confidence)


def newcombe(
    successes_a: float, total_a: float, successes_b: float, total_b: float, confidence: float = 0.95
) -> Optional[tuple[float, float]]:
    """The interval of the difference of two independent proportions, b minus a; None when either has no trials.

    Formula: R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998) 873-890, method 10: the hybrid of two Wilson score intervals, without continuity correction.

    Args:
        successes_a: 0 to `total_a`; not whole where that is an effective number, such as of `effective_samples`.
        total_a: number of trials.
        successes_b: 0 to `total_b`.
        total_b: number of trials.
        confidence: two-sided, in (0, 1).
    """
    interval_a = wilson(successes_a, total_a, confidence)
    interval_b = wilson(successes_b, total_b, confidence)
    if interval_a is None or interval_b is None:
        return None
    share_a, share_b = successes_a / total_a, successes_b / total_b
    (low_a, high_a), (low_b, high_b) = interval_a, interval_b
    difference = share_b - share_a
    low = difference - math.hypot(share_b - low_b, high_a - share_a)
    high = difference + math.hypot(high_b - share_b, share_a - low_a)
    return max(-1.0, low), min(1.0, high)


class Window:
    """The timings of the last frames that one backend answered, in memory of a fixed size."""

    def __init__(self, capacity: int = 512) -> None:
        """Keep the last `capacity` frames; a live p90 needs at least `minimum_samples(0.9)`."""
        self._values_ns = np.zeros((len(STAGES), capacity), np.int64)
        self._capacity = capacity
        self._backend = ""
        self._begun = 0
        self.added = 0
        """Frames added since the start, also those that are not kept any more."""

    def __len__(self) -> int:
        return min(self.added - self._begun, self._capacity)

    def add(self, timings: Timings, backend: str = "") -> None:
        """Take in one frame, in place of the oldest when full, or of all when another backend answered them."""
        if backend != self._backend:
            self._backend, self._begun = backend, self.added
        column = (self.added - self._begun) % self._capacity
        self._values_ns[:, column] = (
            timings.wait_ns,
            timings.preprocess_ns,
            timings.invoke_ns,
            timings.postprocess_ns,
            timings.age_ns,
        )
        self.added += 1

    def live(self) -> dict[str, Live]:
        """p50 and p90 of each of `STAGES`, in milliseconds."""
        kept = self._values_ns[:, : len(self)]
        return {name: Live(in_ms(percentile(row, 0.5)), in_ms(percentile(row, 0.9))) for name, row in zip(STAGES, kept)}

    def summaries(self) -> dict[str, Summary]:
        """The whole distribution of each of `STAGES`."""
        kept = self._values_ns[:, : len(self)]
        return {name: summary(row) for name, row in zip(STAGES, kept)}
