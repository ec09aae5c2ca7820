"""Shares of weighted frames, and what classes are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.report.accuracy.accuracy import Names, merged, share
from edge.report.accuracy.sums import KNOWN, Key, all_of
from edge.report.accuracy.varying import Effective
from edge.report.rows import Model
from edge.stats import wilson

NAMES = Names(Model(1, "lite0", "ab", ("background", "crane", "great white shark, white shark", "crane")))


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_share_of_frames_that_all_count_once_has_the_plain_interval(right: int, wrong: int) -> None:
    told = share(right, right + wrong, right + wrong, right + wrong)
    assert (told.right, told.total, told.counted) == (right, right + wrong, right + wrong)
    if right + wrong == 0:
        assert (told.value, told.low, told.high) == (None, None, None)
    else:
        assert (told.low, told.high) == pytest.approx(wilson(right, right + wrong), abs=1e-6)
        assert told.value == pytest.approx(right / (right + wrong), abs=1e-6)


def test_frames_that_stand_for_many_tell_no_more_than_they_are() -> None:
    kept, all_of_them = share(900, 1_000, 10, 10), share(900, 1_000, 1_000, 1_000)
    assert kept.value == all_of_them.value
    assert kept.low < all_of_them.low
    assert (kept.low, kept.high) == pytest.approx(wilson(9, 10), abs=1e-6)


def test_a_truth_is_called_by_the_label_that_it_means() -> None:
    called = NAMES.called(["white_shark", "great white shark", "crane", "Crane", "a chair"])
    assert called["white_shark"] == called["great white shark"] == "great white shark, white shark"
    assert called["crane"] == called["Crane"] == "Crane"  # two classes of one name: the first in the alphabet
    assert NAMES.meant("crane") == {1, 3}
    assert not NAMES.meant("a chair")


def test_truths_that_are_no_class_count_in_no_share() -> None:
    sums = {
        Key(KNOWN, 1, "a chair", 1, 0): all_of(7, 0, 7),
        Key(KNOWN, 1, "crane", 3, 0): all_of(2, 2, 2),
        Key(KNOWN, 1, "crane", 9, 1): all_of(1, 1, 1),
    }
    told = merged(KNOWN, "lite0", NAMES, sums, Effective())
    assert (told.unknown, told.top1.right, told.top1.total) == (7, 2, 3)
    assert told.top1.effective == 3
    assert told.top5 is None  # of four classes
    assert told.classes[0].taken_for == {"crane": 2, "class 9": 1}
    assert list(told.days) == ["1970-01-01", "1970-01-02"]
