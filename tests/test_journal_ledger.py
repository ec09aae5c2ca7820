"""What becomes a row of what happened."""

from __future__ import annotations

import json
import logging
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device import Live
from edge.journal import ledger as ledger_module
from edge.journal.budget import Budget
from edge.journal.ledger import Event, Forgotten, Ledger, Picture
from edge.journal.packing import STATES, unpack_histograms
from edge.journal.windows import COLUMNS
from edge.records import Timings
from tests.journaling import NS, facts, record

FRAME = ("run_id", "sequence", "monotonic_ns", "wait_ns", "preprocess_ns", "invoke_ns", "postprocess_ns", "class_id")
FRAME = (*FRAME, "score", "others", "truth", "dropped", "throttled", "state", "stands_for")
BEGAN_NS = 1_000 * NS


def made(window_s: float = 60.0, **changes: Any) -> Ledger:
    return Ledger(7, facts(**changes), round(window_s * NS), Budget(10**12, 5.0, BEGAN_NS), BEGAN_NS)


def at(seconds: float) -> int:
    return BEGAN_NS + round(seconds * NS)


def frames(ledger: Ledger) -> list[dict[str, Any]]:
    return [dict(zip(FRAME, row)) for row in ledger.frames]


def windows(ledger: Ledger) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row)) for row in ledger.windows]


def states(ledger: Ledger) -> list[str]:
    return [STATES[row["state"]] for row in frames(ledger)]


def events(ledger: Ledger) -> list[tuple[float, str]]:
    return [((at_ns - BEGAN_NS) / NS, kind) for _, at_ns, kind, _ in ledger.events]


def reading(seconds: float, throttled: Optional[int], **changes: Any) -> Live:
    return Live(at(seconds), throttled=throttled, **changes)


def test_a_row_holds_all_of_a_frame() -> None:
    ledger = made()
    ledger.take(record(5, at(1), truth="cat", dropped=2))
    assert not ledger.frames  # it waits for the next reading
    ledger.take(reading(1.5, 0))
    (row,) = frames(ledger)
    assert (row["run_id"], row["sequence"], row["monotonic_ns"], row["truth"], row["dropped"]) == (
        7,
        5,
        at(1),
        "cat",
        2,
    )
    assert (row["class_id"], row["score"], len(row["others"]), row["stands_for"]) == (1, 9_000, 8, 1)
    ledger.written()
    assert not ledger.holds


def test_the_first_half_second_is_warm_up() -> None:
    ledger = made()
    for sequence, seconds in enumerate((10.0, 10.2, 10.499, 10.5, 11.0)):
        ledger.take(record(sequence, at(seconds)))
    ledger.settle()
    assert states(ledger) == ["warm-up"] * 3 + ["steady"] * 2


def of_backends(steps: list[tuple[str, float]], bits: int = 0) -> list[str]:
    """The states of the frames of a run for an Edge TPU.

    Args:
        steps: what came ("edgetpu" or "cpu", a frame that it answered; "found", the accelerator came back) and when.
        bits: throttling bits, all the time.
    """
    ledger = made(backend="edgetpu")
    ledger.take(reading(-1, bits))
    for sequence, (what, seconds) in enumerate(steps):
        if what == "found":
            ledger.take(Event(at(seconds), "backend found", {"backend": "edgetpu", "device": "usb:0", "after": 3.0}))
        else:
            ledger.take(record(sequence, at(seconds), backend=what))
    ledger.take(reading(max((seconds for _, seconds in steps), default=0), bits))
    return states(ledger)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("e0 e.4 e.5 c.6 c2 e3 e3.4 e3.5", "wwsffwws"),  # lost and found
        ("c0 c.1 c.7 c9 e10 e10.3 e10.6", "ffffwws"),  # it begins on the CPU
        ("e0 e1 found5 e6 e6.2 e6.7", "wswws"),  # opened again, and nobody answered meanwhile
        ("e0 found.2 e.3 e.7 e.8", "wwws"),  # while it warmed up
        ("e0 e1 found2 c3 e4 e5", "wsfws"),
        ("e0 e1 found2 found2.1 e3 e4", "wsws"),
        ("c0 c9", "ff"),
    ],
)
def test_a_frame_that_the_cpu_answered_in_its_place_is_of_a_state_of_its_own(steps: str, expected: str) -> None:
    names = {"e": "edgetpu", "c": "cpu", "found": "found"}
    came = [(names[step.rstrip("0123456789.")], float(step.lstrip("efoundc"))) for step in steps.split()]
    assert "".join(state[0] for state in of_backends(came)) == expected
    assert "".join(state[0] for state in of_backends(came, 0x50005)) == expected.replace("s", "t")


