from __future__ import annotations

import json
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.outlets.mqtt.messages import LONGEST_BYTES, Topics, change, encode, happened, state
from edge.records import Prediction
from tests.sending import LABELS, event, overview, record

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(['"', "\\", "\0", "日本", "🦜", "\udcff"])


def test_topics_stand_below_the_device() -> None:
    assert Topics.below("edge/shed") == (
        *("edge/shed/availability", "edge/shed/state", "edge/shed/change", "edge/shed/event", "edge/shed/frame"),
    )


def test_a_change_tells_what_came_first_now_and_before() -> None:
    told = json.loads(encode(change(record(7, "wall clock", truth="tabby cat"), "tabby cat")))
    assert told == {
        "run": "run-1",
        "sequence": 7,
        "utc": "2026-01-02T03:04:05.678Z",
        "label": "wall clock",
        "class_id": 3,
        "score": 0.8765,
        "previous": "tabby cat",
        "backend": "cpu",
        "truth": "tabby cat",
    }


def test_a_frame_is_what_edge_run_prints() -> None:
    frame = record(7, truth="tabby cat")
    assert json.loads(encode(frame)) == json.loads(json.dumps(frame.as_json()))


def test_an_event_tells_its_run_and_number() -> None:
    told = json.loads(encode(happened(event(4, camera="USB", where=Path("/dev/video0")), "run-1")))
    assert told == {
        "run": "run-1",
        "number": 4,
        "utc": "2026-01-02T03:04:05.678Z",
        "kind": "camera lost",
        "detail": {"camera": "USB", "where": "/dev/video0"},
        "text": "camera lost.",
    }


def test_an_event_that_is_too_long_is_told_without_its_detail() -> None:
    long = happened(event(4, "k" * 2000, changed=["ü" * 1000] * 100), "run-1")
    payload = encode(long)
    assert len(payload) < LONGEST_BYTES / 10
    told = json.loads(payload)
    assert (told["number"], told["detail"], len(told["text"])) == (4, {}, 1000)


def test_the_state_before_the_first_frame_knows_little() -> None:
    told = json.loads(encode(state(overview())))
    assert told == {
        "run": "run-1",
        **dict.fromkeys(("sequence", "utc", "label", "score", "latency_ms", "invoke_ms", "fps"), None),
        "predictions": [],
        "frames": 0,
        "dropped": 0,
        "backend": "cpu",
        "camera": "drawn scene",
        **dict.fromkeys(("camera_lost", "asleep", "backend_lost", "temperature_c", "throttled", "truth"), None),
    }


def test_the_state_tells_how_it_goes() -> None:
    run = overview()
    run.told_by.append(lambda: {"camera_lost": "The camera is gone."})
    run.truths.set(LABELS[1], "a test")
    began_ns = time.monotonic_ns() - 1_000_000_000
    for sequence in range(100):
        one = record(sequence, LABELS[1], dropped=2, truth=LABELS[1])
        run.write(replace(one, monotonic_ns=began_ns + sequence * 10_000_000))
    told = json.loads(encode(state(run)))
    assert 0 < told.pop("fps") <= 100
    assert told == {
        "run": "run-1",
        "sequence": 99,
        "utc": "2026-01-02T03:04:05.678Z",
        "label": "wall clock",
        "score": 0.8765,
        "predictions": [{"label": "wall clock", "score": 0.8765}],
        "latency_ms": 3.34,
        "invoke_ms": 3.0,
        "frames": 100,
        "dropped": 200,
        "backend": "cpu",
        "camera": "drawn scene",
        "camera_lost": "The camera is gone.",
        "asleep": None,
        "backend_lost": None,
        "temperature_c": None,
        "throttled": None,
        "truth": "wall clock",
    }


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_makes_a_payload_that_can_be_read(label: str, other: str) -> None:
    plain = [text.encode("utf-8", "replace").decode() for text in (label, other)]
    told = json.loads(encode(change(record(0, label), other)).decode("utf-8", "strict"))
    assert [told["label"], told["previous"]] == plain
    told = json.loads(encode(happened(event(0, label, list=[other, {other: 1}]), None)).decode())
    assert told["kind"] == plain[0]
    assert told["detail"]["list"] == [plain[1], {plain[1]: 1}]
    told = json.loads(encode(record(0, label, source=other)).decode())
    assert [told["predictions"][0]["label"], told["source"]] == plain


@given(st.floats())
def test_any_score_makes_json(score: float) -> None:
    odd = replace(record(0), predictions=(Prediction(0, "a", score),))
    json.loads(encode(change(odd, None)), parse_constant=lambda name: 1 / 0)
