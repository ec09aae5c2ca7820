"""The buckets that durations are counted in, those of HdrHistogram."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

LOWEST_NS = 1_000
HIGHEST_NS = 3_600 * 10**9
SIGNIFICANT_DIGITS = 2
_UNIT_BITS = 9
"""The narrowest bucket is 2**9 = 512 ns wide: the power of two below LOWEST_NS."""
_HALF = 128
"""Buckets until the width doubles: half of the power of two above 2 * 10**SIGNIFICANT_DIGITS."""
BUCKETS = 27 * _HALF
"""256 of the narrowest, and 25 times 128 of twice the width before, until HIGHEST_NS is covered."""


@cache
def lower_ns() -> NDArray[np.int64]:
    """The smallest value of each bucket, shape (BUCKETS,), read-only."""
    index = np.arange(BUCKETS, dtype=np.int64)
    doublings = np.maximum(index // _HALF, 1) - 1
    lower: NDArray[np.int64] = (index - doublings * _HALF) << (doublings + _UNIT_BITS)
    lower.flags.writeable = False
    return lower


@cache
def width_ns() -> NDArray[np.int64]:
    """The number of values of each bucket, shape (BUCKETS,), read-only."""
    doublings = np.maximum(np.arange(BUCKETS, dtype=np.int64) // _HALF, 1) - 1
    width: NDArray[np.int64] = np.int64(1) << (doublings + _UNIT_BITS)
    width.flags.writeable = False
    return width


@cache
def middles_ns() -> NDArray[np.int64]:
    """The middle of each bucket in nanoseconds, shape (BUCKETS,), read-only."""
    middles = lower_ns() + width_ns() // 2
    middles.flags.writeable = False
    return middles
