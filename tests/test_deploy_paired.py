"""The interval of a difference between two dependent shares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.verification.paired import paired_difference

tables = st.tuples(*[st.integers(0, 400)] * 4).filter(any)

# Newcombe (1998), table III, rows of method 10.
PUBLISHED = {
    (36, 12, 2, 0): (0.0569, 0.3404),
    (20, 12, 2, 16): (0.0562, 0.3292),
    (18, 12, 2, 18): (0.0562, 0.3290),
    (36, 14, 0, 0): (0.1528, 0.4167),
    (35, 14, 0, 1): (0.1461, 0.4175),
    (18, 14, 0, 18): (0.1441, 0.3963),
    (2, 97, 1, 0): (0.8721, 0.9854),
    # Fagerland, Lydersen, Laake: Statistical Analysis of Contingency Tables (2017), chapter 8 (Cavo and others, 2012)
    (59, 6, 16, 80): (-0.1186, -0.0046),
}


@pytest.mark.parametrize(("counts", "ends"), PUBLISHED.items())
def test_the_published_examples(counts: tuple[int, int, int, int], ends: tuple[float, float]) -> None:
    assert paired_difference(*counts) == pytest.approx(ends, abs=6e-5)


@given(tables)
def test_the_estimate_lies_inside_and_the_ends_are_differences(table: tuple[int, int, int, int]) -> None:
    _, only_first, only_second, _ = table
    low, high = paired_difference(*table)
    assert -1 <= low <= (only_first - only_second) / sum(table) <= high <= 1
    assert low < high


@given(tables)
def test_swapping_the_models_turns_the_interval_round(table: tuple[int, int, int, int]) -> None:
    both, only_first, only_second, neither = table
    low, high = paired_difference(*table)
    assert paired_difference(both, only_second, only_first, neither) == pytest.approx((-high, -low), abs=1e-12)


@given(tables, st.sampled_from([0.5, 0.8, 0.9, 0.99]))
def test_more_confidence_is_wider(table: tuple[int, int, int, int], confidence: float) -> None:
    low, high = paired_difference(*table, confidence)
    wide_low, wide_high = paired_difference(*table, (1 + confidence) / 2)
    assert wide_low <= low + 1e-12
    assert high <= wide_high + 1e-12


@given(st.integers(1, 400), st.integers(1, 20), st.integers(1, 20), st.integers(0, 40))
def test_knowing_the_pairs_narrows_it_when_the_models_agree(both: int, first: int, second: int, neither: int) -> None:
    low, high = paired_difference(both, first, second, neither)
    if both * neither > first * second:
        low0, high0 = _as_if_independent(both + first, both + second, both + first + second + neither)
        assert low0 - 1e-9 <= low
        assert high <= high0 + 1e-9


def _as_if_independent(first: int, second: int, total: int) -> tuple[float, float]:
    """Newcombe's interval for independent shares, which is the same without the correlation."""
    from edge.stats import wilson

    one, other = wilson(first, total), wilson(second, total)
    assert one is not None
    assert other is not None
    share1, share2 = first / total, second / total
    low = share1 - share2 - ((share1 - one[0]) ** 2 + (other[1] - share2) ** 2) ** 0.5
    return low, share1 - share2 + ((one[1] - share1) ** 2 + (share2 - other[0]) ** 2) ** 0.5


def test_models_that_never_differ_still_leave_doubt_and_the_less_the_more_pictures() -> None:
    low, high = paired_difference(90, 0, 0, 10)
    low_of_more, high_of_more = paired_difference(900, 0, 0, 100)
    assert low < low_of_more < 0 < high_of_more < high
    assert high < 0.05


def test_nothing_counted_is_unknown_and_not_zero() -> None:
    assert paired_difference(0, 0, 0, 0) is None


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(ValueError, match="no counts"):
        paired_difference(5, -1, 2, 3)
