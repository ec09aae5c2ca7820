"""Histograms against the samples themselves, and against the package `hdrhistogram`."""

import base64
import random
import statistics
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import stats
from edge.histogram import BUCKETS, HDR_OFFSET, Histogram, middles_ns

HOUR_NS = 3600 * 10**9
LARGEST = 2**63 - 1

within_ns = st.one_of(st.integers(0, 10**6), st.integers(10**6, 10**9), st.integers(0, HOUR_NS))
durations_ns = st.lists(st.one_of(within_ns, st.integers(0, LARGEST)), max_size=100)
# A seed and a scale instead of a list: percentiles need hundreds of samples.
many_ns = st.builds(
    lambda seed, size, typical_ns, spread: [
        min(HOUR_NS, int(random.Random(seed * 5000 + number).lognormvariate(0, spread) * typical_ns))
        for number in range(size)
    ],
    st.integers(0, 10**6),
    st.integers(1, 1000),
    st.integers(1, 10**10),
    st.floats(0, 3),
)


def of(values_ns):
    histogram = Histogram()
    histogram.add(values_ns)
    return histogram


def sealed(rest):
    """Bytes with the checksum that makes them look undamaged."""
    return struct.pack(">I", zlib.crc32(rest)) + rest


def with_counts(packed, samples=0, value_ns=0, layout=(2, 1000, HOUR_NS, 1.0)):
    """An encoded histogram of so many samples of one value whose counts are these bytes."""
    inner = struct.pack(">IIIIQQd", 0x1C849313, len(packed), 0, *layout) + packed
    return with_compressed(zlib.compress(inner), samples, value_ns)


def with_compressed(compressed, samples=0, value_ns=0):
    ours = (samples * value_ns).to_bytes(12, "big") + struct.pack(">qq", value_ns, value_ns)
    return sealed(ours + struct.pack(">II", 0x1C849314, len(compressed)) + compressed)


@given(durations_ns)
def test_number_sum_and_extremes_are_exact(values_ns):
    histogram = of(values_ns)
    assert histogram.samples == len(values_ns) == histogram.counts.sum()
    assert histogram.sum_ns == sum(values_ns)
    assert histogram.min_ns == min(values_ns, default=None)
    assert histogram.max_ns == max(values_ns, default=None)


@given(durations_ns, st.data())
def test_samples_merge_as_if_they_had_been_added_together(values_ns, data):
    parts = [Histogram() for _ in range(data.draw(st.integers(1, 4)))]
    for value_ns in values_ns:
        data.draw(st.sampled_from(parts)).add([value_ns])
    merged = Histogram()
    for part in data.draw(st.permutations(parts)):
        merged.merge(part)
    assert merged == of(values_ns)


@given(durations_ns, durations_ns)
def test_to_add_is_to_merge(first_ns, second_ns):
    added, merged = of(first_ns), of(first_ns)
    added.add(np.asarray(second_ns, np.int64))
    merged.merge(of(second_ns))
    assert added == merged == of(second_ns + first_ns)


def test_merging_leaves_the_other_as_it_was():
    one, other = of([1, 2]), of([3])
    one.merge(other)
    one.merge(one)
    assert other == of([3])
    assert one == of([1, 2, 3, 1, 2, 3])


@given(many_ns, many_ns)
def test_percentiles_are_those_of_the_samples_within_their_buckets_width(first_ns, second_ns):
    histogram, values_ns = of(first_ns), first_ns + second_ns
    histogram.merge(of(second_ns))
    for fraction in stats.PERCENTILES.values():
        told_ns, exact_ns = histogram.percentile(fraction), stats.percentile(values_ns, fraction)
        assert (told_ns is None) == (exact_ns is None)
        if exact_ns is not None:
            assert abs(told_ns - exact_ns) <= max(256, exact_ns / 256)
            assert exact_ns < 25_600 or abs(told_ns - exact_ns) <= exact_ns / 100


@given(many_ns)
def test_summary_is_that_of_the_samples(values_ns):
    told, exact = of(values_ns).summary(), stats.summary(values_ns)
    assert (told.min, told.max) == (exact.min, exact.max)
    assert told.mean == pytest.approx(statistics.fmean(values_ns) / 1e6, rel=1e-9, abs=1e-4)
    # Each value is moved to its bucket's middle, which changes the deviation by no more than the largest move.
    largest_move_ms = max(256, max(values_ns) / 256) / 1e6
    assert (told.std is None) == (exact.std is None)
    assert told.std is None or abs(told.std - exact.std) <= 1.5 * largest_move_ms + 1e-4
    for name in stats.PERCENTILES:
        told_ms, exact_ms = getattr(told, name), getattr(exact, name)
        assert told_ms == exact_ms is None or told_ms == pytest.approx(exact_ms, rel=0.01, abs=0.0004)


