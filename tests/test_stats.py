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
