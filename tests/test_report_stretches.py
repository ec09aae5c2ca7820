"""What differences between stretches of time say of a share of right answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.report.stretches import blocks_for, effective_answers, student
from edge.stats import wilson

FRAMES = 600


@pytest.mark.parametrize(("freedom", "t"), [(7, 2.364624), (9, 2.262157), (29, 2.045230), (1000, 1.962339)])
def test_student_t_is_that_of_the_tables(freedom, t):
    assert student(freedom) == pytest.approx(t, rel=1e-3)


@given(st.integers(0, 100_000))
def test_blocks_grow_longer_with_their_number(windows):
    blocks = blocks_for(windows)
    assert min(windows, 8) <= blocks <= min(windows, 30)
    assert blocks <= blocks_for(windows + 1)


def scenes(random, minutes, long, level=0.85):
    """Right answers of each minute, where accuracy differs from one scene of so many minutes to the next."""
    levels = np.repeat(random.beta(8 * level, 8 * (1 - level), minutes // long), long)
    return random.binomial(FRAMES, levels).astype(float)


@pytest.mark.parametrize("long", [1, 10])
def test_the_interval_holds_what_is_true_where_scenes_differ(long):
    random = np.random.default_rng(long)
    total, held, by_frames = np.full(400, float(FRAMES)), 0, 0
    for _ in range(200):
        right = scenes(random, 400, long)
        share = right.sum() / total.sum()
        stretches, effective = effective_answers(right, total)
        low, high = wilson(share * effective, effective)
        held += low <= 0.85 <= high
        low, high = wilson(share * total.sum(), total.sum())
        by_frames += low <= 0.85 <= high
        assert stretches == 20
    assert held >= 0.9 * 200 > 0.5 * 200 > by_frames


def test_answers_that_are_independent_count_nearly_all():
    random = np.random.default_rng(3)
    total = np.full(900, float(FRAMES))
    told = [effective_answers(random.binomial(FRAMES, 0.85, 900).astype(float), total)[1] for _ in range(50)]
    assert np.median(told) == pytest.approx(900 * FRAMES, rel=0.25)


def test_what_does_not_vary_counts_as_stretches():
    assert effective_answers(np.full(100, 5.0), np.full(100, 5.0)) == (10, 10)
    assert effective_answers(np.zeros(3), np.array([2.0, 0.0, 2.0])) == (2, 2)
    assert effective_answers(np.zeros(0), np.zeros(0)) == (0, 0)


def test_weights_that_were_rounded_differently_are_all_right():
    total = np.full(9, 0.1)
    assert effective_answers(np.array([0.3 / 3] * 9), total) == (8, 8)
