"""Time on pictures."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.report.drawn import timeaxis
from tests import reports


def test_values_are_level_with_gaps_between() -> None:
    first, second, third = reports.moments(1.0, 3)
    third = msgspec.structs.replace(third, from_utc_s=third.from_utc_s + 9_000, fps=3.0)
    days, values = timeaxis.steps([first, second, third], lambda moment: None if moment is second else moment.fps)
    seconds = np.rint(days * timeaxis.DAY_S - reports.BEGAN_S)
    assert seconds.tolist() == [0, 28_800, 28_800, 57_600, 57_600, 66_600, 86_400]
    np.testing.assert_array_equal(values, [first.fps, first.fps, math.nan, math.nan, math.nan, 3.0, 3.0])


def test_held_back_moments_that_follow_each_other_are_one_span() -> None:
    moments = [
        msgspec.structs.replace(moment, throttled=held)
        for moment, held in zip(reports.moments(1.0, 5), (["throttled"], ["under-voltage"], [], None, ["throttled"]))
    ]
    spans = timeaxis.held_spans(moments)
    assert [round(end, 3) for span in spans for end in span] == [20605.0, 20605.4, 20605.8, 20606.0]


def test_the_axis_is_never_empty() -> None:
    journal = reports.journal(days=1, count=1, moments=[], events=[], runs=[], to_utc_s=reports.BEGAN_S)
    from_s, to_s = timeaxis.limits_s([journal])
    assert from_s < reports.BEGAN_S < to_s


@given(st.integers(0, 4 * 10**9), st.integers(10, 2 * 10**9))
def test_ticks_are_few_and_within(from_s: int, length_s: int) -> None:
    ticks = timeaxis.ticks(from_s, from_s + length_s)
    assert 1 <= len(ticks) <= 10
    seconds = [second for second, _ in ticks]
    assert from_s <= seconds[0]
    assert seconds[-1] <= from_s + length_s
    assert seconds == sorted(set(seconds))


def test_ticks_name_the_date_where_it_is_new() -> None:
    named = [text for _, text in timeaxis.ticks(reports.BEGAN_S + 80_000, reports.BEGAN_S + 94_000)]
    assert named == ["22:30\n1 Jun 2026", "23:00", "23:30", "00:00\n2 Jun 2026", "00:30", "01:00", "01:30", "02:00"]
    month = [text for _, text in timeaxis.ticks(reports.BEGAN_S, reports.BEGAN_S + 30 * timeaxis.DAY_S)]
    assert month[:3] == ["1 Jun\n2026", "5 Jun", "9 Jun"]
    moment = [text for _, text in timeaxis.ticks(reports.BEGAN_S, reports.BEGAN_S + 10)]
    assert moment[:2] == ["00:00:00\n1 Jun 2026", "00:00:02"]
