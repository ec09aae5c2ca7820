"""Statistics against the definitions of NumPy, SciPy and the published figures."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from edge import stats
from edge.records import Timings

durations_ns = st.lists(st.integers(0, 10**11), min_size=1, max_size=1500)
fractions = st.sampled_from([0.07, 0.5, 0.9, 0.95, 0.99, 0.999])


@pytest.mark.parametrize(("fraction", "least"), [(0.9, 64), (0.99, 662)])
def test_minimum_samples_are_those_of_mlperf(fraction, least):
    assert stats.minimum_samples(fraction) == least


@given(fractions, st.sampled_from([0.9, 0.95, 0.99]))
def test_minimum_samples_is_the_smallest_that_holds(fraction, confidence):
    least = stats.minimum_samples(fraction, confidence)
    assert reference.binom.cdf(1, least, 1 - fraction) <= 1 - confidence
    assert least == 2 or reference.binom.cdf(1, least - 1, 1 - fraction) > 1 - confidence


@given(durations_ns, st.integers(1, 1000))
def test_nearest_rank_is_the_smallest_sample_with_enough_at_or_below(samples, permille):
    fraction = permille / 1000
    value = stats.nearest_rank(samples, fraction)
    assert value in samples
    assert sum(sample <= value for sample in samples) * 1000 >= permille * len(samples)
    assert sum(sample < value for sample in samples) * 1000 < permille * len(samples)


@given(durations_ns, fractions)
def test_percentile_agrees_with_numpy_or_refuses(samples, fraction):
    value = stats.percentile(samples, fraction)
    if len(samples) < stats.minimum_samples(fraction):
        assert value is None
    else:
        above = np.quantile(samples, fraction, method="inverted_cdf")
        # NumPy's rank is off by one where fraction * n is not exact in binary
        assert value == above or (fraction * len(samples)) % 1 < 1e-9 or (fraction * len(samples)) % 1 > 1 - 1e-9


def test_rank_is_exact_where_binary_fractions_are_not():
    assert 0.07 * 100 > 7
    assert stats.nearest_rank(range(1, 101), 0.07) == 7


@given(durations_ns)
def test_summary_agrees_with_the_statistics_module(samples):
    told = stats.summary(samples)
    assert told.mean == pytest.approx(statistics.fmean(samples) / 1e6, abs=1e-4)
    assert told.min == pytest.approx(min(samples) / 1e6, abs=1e-4)
    assert told.max == pytest.approx(max(samples) / 1e6, abs=1e-4)
    if len(samples) > 1:
        assert told.std == pytest.approx(statistics.stdev(samples) / 1e6, rel=1e-9, abs=1e-4)
    else:
        assert told.std is None
    known = [value for value in (told.p50, told.p90, told.p95, told.p99, told.p999) if value is not None]
    assert [told.min, *known, told.max] == sorted([told.min, *known, told.max])


@pytest.mark.parametrize("count", [0, 1, 10, 11, 63, 64, 129, 130, 661, 662, 10_000])
def test_a_percentile_is_missing_exactly_when_there_is_a_reason(count):
    told, reasons = stats.summary(list(range(count))), stats.insufficient(count)
    for name in stats.PERCENTILES:
        assert (getattr(told, name) is None) == (name in reasons)
    if count == 63:
        assert reasons["p90"] == "insufficient (63 of 64 samples)"


def test_summary_of_nothing_is_nothing_and_not_zero():
    told = stats.summary([])
    assert all(getattr(told, name) is None for name in told.__struct_fields__)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))), fractions)
def test_wilson_agrees_with_scipy(counts, confidence):
    successes, total = counts
    expected = reference.binomtest(successes, total).proportion_ci(confidence, method="wilson")
    low, high = stats.wilson(successes, total, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= successes / total <= high <= 1


def test_wilson_of_no_trials_is_unknown():
    assert stats.wilson(0, 0) is None


@pytest.mark.parametrize("given_", [(-1, 4, 0.95), (5, 4, 0.95), (1, 4, 1.0)])
def test_wilson_refuses_what_is_not_a_proportion(given_):
    with pytest.raises(ValueError, match="not a proportion"):
        stats.wilson(*given_)


shares = st.tuples(st.floats(0, 1), st.floats(1, 1e6))
weights = st.lists(st.tuples(st.floats(1e-3, 1e6), st.booleans()), min_size=1, max_size=60)


def sums(samples):
    """Sum of the weights of those that are right, of all weights, and of their squares."""
    return (
        sum(weight for weight, right in samples if right),
        sum(weight for weight, _ in samples),
        sum(weight * weight for weight, _ in samples),
    )


@given(weights)
def test_effective_samples_lie_between_one_and_their_number(samples):
    _, total, squares = sums(samples)
    assert 1 <= stats.effective_samples(total, squares) <= len(samples) * (1 + 1e-9)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(1e-3, 1e6))
def test_equal_weights_weigh_nothing(counts, weight):
    right, total = counts
    interval = stats.wilson_weighted(right * weight, total * weight, total * weight**2, 0.9)
    assert interval == pytest.approx(stats.wilson(right, total, 0.9), abs=1e-9)


@given(weights, st.floats(1e-3, 1e3), st.randoms())
def test_weighted_interval_holds_the_share_whatever_the_scale_and_order(samples, scale, order):
    right, total, squares = sums(samples)
    low, high = stats.wilson_weighted(right, total, squares)
    assert 0 <= low <= right / total + 1e-9
    assert right / total - 1e-9 <= high <= 1
    shuffled = [(weight * scale, right) for weight, right in samples]
    order.shuffle(shuffled)
    assert stats.wilson_weighted(*sums(shuffled)) == pytest.approx((low, high), abs=1e-6)


@given(weights)
def test_unequal_weights_never_make_an_interval_narrower(samples):
    right, total, squares = sums(samples)
    low, high = stats.wilson_weighted(right, total, squares)
    equal_low, equal_high = stats.wilson(min(1.0, right / total) * len(samples), len(samples))
    assert low <= equal_low + 1e-9
    assert equal_high <= high + 1e-9


def test_all_right_is_all_right_however_their_sum_was_rounded():
    right, total = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    assert right > total
    low, high = stats.wilson_weighted(right, total, 0.14)
    assert (low, high) == pytest.approx(stats.wilson(18 / 7, 18 / 7))


def test_interval_of_no_weights_is_unknown():
    assert stats.wilson_weighted(0, 0, 0) is None
    assert stats.effective_samples(0, 0) == 0


@pytest.mark.parametrize(
    "sums_", [(0, 0, 1), (0, 1, 0), (0, -1, 1), (0, 2, 5), (3, 2, 2), (-1, 2, 2), (0, math.nan, 1), (0, math.inf, 1)]
)
def test_weights_that_cannot_be_are_refused(sums_):
    with pytest.raises(ValueError, match=r"no weights sum|not a proportion"):
        stats.wilson_weighted(*sums_)


# R. G. Newcombe, Statistics in Medicine 17 (1998), table II, method 10: of the first share minus the second.
@pytest.mark.parametrize(
    ("first", "second", "interval"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_agrees_with_his_examples(first, second, interval):
    assert stats.newcombe(*second, *first) == pytest.approx(interval, abs=5e-5)


@given(shares, shares, fractions)
def test_newcombe_holds_the_difference_and_turns_with_it(first, second, confidence):
    (share_a, total_a), (share_b, total_b) = first, second
    a, b = (share_a * total_a, total_a), (share_b * total_b, total_b)
    low, high = stats.newcombe(*a, *b, confidence)
    assert -1 <= low <= share_b - share_a + 1e-9
    assert share_b - share_a - 1e-9 <= high <= 1
    assert stats.newcombe(*b, *a, confidence) == pytest.approx((-high, -low), abs=1e-9)


@given(shares, st.floats(1, 1e6), fractions)
def test_newcombe_against_what_is_known_is_wilson(first, certain, confidence):
    share, total = first
    low, high = stats.newcombe(0, certain * 1e12, share * total, total, confidence)
    assert (low, high) == pytest.approx(stats.wilson(share * total, total, confidence), abs=1e-6)


def test_newcombe_without_trials_is_unknown():
    assert stats.newcombe(0, 0, 1, 2) is None
    assert stats.newcombe(1, 2, 0, 0) is None


@pytest.mark.parametrize("counts", [(3, 2, 1, 2), (1, 2, 3, 2), (-1, 2, 1, 2), (1, 2, 1, math.inf)])
def test_newcombe_refuses_what_is_not_a_proportion(counts):
    with pytest.raises(ValueError, match="not a proportion"):
        stats.newcombe(*counts)


@pytest.mark.parametrize("fraction", [0.0, 1.0, math.nan])
def test_minimum_samples_refuses_what_is_not_a_fraction(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        stats.minimum_samples(fraction)


@given(st.integers(1, 200), st.integers(0, 500))
def test_window_keeps_the_last_frames(capacity, count):
    window = stats.Window(capacity)
    for number in range(count):
        window.add(Timings(1_000_000 * number, 2_000_000 * number, 3_000_000 * number, 4_000_000 * number))
    kept = range(max(0, count - capacity), count)
    assert (len(window), window.added) == (len(kept), count)
    live, summaries = window.live(), window.summaries()
    for name, factor in {"wait": 1, "preprocess": 2, "invoke": 3, "postprocess": 4, "age": 10}.items():
        expected = stats.summary([1_000_000 * factor * number for number in kept])
        assert summaries[name] == expected
        assert (live[name].p50, live[name].p90) == (expected.p50, expected.p90)