def test_equal_samples_have_no_deviation_and_are_told_exactly():
    told = of([20_000_123] * 700).summary()
    assert (told.std, told.p50, told.p99, told.p999) == (0.0, 20.0001, 20.0001, None)


def test_nothing_is_told_of_no_samples():
    histogram = of([])
    assert histogram.summary() == stats.summary([])
    assert (histogram.percentile(0.5), histogram.buckets(), histogram.min_ns) == (None, [], None)


@given(st.lists(within_ns, max_size=100))
def test_buckets_hold_each_sample_once_below_its_upper_end(values_ns):
    buckets = of(values_ns).buckets()
    ends_ns = [end_ns for end_ns, _ in buckets]
    assert ends_ns == sorted(set(ends_ns))
    seen = 0
    for end_ns, count in buckets:
        seen += count
        assert count > 0
        assert seen == sum(value_ns <= end_ns for value_ns in values_ns)


def test_middles_are_counted_in_their_own_bucket():
    assert middles_ns().shape == (BUCKETS,)
    assert (of(middles_ns()).counts == 1).all()


@pytest.mark.parametrize("bucket", [0, 1, 127, 128, 255, 256, 257, 383, 384, BUCKETS - 1])
def test_a_bucket_ends_where_the_next_begins(bucket):
    one = Histogram()
    one.add([middles_ns()[bucket]])
    ((end_ns, _),) = one.buckets()
    at, above = of([end_ns]).counts, of([end_ns + 1]).counts
    assert at[bucket] == 1
    assert above[min(bucket + 1, BUCKETS - 1)] == 1


def test_zero_is_counted_in_the_first_bucket_and_what_is_above_the_last_in_the_last():
    histogram = of([0, 4 * HOUR_NS, LARGEST])
    assert (histogram.counts[0], histogram.counts[-1]) == (1, 2)
    assert histogram.max_ns == LARGEST


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.uint64])
def test_any_kind_of_integer_is_a_duration(dtype):
    assert of(np.array([1, 100], dtype)) == of([1, 100])


@pytest.mark.parametrize("values_ns", [[5, -1], [-(2**63)], [1.5], [True], [2**63], [2**64], ["1"], [None]])
def test_what_is_no_duration_is_refused_and_nothing_counted(values_ns):
    histogram = of([7])
    with pytest.raises(ValueError, match="durations are integers from 0"):
        histogram.add(values_ns)
    assert histogram == of([7])


