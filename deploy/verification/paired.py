"""What two models that answered the same questions differ in, with an interval that knows that they were the same."""

from __future__ import annotations

import math
from typing import Optional

from edge.stats import wilson


def paired_difference(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> Optional[tuple[float, float]]:
    """The interval of the difference between two shares that were counted on the same cases.

    Method 10 ("score, paired, continuity-corrected phi", square-and-add) of Robert G. Newcombe, "Improved confidence
    intervals for the difference between binomial proportions based on paired data", Statistics in Medicine 17 (1998).
    Unlike the difference's own standard error it has a width where the two never differed, and holds for few cases;
    unlike two separate intervals it knows that the models fail on the same pictures.

    Args:
        both: cases that both got right.
        only_first: that the first alone got right.
        only_second: that the second alone got right.
        neither: that neither got right.
        confidence: two-sided, in (0, 1).

    Returns:
        The ends for (share of the first) - (share of the second), in [-1, 1]; None when there are no cases.

    Raises:
        ValueError: a count is negative, or the confidence is none.
    """
    counts = (both, only_first, only_second, neither)
    if min(counts) < 0:
        raise ValueError(f"{counts} are no counts: expected 0 or more of each.")
    total = sum(counts)
    first, second = both + only_first, both + only_second
    one, other = wilson(first, total, confidence), wilson(second, total, confidence)
    if one is None or other is None:
        return None
    (low1, high1), (low2, high2) = one, other
    share1, share2 = first / total, second / total
    phi = _correlation(both, only_first, only_second, neither)

    def distance(side1: float, side2: float) -> float:
        return math.sqrt(max(0.0, side1 * side1 - 2 * phi * side1 * side2 + side2 * side2))

    # from the counts: share1 - share2 would not be exactly 0 or 1 where it is
    difference = (only_first - only_second) / total
    low = difference - distance(share1 - low1, high2 - share2)
    high = difference + distance(high1 - share1, share2 - low2)
    return max(-1.0, low), min(1.0, high)


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Phi of the fourfold table, a positive one moved towards 0 by half a case; 0 where a margin is empty."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if not margins:
        return 0.0
    product = both * neither - only_first * only_second
    if product > 0:
        half = sum((both, only_first, only_second, neither)) / 2
        return max(product - half, 0.0) / math.sqrt(margins)
    return product / math.sqrt(margins)
