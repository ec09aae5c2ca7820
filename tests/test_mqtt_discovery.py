from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.errors import ConfigError
from edge.outlets.mqtt.discovery import announcements
from edge.outlets.mqtt.messages import State, encode
from edge.outlets.mqtt.messages import state as state_of
from edge.outlets.settings import require_topic
from tests.broker import Broker, Listener
from tests.sending import LABELS, Run, overview, sending, until

jinja2 = pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")
sandbox = pytest.importorskip("jinja2.sandbox")

# What Home Assistant looks for below its prefix; other topics it does not read at all.
DISCOVERED = re.compile(r"(?P<component>\w+)/(?P<node>[a-zA-Z0-9_-]+)/(?P<object>[a-zA-Z0-9_-]+)/config")


def may_be_a_name(text: str) -> bool:
    try:
        require_topic("mqtt.name", text)
    except ConfigError:
        return False
    return True


names = st.one_of(st.text(), st.text("ab_-/ .é", min_size=1), st.text("x", min_size=40, max_size=200)).filter(
    may_be_a_name
)
labels = st.one_of(
    st.none(), st.text(min_size=1, max_size=300), st.sampled_from(["<b>&'\"", "{{ 1 / 0 }}", "tabby cat"])
)
reasons = st.one_of(st.none(), st.text(min_size=1))
numbers = st.one_of(st.none(), st.floats(0, 1e6))
states = st.builds(
    State,
    label=labels,
    score=st.one_of(st.none(), st.floats(0, 1)),
    predictions=st.lists(st.fixed_dictionaries({"label": st.text(), "score": st.floats(0, 1)}), max_size=5),
    latency_ms=numbers,
    fps=numbers,
    temperature_c=numbers,
    dropped=st.integers(0, 1 << 62),
    camera_lost=reasons,
    asleep=reasons,
    backend_lost=reasons,
    truth=labels,
)


def announced(
    base: str = "edge/porch", model: Optional[str] = None, state_s: Optional[float] = None, name: str = "porch"
) -> dict[str, dict[str, Any]]:
    """Each entity's configuration, by its last part of the topic."""
    messages = announcements("homeassistant", base, name, "1.2.3", model, state_s)
    return {topic.split("/")[-2]: json.loads(payload) for topic, payload in messages}


ENTITIES = announced()
NOTHING_YET = state_of(overview())


@functools.cache
def compiled(template: str) -> Any:
    return sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined).from_string(template)


def rendered(template: str, payload: bytes) -> str:
    """What Home Assistant makes of a state that it was sent."""
    return str(compiled(template).render(value_json=json.loads(payload))).strip()


def shown(state: State) -> dict[str, str]:
    """Each entity's state."""
    return {key: rendered(each["value_template"], encode(state)) for key, each in ENTITIES.items()}


def attributes(entity: dict[str, Any], state: State) -> Any:
    assert entity["json_attributes_topic"] == entity["state_topic"]
    return json.loads(rendered(entity["json_attributes_template"], encode(state)))


@given(names)
def test_any_name_gives_topics_that_home_assistant_reads_and_ids_of_plain_letters(name: str) -> None:
    base = f"edge/{name}"
    messages = announcements("homeassistant", base, name, "1.2.3", None)
    ids = set()
    for topic, payload in messages:
        found = DISCOVERED.fullmatch(topic[len("homeassistant/") :])
        assert topic.startswith("homeassistant/")
        assert found
        assert found["component"] in ("sensor", "binary_sensor")
        about = json.loads(payload)
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,120}", about["unique_id"])
        assert (about["state_topic"], about["availability_topic"]) == (f"{base}/state", f"{base}/availability")
        ids.add(about["unique_id"])
    assert len(ids) == len({topic for topic, _ in messages}) == len(messages)
    assert messages == announcements("homeassistant", base, name, "1.2.3", None)


def identity(base: str) -> set[str]:
    """All that Home Assistant tells this device and its entities by."""
    return {
        text
        for topic, payload in announcements("homeassistant", base, "porch", "1.2.3", None)
        for text in (topic, json.loads(payload)["unique_id"], *json.loads(payload)["device"]["identifiers"])
    }


@given(names, names)
def test_devices_with_different_names_share_nothing(one: str, other: str) -> None:
    assert one == other or not identity(f"edge/{one}") & identity(f"edge/{other}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("edge/a/b", "edge/a_b"),
        ("edge/a", "edge_a"),
        ("edge/a", "edge/A"),
        ("edge/ä", "edge/ö"),
        ("edge/a b", "edge/a_b"),
        ("edge/a", "edge/a/"),
        ("e/" + "x" * 200, "e/" + "x" * 199),
        ("edge/a", "edge/a_frame"),
        ("edge/a", "edge/a/frame"),
    ],
)
def test_names_that_are_much_alike_share_nothing(one: str, other: str) -> None:
    assert not identity(one) & identity(other)


def test_an_ordinary_name_can_be_read_in_the_topic() -> None:
    topics = [topic for topic, _ in announcements("homeassistant", "edge/porch-2", "porch-2", "1.2.3", None)]
    assert topics[0] == "homeassistant/sensor/edge_porch-2/label/config"


