"""A histogram's counts as bytes, and back; `edge.histogram` tells the layout."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.histogram.buckets import BUCKETS, HIGHEST_NS, LOWEST_NS, SIGNIFICANT_DIGITS

HDR_OFFSET = 32
_OURS = struct.Struct(">I12sqq")
_OUTER = struct.Struct(">II")
_INNER = struct.Struct(">IIIIQQd")
_OUTER_COOKIE = 0x1C849304 | 0x10
_INNER_COOKIE = 0x1C849303 | 0x10
MOST_BYTES = 7
"""Of an integer; more is damage, and could make the sum of all counts exceed 64 bits."""
_MOST_INFLATED_BYTES = _INNER.size + 9 * BUCKETS


class Opened(NamedTuple):
    """An encoded histogram whose counts are still packed."""

    packed: bytes
    """See `unpack_counts`."""
    sum_ns: int
    min_ns: int
    """0 when empty."""
    max_ns: int
    """0 when empty."""

    def holds(self, samples: int) -> bool:
        """Whether so many samples can be what the rest tells of."""
        return 0 <= self.min_ns * samples <= self.sum_ns <= self.max_ns * samples


def to_bytes(counts: NDArray[np.int64], sum_ns: int, min_ns: Optional[int], max_ns: Optional[int]) -> bytes:
    """A histogram as bytes.

    Args:
        counts: shape (BUCKETS,).
        sum_ns: of all samples.
        min_ns: None when empty.
        max_ns: None when empty.
    """
    body = _packed_counts(counts)
    inner = _INNER.pack(_INNER_COOKIE, len(body), 0, SIGNIFICANT_DIGITS, LOWEST_NS, HIGHEST_NS, 1.0)
    compressed = zlib.compress(inner + body)
    ours = _OURS.pack(0, sum_ns.to_bytes(12, "big"), min_ns or 0, max_ns or 0)
    rest = ours[4:] + _OUTER.pack(_OUTER_COOKIE, len(compressed)) + compressed
    return zlib.crc32(rest).to_bytes(4, "big") + rest


def opened(encoded: bytes) -> Opened:
    """Check and inflate an encoded histogram.

    Raises:
        ValueError: the bytes are damaged, or no such histogram.
    """
    if len(encoded) < HDR_OFFSET + _OUTER.size:
        raise ValueError(f"{len(encoded)} bytes are no histogram: it is cut short.")
    check, sum_bytes, min_ns, max_ns = _OURS.unpack_from(encoded)
    if zlib.crc32(memoryview(encoded)[4:]) != check:
        raise ValueError(f"{len(encoded)} bytes are no histogram: their checksum differs.")
    return Opened(_inflated(encoded), int.from_bytes(sum_bytes, "big"), min_ns, max_ns)


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


def unpack_counts(packed: bytes, counts: memoryview) -> int:
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
    """An integer of two to `MOST_BYTES` bytes."""
    value = first & 127
    for shift, byte in zip(range(7, 7 * MOST_BYTES, 7), following):
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("no histogram: one of its counts does not end.")
