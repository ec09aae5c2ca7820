"""Counts durations in buckets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import numpy as np
from numpy.typing import NDArray

from edge import stats
from edge.histogram.buckets import BUCKETS, lower_ns, middles_ns, width_ns
from edge.histogram.encoding import opened, to_bytes, unpack_counts
from edge.histogram.many import Sparse

Durations = Union[Sequence[int], NDArray[np.integer]]


class Histogram:
    """Durations in nanoseconds; number, sum, smallest and largest are exact, percentiles within 1 %."""

    __slots__ = ("_counts", "max_ns", "min_ns", "samples", "sum_ns")

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, np.int64)
        self.samples = 0
        self.sum_ns = 0
        self.min_ns: Optional[int] = None
        self.max_ns: Optional[int] = None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Histogram)
            and (self.samples, self.sum_ns, self.min_ns, self.max_ns)
            == (other.samples, other.sum_ns, other.min_ns, other.max_ns)
            and bool((self._counts == other._counts).all())
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Histogram({self.samples} samples, {self.min_ns} to {self.max_ns} ns)"

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many samples each bucket holds, shape (BUCKETS,); a read-only view."""
        view: NDArray[np.int64] = self._counts[:]
        view.flags.writeable = False
        return view

    def add(self, values_ns: Durations) -> None:
        """Count durations, best many at once. What lies above the last bucket is counted in it.

        Args:
            values_ns: integers from 0 in any order, also none.

        Raises:
            ValueError: one of them is negative or no integer of 64 bits; nothing was counted.
        """
        values = np.asarray(values_ns)
        if not values.size:
            return
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > np.iinfo(np.int64).max:
            raise ValueError("durations are integers from 0 to 2**63 - 1 nanoseconds; measure with a monotonic clock.")
        values = values.astype(np.int64, copy=False).ravel()
        buckets = np.searchsorted(lower_ns(), values, side="right") - 1
        self._counts += np.bincount(buckets, minlength=BUCKETS)
        self.samples += values.size
        # In halves, because the sum of many large values does not fit in 64 bits.
        self.sum_ns += (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
        self._widen(int(values.min()), int(values.max()))

    def merge(self, other: Histogram) -> None:
        """Take in all samples of another histogram, as if they had been added here."""
        self._counts += other._counts
        self.samples += other.samples
        self.sum_ns += other.sum_ns
        if other.min_ns is not None and other.max_ns is not None:
            self._widen(other.min_ns, other.max_ns)

    def take(self, sparse: Sparse) -> None:
        """Take in all samples of a histogram that `edge.histogram.many` decoded."""
        if sparse.samples:
            self._counts[sparse.buckets] += sparse.counts
            self.samples += sparse.samples
            self.sum_ns += sparse.sum_ns
            self._widen(sparse.min_ns, sparse.max_ns)

    def _widen(self, min_ns: int, max_ns: int) -> None:
        self.min_ns = min_ns if self.min_ns is None else min(self.min_ns, min_ns)
        self.max_ns = max_ns if self.max_ns is None else max(self.max_ns, max_ns)

    def percentile(self, fraction: float) -> Optional[int]:
        """The nearest-rank percentile in nanoseconds, or None with fewer than `stats.minimum_samples(fraction)`.

        It is the middle of the sample's bucket, so at most 0.4 % (below 131 microseconds, at most 256 ns) off.

        Args:
            fraction: in (0, 1).
        """
        if self.samples < stats.minimum_samples(fraction) or self.min_ns is None or self.max_ns is None:
            return None
        bucket = np.searchsorted(np.cumsum(self._counts), stats.rank(self.samples, fraction))
        return min(max(int(middles_ns()[bucket]), self.min_ns), self.max_ns)

    def summary(self) -> stats.Summary:
        """The distribution in milliseconds; `std` is that of the buckets' middles, the rest as in `stats.summary`."""
        if not self.samples:
            return stats.summary(())
        return stats.Summary(
            mean=stats.in_ms(self.sum_ns / self.samples),
            std=stats.in_ms(self._std_ns()),
            min=stats.in_ms(self.min_ns),
            max=stats.in_ms(self.max_ns),
            **{name: stats.in_ms(self.percentile(fraction)) for name, fraction in stats.PERCENTILES.items()},
        )

    def _std_ns(self) -> Optional[float]:
        """The standard deviation of the sample (n - 1), each value in the middle of its bucket; None below two."""
        if self.samples < 2:
            return None
        filled = self._counts.nonzero()[0]
        counts = self._counts[filled].astype(float)
        middles = np.clip(middles_ns()[filled], self.min_ns, self.max_ns).astype(float)
        mean = (counts @ middles) / self.samples
        return float(np.sqrt(counts @ (middles - mean) ** 2 / (self.samples - 1)))

    def buckets(self) -> list[tuple[int, int]]:
        """Upper end (the largest value it may hold, in ns) and count of each bucket that holds something, ascending."""
        filled = self._counts.nonzero()[0]
        upper_ns = lower_ns()[filled] + width_ns()[filled] - 1
        return list(zip(upper_ns.tolist(), self._counts[filled].tolist()))

    def encode(self) -> bytes:
        """The histogram as bytes; the module's description tells the layout."""
        return to_bytes(self._counts, self.sum_ns, self.min_ns, self.max_ns)

    @classmethod
    def decode(cls, encoded: bytes) -> Histogram:
        """The histogram that `encode` made bytes of.

        Raises:
            ValueError: the bytes are damaged, or no such histogram.
        """
        told = opened(encoded)
        histogram = cls()
        samples = unpack_counts(told.packed, histogram._counts.data)
        if not told.holds(samples):
            least, most = told.min_ns, told.max_ns
            raise ValueError(f"no histogram: {samples} samples of {least} to {most} ns cannot sum to {told.sum_ns} ns.")
        if samples:
            histogram.samples, histogram.sum_ns = samples, told.sum_ns
            histogram.min_ns, histogram.max_ns = told.min_ns, told.max_ns
        return histogram