@given(
    st.lists(
        st.tuples(st.sampled_from(["edgetpu", "cpu", "found"]), st.sampled_from([0.01, 0.2, 0.3, 0.5, 4.0])),
        max_size=40,
    )
)
def test_no_answer_of_the_cpu_is_among_those_of_an_accelerator(steps: list[tuple[str, float]]) -> None:
    came, now_s = [], 0.0
    for what, later_s in steps:
        now_s = round(now_s + later_s, 2)
        came.append((what, now_s))
    told = iter(of_backends(came))
    first_s: Optional[float] = None  # answer of the accelerator since it was opened
    for what, seconds in came:
        if what != "edgetpu":
            first_s = None
            assert what == "found" or next(told) == "fallback"
            continue
        first_s = seconds if first_s is None else first_s
        assert next(told) == ("warm-up" if round(seconds - first_s, 2) < 0.5 else "steady")
    assert next(told, None) is None


def judged(readings: list[Live]) -> list[str]:
    """The states of frames, one before each reading and one behind the last."""
    ledger = made()
    ledger.take(record(0, at(-5)))  # its warm-up is over when the others come
    ledger.settle()
    ledger.written()
    for sequence, live in enumerate(readings):
        ledger.take(record(1 + sequence, live.monotonic_ns - NS // 2))
        ledger.take(live)
    ledger.take(record(99, readings[-1].monotonic_ns + NS // 2))
    ledger.settle()
    return states(ledger)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # Bits of the time since the start, as vcgencmd tells them.
        ([0, 0, 0], "sss s"),
        ([0, 0x50005, 0x50005], "stt t"),
        ([0x50005, 0x50000, 0x50000], "tts s"),  # under way at the first, over at the second
        ([0x50000, 0x50000], "ss s"),  # long ago
        ([0, 0x40000, 0x40000], "sts s"),  # came and went between two readings
        ([0x40000, 0x50000, 0x50000], "sts s"),
        ([None, None], "ss s"),
        ([0, None, 0x40000, 0x40000], "stts s"),  # a reading that failed says nothing: the next one judges
    ],
)
def test_frames_are_judged_by_the_readings_around_them(bits: list[Optional[int]], expected: str) -> None:
    told = judged([reading(second, each) for second, each in enumerate(bits)])
    assert "".join(state[0] for state in told) == expected.replace(" ", "")


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ([0, 0, 0], "sss s"),
        ([0x40000, 0x40000, 0x40000, 0], "ttts s"),  # each time it was a moment ago
        ([0x50005, 0x50000, 0], "tts s"),
        ([0, 0x50005, 0], "stt s"),
    ],
)
def test_bits_that_tell_of_the_last_seconds(bits: list[int], expected: str) -> None:
    told = judged([reading(second, each, throttled_lately=True) for second, each in enumerate(bits)])
    assert "".join(state[0] for state in told) == expected.replace(" ", "")


def test_where_the_board_tells_nothing_nothing_is_known() -> None:
    ledger = made()
    ledger.take(record(0, at(0)))
    ledger.take(reading(1, None, temperature_c=50.0))
    ledger.take(record(1, at(2)))
    ledger.finish(at(3))
    assert [row["throttled"] for row in frames(ledger)] == [None, None]
    assert windows(ledger)[0]["throttled"] is None
    assert windows(ledger)[0]["temperature_mean_c"] == 50.0


def test_a_reading_that_is_old_tells_nothing() -> None:
    ledger = made()
    ledger.take(reading(0, 4))
    ledger.take(record(0, at(3)))
    ledger.settle()
    ledger.take(record(1, at(40)))
    ledger.settle()
    assert [row["throttled"] for row in frames(ledger)] == [4, None]


def test_a_cause_begins_and_ends_once_however_it_flaps() -> None:
    ledger = made()
    for second in range(200):
        bits = 0x50005 if 10 <= second < 100 and second % 3 == 0 else 0x50000 if second > 12 else 0
        ledger.take(reading(second, bits, temperature_c=81.5))
    assert events(ledger) == [
        (12, "under-voltage"),
        (12, "throttled"),
        (100, "under-voltage over"),
        (100, "throttled over"),
    ]
    assert json.loads(ledger.events[0][3]) == {"temperature_c": 81.5, "throttled": 0x50005}
    for second in range(200, 290):
        ledger.take(reading(second, 0x50001 if second == 250 else 0x50000))
    assert events(ledger)[4:] == [(250, "under-voltage")]


def test_a_gap_leaves_no_windows_and_windows_stay_on_their_grid() -> None:
    ledger = made()
    ledger.take(record(0, at(10)))
    ledger.take(record(1, at(615)))
    ledger.finish(at(640))
    told = [(row["began_ns"], row["ended_ns"], row["frames"]) for row in windows(ledger)]
    assert told == [(at(0), at(60), 1), (at(600), at(615), 1)]


def test_windows_without_frames_tell_of_the_board() -> None:
    ledger = made()
    for second in range(0, 200, 10):
        ledger.take(reading(second, 0, temperature_c=50.0))
    ledger.finish(at(200))
    assert [(row["frames"], row["temperature_mean_c"]) for row in windows(ledger)] == [(0, 50.0)] * 4


