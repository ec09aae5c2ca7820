"""Many histograms decoded at once are what each is by itself."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.histogram import BUCKETS, HDR_OFFSET, Histogram, decode_many

durations_ns = st.lists(st.one_of(st.integers(0, 10**6), st.integers(0, 2**63 - 1)), max_size=30)
whole_ns = st.builds(lambda values, times: values * times, durations_ns, st.sampled_from([1, 1, 1, 100]))


def encoded(values_ns):
    histogram = Histogram()
    histogram.add(values_ns)
    return histogram.encode()


def with_body(packed, sum_ns=0, min_ns=0, max_ns=0):
    """A histogram whose checksum is right, whatever its counts are packed as."""
    inner = struct.pack(">IIIIQQd", 0x1C849303 | 0x10, len(packed), 0, 2, 1_000, 3_600 * 10**9, 1.0) + packed
    compressed = zlib.compress(inner)
    rest = sum_ns.to_bytes(12, "big") + struct.pack(">qqII", min_ns, max_ns, 0x1C849304 | 0x10, len(compressed))
    return zlib.crc32(rest + compressed).to_bytes(4, "big") + rest + compressed


def one_by_one(each):
    try:
        return Histogram.decode(each)
    except ValueError:
        return None


def at_once(some):
    taken = []
    for sparse in decode_many(some):
        histogram = Histogram()
        if sparse is not None:
            histogram.take(sparse)
        taken.append(None if sparse is None else histogram)
    return taken


packed_bytes = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([b"\x02", b"\x80", b"\xff\xff\xff\xff\xff\xff\x7f", b"\x80\x00", b"\xff\x35", b"\xfd\x35"])
    ).map(b"".join),
)
loose = st.one_of(
    st.builds(with_body, packed_bytes, st.sampled_from([0, 5, 10**12]), st.just(0), st.sampled_from([0, 10**10])),
    st.builds(lambda values, cut: encoded(values)[:cut], durations_ns, st.integers(0, 60)),
    st.binary(max_size=80),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(whole_ns.map(encoded), loose), max_size=8))
def test_they_are_what_each_is_by_itself(some) -> None:
    assert at_once(some) == [one_by_one(each) for each in some]


@given(st.lists(whole_ns, max_size=8))
def test_taken_into_one_they_are_merged(several) -> None:
    merged, taken = Histogram(), Histogram()
    for values in several:
        merged.merge(Histogram.decode(encoded(values)))
    for sparse in decode_many([encoded(values) for values in several]):
        taken.take(sparse)
    assert taken == merged


@pytest.mark.parametrize(
    ("packed", "fits"),
    [
        (bytes([2]) * BUCKETS, True),
        (bytes([2]) * (BUCKETS + 1), False),
        (b"\xff\x35\x02", False),  # skips 3,456 and counts in the bucket after the last
        (b"\xfd\x35\x02", True),
        (b"\xff\xff\xff\xff\xff\xff\x7f" * 40, True),  # skips very far, and counts nothing
        (b"\xff\xff\xff\xff\xff\xff\x7f" * 40 + b"\x02", False),
        (b"\x82\x80\x80\x80\x80\x80\x80\x00", False),  # eight bytes of one integer
        (b"\x82\x80\x80\x80\x80\x80\x00", True),
        (b"\x02\x82", False),  # an integer that does not end
    ],
)
def test_damage_stays_in_its_own_histogram(packed, fits) -> None:
    before, after = encoded([5, 10**6]), encoded([10**9] * 300)
    damaged = with_body(packed, 10**9, 0, 2**62) if packed[-1] != 0x7F else with_body(packed)
    assert (one_by_one(damaged) is not None) == fits
    assert at_once([before, damaged, b"", after]) == [one_by_one(each) for each in (before, damaged, b"", after)]
    assert at_once([before, damaged[:HDR_OFFSET], after])[1] is None


def test_of_none_there_are_none() -> None:
    assert decode_many([]) == []
    (empty,) = decode_many([encoded([])])
    assert (empty.samples, empty.buckets.size) == (0, 0)
    assert empty.counts.dtype == np.int64
