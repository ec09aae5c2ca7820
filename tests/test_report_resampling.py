"""Intervals of a difference of medians, against distributions whose medians are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.histogram import Histogram, middles_ns
from edge.report.comparison.resampling import (
    blocks_of,
    difference_of_medians,
    median_ns,
    medians_ns,
    tail,
)
from edge.stats import nearest_rank


def blocks(samples_ns):
    """A block of each array of durations."""
    counts = []
    for each in samples_ns:
        histogram = Histogram()
        histogram.add(np.asarray(each, np.int64))
        counts.append(histogram.counts)
    return blocks_of(np.array(counts), middles_ns())


def minutes(random, count, slower=1.0, spread=0.0, frames=200):
    factors = slower * (1 + spread * random.standard_normal(count))
    return [random.lognormal(np.log(15e6 * factor), 0.18, frames) for factor in factors]


@given(st.lists(st.lists(st.integers(0, 10**10), min_size=1, max_size=20), min_size=1, max_size=8))
def test_the_median_of_blocks_is_that_of_all_samples(samples_ns):
    expected = nearest_rank([each for block in samples_ns for each in block], 0.5)
    assert median_ns(blocks(samples_ns)) == pytest.approx(expected, rel=0.004, abs=256)


def test_a_block_counts_as_often_as_it_is_drawn():
    told = blocks([[1_000_000] * 3, [], [9_000_000] * 4])
    drawn = medians_ns(told, np.array([[1.0, 1.0], [2.0, 0.0], [3.0, 2.0], [0.0, 2.0]]))
    assert drawn == pytest.approx([9e6, 1e6, 1e6, 9e6], rel=0.004)


def test_nothing_makes_no_blocks():
    assert blocks_of(np.zeros((3, len(middles_ns())), np.int64), middles_ns()) is None


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    random = np.random.default_rng(3)
    held = 0
    for _ in range(60):
        told = difference_of_medians(
            blocks(minutes(random, 10, spread=0.05)), blocks(minutes(random, 10, 1.1, spread=0.05)), resamples=500
        )
        held += told.difference_ns.low <= 1.5e6 <= told.difference_ns.high
    assert held >= 54


def test_blocks_that_differ_widen_the_interval_against_samples_that_are_independent():
    random = np.random.default_rng(4)
    drifting = [15e6 * (0.8 + 0.4 * place / 20) * random.lognormal(0, 0.02, 200) for place in range(20)]
    shuffled = random.permutation(np.concatenate(drifting)).reshape(20, 200)
    wide, narrow = (
        difference_of_medians(blocks(each), blocks(minutes(random, 20))).difference_ns for each in (drifting, shuffled)
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_swapped_sides_are_mirrored_and_the_same_record_is_drawn_twice():
    random = np.random.default_rng(5)
    a, b = blocks(minutes(random, 9, spread=0.1)), blocks(minutes(random, 15, spread=0.1))
    forth, back = difference_of_medians(a, b), difference_of_medians(b, a)
    value, low, high = forth.difference_ns
    assert back.difference_ns == pytest.approx((-value, -high, -low))
    same = difference_of_medians(a, a).difference_ns
    assert same.value == 0
    assert same.high - same.low > (high - low) / 2


def test_an_interval_is_never_narrower_than_the_buckets():
    constant = blocks([[15_000_000] * 50] * 10), blocks([[15_400_000] * 50] * 10)
    told = difference_of_medians(*constant)
    assert told.difference_ns.low < 400_000 < told.difference_ns.high
    assert told.resolution_ns == pytest.approx(0.01 * 15.4e6, rel=0.01)


def test_durations_of_nothing_have_no_ratio_but_an_interval():
    told = difference_of_medians(blocks([[0] * 20] * 8), blocks([[200] * 20] * 8))
    assert told.difference_ns.value == 0
    assert told.resolution_ns >= 512


def test_less_is_left_out_at_the_ends_where_there_are_few_blocks():
    assert 0.004 < tail(7) < 0.007 < tail(29) < tail(1e9) == pytest.approx(0.025)