ITEMS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.floats(0, 3), st.integers(0, 3)),
        st.tuples(st.just("reading"), st.floats(0, 30), st.sampled_from([None, 0, 4, 0x40000, 0x50005])),
        st.tuples(st.just("event"), st.floats(0, 3), st.integers(0, 3)),
        st.tuples(st.just("settle"), st.floats(0, 1), st.integers(0, 3)),
        st.tuples(st.just("unrecorded"), st.floats(0, 200), st.integers(0, 3)),
        st.tuples(st.just("written"), st.floats(0, 1), st.integers(0, 3)),
    ),
    max_size=80,
)


@given(ITEMS)
def test_counts_add_up_however_things_come(items: list[tuple[str, float, Any]]) -> None:
    ledger, now_s = made(window_s=5.0, backend="edgetpu"), 0.0
    expected = {"frame": 0, "drops": 0, "event": 0, "unrecorded": 0}
    kept: dict[str, list[Any]] = {"frames": [], "windows": [], "events": []}

    def write() -> None:
        kept["frames"] += frames(ledger)
        kept["windows"] += windows(ledger)
        kept["events"] += ledger.events
        ledger.written()

    for kind, seconds, number in items:
        now_s += seconds
        if kind == "frame":
            backend = "edgetpu" if number % 3 else "cpu"
            ledger.take(record(expected["frame"], at(now_s), dropped=number, drop_reason="paced", backend=backend))
            expected["drops"] += number
            expected["frame"] += 1
        elif kind == "reading":
            ledger.take(reading(now_s, number))
        elif kind == "event":
            ledger.take(Event(at(now_s), "something", {"n": number}))
            expected["event"] += 1
        elif kind == "settle":
            ledger.settle()
        elif kind == "unrecorded":
            ledger.unrecorded(number)
            expected["unrecorded"] += number
        else:
            write()
    ledger.finish(at(now_s))
    write()
    assert [row["sequence"] for row in kept["frames"]] == list(range(expected["frame"]))
    assert sum(row["frames"] for row in kept["windows"]) == expected["frame"]
    assert sum(row["unrecorded"] for row in kept["windows"]) == expected["unrecorded"]
    assert sum(json.loads(row["drops"]).get("paced", 0) for row in kept["windows"]) == expected["drops"]
    assert sum(kind == "something" for _, _, kind, _ in kept["events"]) == expected["event"]
    samples = dict.fromkeys(STATES, 0)
    for row in kept["windows"]:
        for state, stages in unpack_histograms(row["histograms"]).items():
            samples[state] += stages["age"].samples
    assert samples == {name: sum(STATES[row["state"]] == name for row in kept["frames"]) for name in STATES}
    ended = [(row["began_ns"], row["ended_ns"]) for row in kept["windows"]]
    assert all(began <= end for began, end in ended)
    assert all(before[1] <= after[0] for before, after in zip(ended, ended[1:]))


def test_a_frame_that_makes_no_sense_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    ledger = made()
    odd = [
        record(1, at(1), predictions=()),
        record(2, at(1), timings=Timings(-1, 0, 0, 0)),
        record(3, at(1), truth=["cat"]),
    ]
    for each in (record(0, at(1)), *odd, record(4, at(1))):
        ledger.take(each)
    ledger.take(reading(2, 0))
    ledger.finish(at(3))
    assert [row["sequence"] for row in frames(ledger)] == [0, 4]
    assert [(row["frames"], row["unrecorded"]) for row in windows(ledger)] == [(2, 3)]
    assert ledger.unusable == 3
    assert len([each for each in caplog.records if each.levelno >= logging.ERROR]) == 1


def test_no_rows_while_there_is_no_room() -> None:
    ledger = made()
    ledger.pausing = True
    ledger.take(record(0, at(1)))
    ledger.finish(at(2))
    assert not ledger.frames
    assert windows(ledger)[0]["frames"] == 1


def test_memory_is_bounded_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_FRAMES", 10)
    monkeypatch.setattr(ledger_module, "_MOST_OTHERS", 3)
    ledger = made(window_s=1.0)
    for second in range(30):
        ledger.take(record(second, at(second)))
        ledger.take(reading(second + 0.5, 0))
        ledger.take(Event(at(second), "something", {}))
        ledger.take(Picture(record(second, at(second)), "ordinary", 1.0, "a.jpg"))
        ledger.take(Forgotten("a.jpg"))
    ledger.finish(at(31))
    assert [row["sequence"] for row in frames(ledger)] == list(range(20, 30))
    assert ledger.rows_lost == 20
    assert [len(each) for each in (ledger.windows, ledger.events, ledger.pictures, ledger.forgotten)] == [3, 3, 3, 3]
    assert ledger.others_lost == 4 * 27 + 1  # the last window would have told of those before


def test_rows_go_on_in_a_new_file() -> None:
    ledger = made()
    ledger.take(record(0, at(1)))
    ledger.take(Event(at(1), "something", {}))
    ledger.take(Picture(record(0, at(1)), "ordinary", 1.0, "a.jpg"))
    ledger.finish(at(2))
    ledger.begin_again(9)
    rows = (*ledger.frames, *ledger.windows, *ledger.events, *ledger.pictures)
    assert [row[0] for row in rows] == [9, 9, 9, 9]
