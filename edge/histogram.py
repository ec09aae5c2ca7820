"""Durations counted in buckets: of a fixed size, merged without loss, and read by any HdrHistogram library.

The buckets are those of HdrHistogram (Gil Tene, https://hdrhistogram.github.io/HdrHistogram/) with lowest discernible
value 1,000 ns, highest trackable value 3,600 s and 2 significant digits: 512 ns wide below 131 microseconds, at most
1/128 of what they hold above. The package `hdrhistogram` itself has no wheel for 64-bit ARM; tests compare with it.

A histogram as bytes, integers big-endian:

    offset  bytes
    0       4      CRC-32 of all that follows
    4       12     sum in ns
    16      8      smallest value in ns; 0 when empty
    24      8      largest value in ns; 0 when empty
    32             HdrHistogram's V2 compressed encoding

From `HDR_OFFSET` on, the bytes are what other libraries call a compressed histogram; most of them want it in Base64:
`hdrh.histogram.HdrHistogram.decode(base64.b64encode(encoded[HDR_OFFSET:]))` in Python.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Optional, Union

import numpy as np
from numpy.typing import NDArray

from edge import stats

LOWEST_NS = 1_000
HIGHEST_NS = 3_600 * 10**9
SIGNIFICANT_DIGITS = 2
_UNIT_BITS = 9
"""The narrowest bucket is 2**9 = 512 ns wide: the power of two below LOWEST_NS."""
_HALF = 128
"""Buckets until the width doubles: half of the power of two above 2 * 10**SIGNIFICANT_DIGITS."""
BUCKETS = 27 * _HALF
"""256 of the narrowest, and 25 times 128 of twice the width before, until HIGHEST_NS is covered."""

HDR_OFFSET = 32
_OURS = struct.Struct(">I12sqq")
_OUTER = struct.Struct(">II")
_INNER = struct.Struct(">IIIIQQd")
_OUTER_COOKIE = 0x1C849304 | 0x10
_INNER_COOKIE = 0x1C849303 | 0x10
_MOST_INFLATED_BYTES = _INNER.size + 9 * BUCKETS

Durations = Union[Sequence[int], NDArray[np.integer]]


@cache
def _lower_ns() -> NDArray[np.int64]:
    """The smallest value of each bucket."""
    index = np.arange(BUCKETS, dtype=np.int64)
    doublings = np.maximum(index // _HALF, 1) - 1
    lower: NDArray[np.int64] = (index - doublings * _HALF) << (doublings + _UNIT_BITS)
    lower.flags.writeable = False
    return lower


@cache
def _width_ns() -> NDArray[np.int64]:
    """The number of values of each bucket."""
    doublings = np.maximum(np.arange(BUCKETS, dtype=np.int64) // _HALF, 1) - 1
    width: NDArray[np.int64] = np.int64(1) << (doublings + _UNIT_BITS)
    width.flags.writeable = False
    return width


@cache
def middles_ns() -> NDArray[np.int64]:
    """The middle of each bucket in nanoseconds, shape (BUCKETS,), read-only."""
    middles = _lower_ns() + _width_ns() // 2
    middles.flags.writeable = False
    return middles


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
        buckets = np.searchsorted(_lower_ns(), values, side="right") - 1
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
        upper_ns = _lower_ns()[filled] + _width_ns()[filled] - 1
        return list(zip(upper_ns.tolist(), self._counts[filled].tolist()))

    def encode(self) -> bytes:
        """The histogram as bytes; the module's description tells the layout."""
        body = _packed_counts(self._counts)
        inner = _INNER.pack(_INNER_COOKIE, len(body), 0, SIGNIFICANT_DIGITS, LOWEST_NS, HIGHEST_NS, 1.0)
        compressed = zlib.compress(inner + body)
        ours = _OURS.pack(0, self.sum_ns.to_bytes(12, "big"), self.min_ns or 0, self.max_ns or 0)
        rest = ours[4:] + _OUTER.pack(_OUTER_COOKIE, len(compressed)) + compressed
        return zlib.crc32(rest).to_bytes(4, "big") + rest

    @classmethod
    def decode(cls, encoded: bytes) -> Histogram:
        """The histogram that `encode` made bytes of.

        Raises:
            ValueError: the bytes are damaged, or no such histogram.
        """
        if len(encoded) < HDR_OFFSET + _OUTER.size:
            raise ValueError(f"{len(encoded)} bytes are no histogram: it is cut short.")
        check, sum_bytes, min_ns, max_ns = _OURS.unpack_from(encoded)
        if zlib.crc32(memoryview(encoded)[4:]) != check:
            raise ValueError(f"{len(encoded)} bytes are no histogram: their checksum differs.")
        histogram = cls()
        samples = _unpack_counts(_inflated(encoded), histogram._counts.data)
        sum_ns = int.from_bytes(sum_bytes, "big")
        if not 0 <= min_ns * samples <= sum_ns <= max_ns * samples:
            raise ValueError(f"no histogram: {samples} samples of {min_ns} to {max_ns} ns cannot sum to {sum_ns} ns.")
        if samples:
            histogram.samples, histogram.sum_ns = samples, sum_ns
            histogram.min_ns, histogram.max_ns = min_ns, max_ns
        return histogram


