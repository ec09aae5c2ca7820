"""Stretches of neighbouring time: how many to make of a record, and what their differences say of a share."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MOST_BLOCKS = 30
"""More say hardly more, and the shorter they are the more a block resembles its neighbour. Source: B. Schmeiser,
"Batch size effects in the analysis of simulation output", Operations Research 30 (1982), which finds little use in
more than 30."""
FEWEST_BLOCKS = 8
"""Source: the same; intervals from fewer are very wide, and their ends a matter of luck."""

_ROUNDING = 1e-12


def blocks_for(windows: int) -> int:
    """Into how many blocks to gather so many windows: each as long as there are many, within the limits above.

    So that blocks grow longer than whatever makes neighbours alike, and more at the same time. Source: G. L. Jones,
    M. Haran, B. S. Caffo and R. Neath, "Fixed-width output analysis for Markov chain Monte Carlo", Journal of the
    American Statistical Association 101 (2006).
    """
    return min(windows, max(FEWEST_BLOCKS, min(MOST_BLOCKS, round(math.sqrt(windows)))))


def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Student's t that holds so much between itself and its negative; to 0.1 % from 6 degrees of freedom.

    Source: M. Abramowitz, I. Stegun, "Handbook of mathematical functions" (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def effective_answers(right: NDArray[np.float64], total: NDArray[np.float64]) -> tuple[int, float]:
    """The number of stretches, and of independent answers that would vary as much as they do.

    A camera sees one thing for long, and the model then errs for long: a thousand frames of a minute say little more
    than a few. Windows in time order are gathered into stretches. The variance of a ratio over them (W. G. Cochran,
    "Sampling techniques" (1977), 2.11 and 9A) is that of so many independent answers. As few stretches know their own
    variance badly, Student's t stands in place of z: E. L. Korn and B. I. Graubard, "Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24
    (1998). Where all are right, or none, nothing varies and each stretch counts as one answer.

    Args:
        right: weight of right answers in each window, in time order, shape (windows,).
        total: of all its answers; a window without any is left out.
    """
    held = total > 0
    if not held.any():
        return 0, 0.0
    windows = np.stack((right[held], total[held]), axis=1)
    parts = np.array_split(windows, blocks_for(len(windows)))
    right, total = np.array([part.sum(axis=0) for part in parts]).T
    stretches, share = len(total), float(right.sum() / total.sum())
    if stretches < 2 or not _ROUNDING < share < 1 - _ROUNDING:
        return stretches, float(stretches)
    apart = right - share * total
    variance = stretches / (stretches - 1) * float(apart @ apart) / float(total.sum()) ** 2
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    smaller = (z / student(stretches - 1)) ** 2
    return stretches, max(1.0, share * (1 - share) / variance * smaller) if variance else math.inf
