"""A minute's counts."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device import Live
from edge.histogram import Histogram
from edge.journal.packing import STATES, STEADY, unpack_histograms
from edge.journal.windows import COLUMNS, Answer, Counted, Minute, Truths
from edge.records import Timings
from edge.stats import STAGES
from tests.journaling import LABELS, NS


def told(minute: Minute, over: bool = True) -> dict[str, Any]:
    return dict(zip(COLUMNS, minute.row(1, over)))


FAST = Timings(1, 2, 3, 4)


def counted(at_ns: int = NS, timings: Timings = FAST, dropped: int = 0, **answer: Any) -> Counted:
    return Counted(at_ns, timings, Answer(**{"truth": None, "class_id": 1, "in_top": False, **answer}), dropped)


def test_a_minute_of_nothing() -> None:
    minute = Minute(NS, 61 * NS)
    assert not minute.holds
    row = told(minute, over=False)
    assert (row["frames"], row["drops"], row["answers"], row["began_ns"], row["ended_ns"]) == (0, "{}", "[]", NS, NS)
    left = {"throttled", "governor", "resident_max_bytes", "memory_available_min_bytes", "load_mean", "coral_max_c"}
    assert all(row[name] is None for name in (*left, "temperature_min_c", "clock_mean_mhz"))
    assert unpack_histograms(row["histograms"]) == {}


DURATIONS = st.builds(Timings, *[st.integers(0, 2**40)] * 4)


@given(st.lists(st.tuples(DURATIONS, st.sampled_from(range(len(STATES)))), max_size=60))
def test_histograms_are_those_of_the_samples(samples: list[tuple[Timings, int]]) -> None:
    minute = Minute(0, 60 * NS)
    for timings, state in samples:
        minute.add(counted(timings=timings), state, "busy")
    expected: dict[str, dict[str, Histogram]] = {}
    for timings, state in samples:
        of_state = expected.setdefault(STATES[state], {stage: Histogram() for stage in STAGES})
        for stage in STAGES:
            of_state[stage].add([getattr(timings, f"{stage}_ns")])
    assert unpack_histograms(told(minute)["histograms"]) == expected
    assert told(minute)["frames"] == len(samples)


def test_many_samples_are_all_counted() -> None:
    minute, values = Minute(0, 60 * NS), random.Random(0).choices(range(1_000_000), k=9_999)
    for value_ns in values:
        minute.add(counted(timings=Timings(0, 0, value_ns, 0)), STEADY, "busy")
    invoke = unpack_histograms(told(minute)["histograms"])["steady"]["invoke"]
    assert (invoke.samples, invoke.sum_ns) == (9_999, sum(values))


def test_frames_that_a_gate_kept_back_are_a_reason_of_their_own() -> None:
    minute = Minute(0, 60 * NS)
    minute.add(counted(dropped=2)._replace(unchanged=40), STEADY, "busy")
    minute.add(counted()._replace(unchanged=2), STEADY, "busy")
    assert json.loads(told(minute)["drops"]) == {"busy": 2, "unchanged": 42}


@given(
    st.lists(
        st.tuples(st.sampled_from([None, "cat", "ghost"]), st.integers(0, 2), st.booleans(), st.integers(0, 3)),
        max_size=60,
    )
)
def test_answers_and_drops_add_up(frames: list[tuple[Any, int, bool, int]]) -> None:
    minute = Minute(0, 60 * NS)
    for number, (truth, class_id, in_top, dropped) in enumerate(frames):
        reason = "busy" if number % 2 else "paced"
        answer = {"truth": truth, "class_id": class_id, "in_top": in_top and truth is not None}
        minute.add(counted(dropped=dropped, **answer), STEADY, reason)
    row = told(minute)
    drops, answers = json.loads(row["drops"]), json.loads(row["answers"])
    assert sum(drops.values()) == sum(dropped for *_, dropped in frames)
    assert drops.get("busy", 0) == sum(dropped for *_, dropped in frames[1::2])
    assert sum(count for _, _, count, _ in answers) == row["frames"] == len(frames)
    for truth in (None, "cat", "ghost"):
        right = sum(in_top for name, _, _, in_top in answers if name == truth)
        assert right == sum(in_top for name, _, in_top, _ in frames if name == truth and truth is not None)
        for class_id in range(3):
            of = sum(count for name, number, count, _ in answers if (name, number) == (truth, class_id))
            assert of == sum((name, number) == (truth, class_id) for name, number, _, _ in frames)


def test_readings() -> None:
    minute = Minute(0, 60 * NS)
    minute.see(Live(NS, 50.0, 1500.0, 0, "ondemand", 900, 100, 0.5, 61.0), 0)
    minute.see(Live(2 * NS, 54.0, 600.0, 4, None, 800, 120, 1.0, None), 4)
    minute.see(Live(3 * NS), None)
    row = told(minute, over=False)
    assert minute.holds
    assert (row["temperature_min_c"], row["temperature_mean_c"], row["temperature_max_c"]) == (50.0, 52.0, 54.0)
    assert (row["clock_min_mhz"], row["clock_mean_mhz"], row["clock_max_mhz"]) == (600.0, 1050.0, 1500.0)
    assert (row["throttled"], row["governor"], row["ended_ns"]) == (4, "ondemand", 3 * NS)
    assert (row["memory_available_min_bytes"], row["resident_max_bytes"]) == (800, 120)
    assert (row["load_mean"], row["coral_max_c"]) == (0.75, 61.0)


@pytest.mark.parametrize("timings", [Timings(-1, 0, 0, 0), Timings(0, 0, 2**63, 0), Timings(2**62, 2**62, 0, 0)])
def test_durations_that_cannot_be_are_refused_and_not_counted(timings: Timings) -> None:
    minute = Minute(0, 60 * NS)
    with pytest.raises(ValueError, match="durations of"):
        minute.add(counted(timings=timings, dropped=1), STEADY, "busy")
    assert not minute.holds
    assert told(minute)["drops"] == "{}"


def test_truths_are_found_among_the_first_five() -> None:
    truths = Truths((*LABELS, *"abcdef"))
    assert truths.answer("cat", [1, 2]) == Answer("cat", 1, True)
    assert truths.answer("cat", [2, 0, 3, 4, 1]) == Answer("cat", 2, True)
    assert truths.answer("cat", [2, 0, 3, 4, 5, 1]) == Answer("cat", 2, False)
    assert truths.answer("ghost", [2]) == Answer("ghost", 2, False)
    assert truths.answer(None, [2]) == Answer(None, 2, False)