def test_counts_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        of([1]).counts[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        middles_ns()[0] = 5


def test_histograms_are_equal_by_what_they_hold():
    assert of([1]) != of([2])
    assert of([1]) != 1
    assert repr(of([1, 5])) == "Histogram(2 samples, 1 to 5 ns)"


@given(durations_ns)
def test_bytes_bring_back_the_same(values_ns):
    histogram = of(values_ns)
    decoded = Histogram.decode(histogram.encode())
    assert decoded == histogram
    decoded.add([1])
    assert decoded == of([*values_ns, 1])


@pytest.mark.parametrize("count", [1, 63, 64, 8191, 8192, 2**20, 2**20 + 1])
def test_counts_of_any_size_come_back(count):
    histogram = of(np.full(count, 5 * 10**6))
    assert Histogram.decode(histogram.encode()) == histogram
    for _ in range(20):
        histogram.merge(histogram)
    assert Histogram.decode(histogram.encode()) == histogram
    assert histogram.samples == count << 20


def test_the_fullest_histogram_comes_back():
    histogram = of(np.repeat(middles_ns(), 3))
    assert Histogram.decode(histogram.encode()) == histogram


def test_a_minute_at_thirty_frames_a_second_takes_few_bytes():
    generator = np.random.default_rng(0)
    values_ns = generator.lognormal(np.log(20e6), 0.06, 1800).astype(np.int64)
    assert len(of(values_ns).encode()) < 200


@given(durations_ns, st.data())
def test_damaged_bytes_are_refused(values_ns, data):
    encoded = of(values_ns).encode()
    with pytest.raises(ValueError, match="no histogram"):
        Histogram.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    flipped = bytearray(encoded)
    flipped[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="no histogram"):
        Histogram.decode(bytes(flipped))
    with pytest.raises(ValueError, match="no histogram"):
        Histogram.decode(encoded + data.draw(st.binary(min_size=1)))


@given(st.binary(max_size=200))
def test_any_bytes_are_no_histogram(encoded):
    for each in (encoded, sealed(encoded), with_compressed(encoded)):
        with pytest.raises(ValueError, match="no histogram"):
            Histogram.decode(each)


@given(durations_ns, st.data())
def test_bytes_of_a_right_checksum_are_a_histogram_or_refused(values_ns, data):
    flipped = bytearray(of(values_ns).encode()[4:])
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= data.draw(st.integers(1, 255))
    usable_or_refused(sealed(bytes(flipped)))


@given(st.binary(max_size=60), st.integers(0, 2**40), st.integers(0, 2**50))
def test_any_counts_are_a_histogram_or_refused(packed, samples, value_ns):
    usable_or_refused(with_counts(packed, samples, value_ns))
    usable_or_refused(with_counts(packed))


def usable_or_refused(encoded):
    try:
        histogram = Histogram.decode(encoded)
    except ValueError:
        return
    histogram.summary()
    histogram.buckets()
    assert Histogram.decode(histogram.encode()) == histogram


ONE_SAMPLE = b"\x02"
MINUS_1728 = b"\xff\x1a"


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (with_counts(MINUS_1728 * 2 + ONE_SAMPLE, 1), "more than 3456 counts"),
        (with_counts(ONE_SAMPLE * 3457, 3457), "more than 3456 counts"),
        (with_counts(b"\x80"), "does not end"),
        (with_counts(b"\xfe" * 7 + b"\x01", 2**49), "does not end"),
        (with_counts(ONE_SAMPLE, 2, 5), "1 samples of 5 to 5 ns cannot sum to 10 ns"),
        (with_counts(b"", 2, 5), "0 samples of 5 to 5 ns cannot sum to 10 ns"),
        (with_counts(b"", layout=(3, 1000, HOUR_NS, 1.0)), "another layout"),
        (with_counts(b"", layout=(2, 1, HOUR_NS, 1.0)), "another layout"),
        (with_compressed(zlib.compress(b"short")), "inflate to 5 bytes"),
    ],
)
def test_a_refusal_tells_why(encoded, why):
    with pytest.raises(ValueError, match=f"histogram.*{why}"):
        Histogram.decode(encoded)


def test_counts_that_inflate_without_end_take_no_memory():
    encoded = with_compressed(zlib.compress(bytes(10**7)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="no histogram"):
            Histogram.decode(encoded)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10**6


@pytest.fixture(scope="module")
def original():
    """Makes a histogram of samples with the package `hdrhistogram`."""
    package = pytest.importorskip(
        "hdrh.histogram", reason="hdrhistogram is not installed: it has no wheel for 64-bit ARM"
    )

    def recorded(values_ns=()):
        histogram = package.HdrHistogram(1000, HOUR_NS, 2)
        for value_ns in values_ns:
            assert histogram.record_value(value_ns)
        return histogram

    return recorded


@given(st.lists(within_ns, max_size=50))
def test_the_original_counts_the_same(original, values_ns):
    ours, theirs = of(values_ns), original(values_ns)
    assert theirs.counts_len == BUCKETS
    assert ours.counts.tolist() == list(theirs.counts)


def test_the_original_has_the_same_ends_and_middles(original):
    ours, theirs = of(middles_ns()), original()
    lowest_ns = [theirs.get_value_from_index(index) for index in range(BUCKETS)]
    assert [end_ns for end_ns, _ in ours.buckets()] == [theirs.get_highest_equivalent_value(low) for low in lowest_ns]
    assert middles_ns().tolist() == [theirs._hdr_median_equiv_value(low) for low in lowest_ns]


@given(st.lists(within_ns, max_size=50))
def test_the_original_reads_what_is_written_here_and_is_read(original, values_ns):
    ours, theirs = of(values_ns), original(values_ns)
    encoded = ours.encode()
    read = type(theirs).decode(base64.b64encode(encoded[HDR_OFFSET:]))
    assert list(read.counts) == list(theirs.counts)
    assert read.get_total_count() == len(values_ns)
    assert Histogram.decode(sealed(encoded[4:HDR_OFFSET] + base64.b64decode(theirs.encode()))) == ours