def test_what_a_state_tells_is_shown() -> None:
    known = replace(NOTHING_YET, label="tabby cat", score=0.8716, latency_ms=23.4, fps=14.9, dropped=3)
    assert shown(replace(known, backend="edgetpu", temperature_c=51.1, throttled=False)) == {
        "label": "tabby cat",
        "score": "87.2",
        "latency": "23.4",
        "frame_rate": "14.9",
        "temperature": "51.1",
        "dropped": "3",
        "backend": "edgetpu",
        **dict.fromkeys(("throttled", "camera", "accelerator", "asleep"), "OFF"),
    }


def test_what_is_not_known_is_unknown_and_not_zero() -> None:
    """Home Assistant takes the word None for it."""
    known = {key: value for key, value in shown(NOTHING_YET).items() if value != "None"}
    assert known == {"dropped": "0", "backend": "cpu", "camera": "OFF", "asleep": "OFF"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"camera_lost": "It is gone."}, "camera"),
        ({"throttled": True}, "throttled"),
        ({"backend_lost": "It is gone."}, "accelerator"),
        ({"asleep": "asleep until 06:00"}, "asleep"),
    ],
)
def test_a_problem_is_on_while_it_lasts(changes: dict[str, Any], key: str) -> None:
    before, after = shown(replace(NOTHING_YET, throttled=False)), shown(replace(NOTHING_YET, **changes))
    assert (before[key], after[key]) == ("None" if key == "accelerator" else "OFF", "ON")


@given(states)
def test_no_state_gives_home_assistant_what_it_refuses(state: State) -> None:
    texts = shown(state)
    assert len(texts["label"]) <= 255
    for key, about in ENTITIES.items():
        if "unit_of_measurement" in about:
            assert texts[key] == "None" or float(texts[key]) >= 0
        elif about.get("device_class") == "problem":
            assert texts[key] in ("ON", "OFF", "None")


@given(states)
def test_attributes_tell_the_predictions_and_the_reasons(state: State) -> None:
    told = {key: attributes(each, state) for key, each in ENTITIES.items() if "json_attributes_template" in each}
    sent, blind = json.loads(encode(state)), state.camera_lost or state.asleep
    assert told == {
        "score": {"predictions": [] if blind else sent["predictions"], "truth": sent["truth"]},
        "camera": {"reason": sent["camera_lost"]},
        "accelerator": {"reason": sent["backend_lost"]},
        "asleep": {"reason": sent["asleep"]},
    }


@given(states)
def test_what_was_seen_last_is_not_what_a_lost_camera_sees(state: State) -> None:
    texts = shown(state)
    if state.camera_lost or state.asleep:
        assert (texts["label"], texts["score"]) == ("None", "None")
    else:
        assert (texts["score"] == "None") is (state.score is None)


def test_home_assistant_finds_it_also_when_it_begins_to_listen_later(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, sending(broker.port, discovery="home/found") as outlet:
        with Listener(broker.port, "home/found/#") as home:
            Run(outlet).classify(LABELS[1])
            until(lambda: len(home.messages) == len(ENTITIES) and not outlet.status().waiting)
        with Listener(broker.port) as home:
            until(lambda: len(kept(home)) == len(ENTITIES) + 2)
            messages = kept(home)
            found = [json.loads(payload) for topic, payload in messages.items() if topic.startswith("home/found/")]
            assert {messages[each["availability_topic"]] for each in found} == {b"online"}
            (label,) = (each for each in found if each["name"] == "Label")
            until(lambda: rendered(label["value_template"], home.of(label["state_topic"])[-1].payload) == LABELS[1])
            outlet.close()
            until(lambda: home.of(label["availability_topic"])[-1].payload == b"offline")


def kept(listener: Listener) -> dict[str, bytes]:
    """What the broker had kept for it."""
    return {each.topic: each.payload for each in listener.messages if each.retain}


@pytest.mark.parametrize("state_s", [0.1, 10.0, 86_400.0])
def test_states_that_stay_away_for_long_count_as_too_old(state_s: float) -> None:
    for about in announced(state_s=state_s).values():
        assert isinstance(about["expire_after"], int)
        assert 2 * state_s < about["expire_after"] < 4 * state_s + 60


def test_without_a_rhythm_of_states_none_is_too_old() -> None:
    assert not any("expire_after" in about for about in announced().values())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Raspberry Pi 4 Model B Rev 1.2", {"model": "Raspberry Pi 4 Model B Rev 1.2", "manufacturer": "Raspberry Pi"}),
        ("Freescale i.MX8MQ Phanbell", {"model": "Freescale i.MX8MQ Phanbell"}),
        (None, {}),
    ],
)
def test_all_entities_belong_to_one_device(model: Optional[str], expected: dict[str, str]) -> None:
    (device,) = {json.dumps(about["device"]) for about in announced(model=model, name="Küche").values()}
    assert json.loads(device) == {"identifiers": ["edge_porch"], "name": "Küche", "sw_version": "1.2.3", **expected}
