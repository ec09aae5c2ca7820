"""Half seconds of a run, for the page's chart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.records import Prediction, Record, Timings
from edge.web.recent import SAMPLES, Recent

HALF_NS = 500_000_000
BEGAN_NS = 7_000_000_123


def record(at_ns: int, dropped: int = 0, invoke_ns: int = 4_000_000) -> Record:
    timings = Timings(1_000_000, 2_000_000, invoke_ns, 3_000_000)
    return Record("run", 0, "", BEGAN_NS + at_ns, timings, (Prediction(0, "a", 1.0),), "cpu", dropped=dropped)


def test_a_half_second_is_told_when_it_is_over() -> None:
    recent = Recent(BEGAN_NS, lambda: 51.5)
    recent.add(record(HALF_NS, dropped=2, invoke_ns=4_000_000))
    recent.add(record(HALF_NS + 1, invoke_ns=6_000_000))
    assert recent.over(BEGAN_NS + 2 * HALF_NS) == 0
    assert recent.over(BEGAN_NS + 2 * HALF_NS + HALF_NS // 2) == 1
    empty, full = recent.told(-1, 1)
    assert full == {
        "t": 0.5,
        "wait": 1.0,
        "preprocess": 2.0,
        "invoke": 5.0,
        "postprocess": 3.0,
        "fps": 4.0,
        "temperature_c": 51.5,
        "dropped": 2,
    }
    assert (empty["t"], empty["wait"], empty["fps"], empty["dropped"]) == (0.0, None, 0.0, 0)


def test_nothing_is_told_before_the_first_is_over() -> None:
    recent = Recent(BEGAN_NS, lambda: None)
    assert recent.over(BEGAN_NS) < 0
    assert recent.told(-1, recent.over(BEGAN_NS)) == []


@given(st.lists(st.integers(0, 100 * HALF_NS), max_size=80), st.integers(-1, 120), st.integers(0, 400))
def test_each_frame_is_told_once_and_no_half_second_is_left_out(at_ns: list[int], after: int, until: int) -> None:
    recent = Recent(BEGAN_NS, lambda: None)
    for each in sorted(at_ns):
        recent.add(record(each))
    told = recent.told(after, until)
    numbers = [round(each["t"] / 0.5) for each in told]
    assert numbers == list(range(max(0, after + 1, until + 1 - SAMPLES), until + 1))
    frames = {number: round(each["fps"] * 0.5) for number, each in zip(numbers, told)}
    for number, count in frames.items():
        assert count == sum(each // HALF_NS == number for each in at_ns)


def test_a_record_that_comes_late_is_counted_and_memory_is_level() -> None:
    recent = Recent(BEGAN_NS, lambda: None)
    for number in range(3 * SAMPLES):
        recent.add(record(number * HALF_NS))
        recent.add(record(max(0, number * HALF_NS - 1)))
    told = recent.told(-1, 3 * SAMPLES - 1)
    assert len(told) == SAMPLES
    assert {each["fps"] for each in told} == {4.0}