def _inflated(encoded: bytes) -> bytes:
    """The counts as `_packed_counts` made them, out of an encoded histogram."""
    cookie, length = _OUTER.unpack_from(encoded, HDR_OFFSET)
    start = HDR_OFFSET + _OUTER.size
    if cookie != _OUTER_COOKIE or length != len(encoded) - start:
        raise ValueError(f"no histogram: cookie {cookie:#x} and length {length} instead of {_OUTER_COOKIE:#x}.")
    inflater = zlib.decompressobj()
    try:
        inner = inflater.decompress(memoryview(encoded)[start:], _MOST_INFLATED_BYTES)
    except zlib.error as error:
        raise ValueError(f"no histogram: {error}.") from None
    if not inflater.eof or inflater.unused_data or len(inner) < _INNER.size:
        sizes = f"{_INNER.size} to {_MOST_INFLATED_BYTES}"
        raise ValueError(f"no histogram: its counts inflate to {len(inner)} bytes or more instead of {sizes}.")
    layout = _INNER.unpack_from(inner)
    body = inner[_INNER.size :]
    if layout != (_INNER_COOKIE, len(body), 0, SIGNIFICANT_DIGITS, LOWEST_NS, HIGHEST_NS, 1.0):
        raise ValueError(f"a histogram of another layout: {layout}.")
    return body


def _packed_counts(counts: NDArray[np.int64]) -> bytes:
    """Counts up to the last that is not 0 as ZigZag LEB128 integers; each run of zeros as minus its length."""
    packed = bytearray()
    following = 0
    for index in counts.nonzero()[0].tolist():
        if index > following:
            _append(packed, 2 * (index - following) - 1)
        _append(packed, 2 * int(counts[index]))
        following = index + 1
    return bytes(packed)


def _append(packed: bytearray, zigzag: int) -> None:
    while zigzag > 127:
        packed.append(zigzag & 127 | 128)
        zigzag >>= 7
    packed.append(zigzag)


def _unpack_counts(packed: bytes, counts: memoryview) -> int:
    """Fill in the counts that `_packed_counts` packed, and return their sum.

    A loop over bytes, because most counts take one, and for a few dozen NumPy's calls would take twice the time.

    Args:
        packed: ZigZag LEB128 integers.
        counts: zeros, shape (BUCKETS,).

    Raises:
        ValueError: there are more counts than buckets, or one that does not end.
    """
    samples = index = 0
    following = iter(packed)
    try:
        for zigzag in following:
            if zigzag > 127:
                zigzag = _continued(zigzag, following)  # noqa: PLW2901  the integer in place of its first byte
            count = zigzag >> 1
            if zigzag & 1:
                index += count + 1
            else:
                counts[index] = count
                samples += count
                index += 1
    except IndexError:
        raise ValueError(f"no histogram: it has more than {BUCKETS} counts.") from None
    return samples


def _continued(first: int, following: Iterator[int]) -> int:
    """An integer of two to seven bytes; more is damage, and could make the sum of all counts exceed 64 bits."""
    value = first & 127
    for shift, byte in zip(range(7, 49, 7), following):
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("no histogram: one of its counts does not end.")
