"""Decodes many histograms at once, which takes a quarter of the time of one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.histogram.buckets import BUCKETS
from edge.histogram.encoding import MOST_BYTES, Opened, opened


class Sparse(NamedTuple):
    """A histogram of which only the buckets that hold something are told."""

    buckets: NDArray[np.int64]
    """Ascending."""
    counts: NDArray[np.int64]
    samples: int
    sum_ns: int
    min_ns: int
    """0 when empty."""
    max_ns: int
    """0 when empty."""


class _Counts(NamedTuple):
    """The counts of several histograms, one after the other."""

    bounds: list[int]
    """Where those of each begin; one more than there are histograms."""
    buckets: NDArray[np.int64]
    counts: NDArray[np.int64]
    samples: list[int]
    damaged: list[bool]


def decode_many(encoded: Sequence[bytes]) -> list[Optional[Sparse]]:
    """What `Histogram.decode` would make of each; None in place of what it refuses."""
    histograms = [_opened(each) for each in encoded]
    told = _unpacked([each.packed if each else b"" for each in histograms])
    decoded: list[Optional[Sparse]] = []
    for number, each in enumerate(histograms):
        samples = told.samples[number]
        if each is None or told.damaged[number] or not each.holds(samples):
            decoded.append(None)
            continue
        mine = slice(told.bounds[number], told.bounds[number + 1])
        decoded.append(Sparse(told.buckets[mine], told.counts[mine], samples, each.sum_ns, each.min_ns, each.max_ns))
    return decoded


def _opened(encoded: bytes) -> Optional[Opened]:
    try:
        return opened(encoded)
    except ValueError:
        return None


def _unpacked(packed: Sequence[bytes]) -> _Counts:
    """What `edge.histogram.encoding.unpack_counts` does, of several at once."""
    content = np.frombuffer(b"".join(packed), np.uint8)
    lengths = np.array([len(each) for each in packed], np.int64)
    ends = np.cumsum(lengths)
    is_last = content < 128
    at_ends = ends[lengths > 0] - 1
    damaged = np.zeros(len(packed), bool)
    damaged[lengths > 0] = ~is_last[at_ends]
    is_last[at_ends] = True  # an integer that does not end must not go on in the next histogram
    stops = np.flatnonzero(is_last)
    starts = np.append(-1, stops[:-1])[: len(stops)] + 1
    until = np.searchsorted(stops, ends)  # so many integers end before each histogram does
    owners = np.repeat(np.arange(len(packed)), np.diff(until, prepend=0))
    long = stops - starts
    damaged[owners[long >= MOST_BYTES]] = True
    zigzag = content[starts].astype(np.int64) & 127
    for place in range(1, MOST_BYTES):
        longer = np.flatnonzero(long >= place)
        zigzag[longer] |= (content[starts[longer] + place].astype(np.int64) & 127) << (7 * place)
    values, skips = zigzag >> 1, (zigzag & 1).astype(bool)
    # No more than all buckets at once, so that the sums of what is damaged fit in 64 bits.
    steps = np.where(skips, np.minimum(values + 1, BUCKETS + 1), 1)
    before = np.append(0, np.cumsum(steps))
    buckets = before[:-1] - before[np.append(0, until[:-1])[: len(packed)]][owners]
    counted = ~skips
    owners, buckets, counts = owners[counted], buckets[counted], values[counted]
    damaged[owners[buckets >= BUCKETS]] = True
    bounds = np.searchsorted(owners, np.arange(len(packed) + 1))
    sums = np.append(0, np.cumsum(counts))  # may wrap around, and the differences then back again
    samples = sums[bounds[1:]] - sums[bounds[:-1]]
    return _Counts(bounds.tolist(), buckets, counts, samples.tolist(), damaged.tolist())
