"""What comes to a real broker, over any number of its deaths."""

from __future__ import annotations

import json
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.outlets import Leaving
from edge.outlets.mqtt import Mqtt, sender
from edge.outlets.mqtt.outlet import client_id
from edge.outlets.settings import MqttSettings
from tests.broker import Broker, Listener
from tests.conftest import ROOT, TinyModels
from tests.sending import BASE, LABELS, Run, event, heard, record, sending, texts, until, without_repeats


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path, persistent=True) as started:
        yield started


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    """Hears all; what it misses while the broker is away, the broker keeps for it."""
    with Listener(broker.port) as listening:
        broker.remember()
        yield listening


def sequences(listener: Listener) -> list[int]:
    return [each["sequence"] for each in heard(listener, "change")]


def test_a_run_as_a_listener_hears_it(broker: Broker, listener: Listener) -> None:
    with sending(broker.port) as outlet:
        until(lambda: listener.of(f"{BASE}/availability"))
        run = Run(outlet)
        for label in (LABELS[0], LABELS[0], LABELS[1], LABELS[1], LABELS[0]):
            run.classify(label)
        outlet.event(event(3, camera="USB"))
        until(lambda: heard(listener, "event"))
        until(lambda: [each["frames"] for each in heard(listener, "state")][-1:] == [5])
        until(lambda: not outlet.status().waiting)
        assert outlet.status().where == f"mqtt://127.0.0.1:{broker.port}"
        assert (outlet.status().trouble, outlet.status().dropped) == (None, 0)
        until(lambda: outlet.status().delivered == 4 + len(heard(listener, "state")))
    until(lambda: texts(listener.of(f"{BASE}/availability")) == ["online", "offline"])
    changes = [(each["sequence"], each["previous"], each["label"]) for each in heard(listener, "change")]
    assert changes == [(0, None, LABELS[0]), (2, LABELS[0], LABELS[1]), (4, LABELS[1], LABELS[0])]
    assert [(each["run"], each["number"], each["kind"]) for each in heard(listener, "event")] == [
        ("run-1", 3, "camera lost")
    ]
    assert {each.topic for each in listener.messages} == {
        f"{BASE}/{topic}" for topic in ("availability", "change", "event", "state")
    }


def test_only_the_state_and_the_availability_are_kept_for_later_listeners(broker: Broker) -> None:
    with sending(broker.port) as outlet:
        Run(outlet).change(3)
        outlet.event(event(0))
        until(lambda: outlet.status().delivered >= 5 and not outlet.status().waiting)
        with Listener(broker.port) as late:
            until(lambda: len(late.messages) >= 2)
            kept = {each.topic: each.payload for each in late.messages if each.retain}
    assert set(kept) == {f"{BASE}/availability", f"{BASE}/state"}
    assert kept[f"{BASE}/availability"] == b"online"
    assert json.loads(kept[f"{BASE}/state"])["frames"] == 3


def test_each_frame_where_that_is_asked_for(broker: Broker, listener: Listener) -> None:
    with sending(broker.port, every_frame=True) as outlet:
        run = Run(outlet)
        for _ in range(5):  # nobody waits for a connection
            run.classify(LABELS[0])
        until(lambda: listener.of(f"{BASE}/availability"))
        before = outlet.status()
        for _ in range(20):
            run.classify(LABELS[0])
            until(lambda: not outlet.status().waiting)
        until(lambda: heard(listener, "frame")[-1:] and heard(listener, "frame")[-1]["sequence"] == 24)
        frames = heard(listener, "frame")
        assert len(frames) == 25 - outlet.status().dropped
        assert [each["sequence"] for each in frames[-20:]] == list(range(5, 25))
        assert set(frames[0]) == set(record(0).as_json())
        assert outlet.status().delivered >= before.delivered + 20


def test_a_broker_that_is_killed_ten_times_in_a_run(broker: Broker, listener: Listener) -> None:
    with sending(broker.port) as outlet:
        run = Run(outlet)
        ended = threading.Event()

        def classify() -> None:
            while not ended.wait(0.001):
                run.change(1)
                if run.frames % 10 == 0:
                    outlet.event(event(run.frames // 10))

        classifying = threading.Thread(target=classify)
        classifying.start()
        for number in range(10):
            # Before that it may keep for the listener, in memory, what it has acknowledged.
            before = len(listener.messages)
            until(lambda before=before: len(listener.messages) > before + 40)
            broker.kill()
            time.sleep(random.Random(number).uniform(0, 0.1))
            broker.start()
        ended.set()
        classifying.join()
        until(lambda: not outlet.status().waiting)
        assert outlet.status().trouble is None
        assert outlet.status().dropped == 0
        until(lambda: sequences(listener)[-1:] == [run.frames - 1])
    came = sequences(listener)
    assert without_repeats(came) == list(range(run.frames))
    numbers = [each["number"] for each in heard(listener, "event")]
    assert without_repeats(numbers) == list(range(1, 1 + (run.frames // 10)))
    # Only what was on its way when the broker died comes again.
    assert len(came) + len(numbers) <= run.frames + run.frames // 10 + 10 * 20


def test_while_the_broker_is_away_the_newest_wait(broker: Broker, listener: Listener) -> None:
    with sending(broker.port, buffer=30) as outlet:
        run = Run(outlet)
        until(lambda: outlet.status().delivered)
        broker.kill()
        until(lambda: outlet.status().trouble)
        run.change(100)
        assert (outlet.status().dropped, outlet.status().waiting) == (70, 30)
        broker.start()
        until(lambda: not outlet.status().waiting)
        until(lambda: sequences(listener)[-1:] == [99])
        assert sequences(listener) == list(range(70, 100))
        until(lambda: heard(listener, "state")[-1]["frames"] == 100)
    # Of the state only the newest: one from before, one from after, and one at the end.
    assert len(heard(listener, "state")) <= 3
    assert outlet.status().dropped == 70


def test_what_waits_when_the_outlet_is_opened_anew_goes_on_with_the_new_one(broker: Broker, listener: Listener) -> None:
    with sending(broker.port) as old:
        run = Run(old)
        until(lambda: old.status().delivered)
        broker.hang()
        run.change(40)  # more than may be on their way
        old.event(event(3))
        old.close()
        assert len(old.left()) == old.status().waiting == 41
        assert old.status().dropped == 0
    broker.kill()
    with sending(broker.port, buffer=30) as new:
        assert isinstance(new, Leaving)
        new.take_over(old.left())
        assert (new.status().waiting, new.status().dropped) == (30, 11)
        Run(new, "run-2").change(2)
        broker.start()
        until(lambda: not new.status().waiting)
        assert new.status().dropped == 13
        assert new.left() == []
        until(lambda: [each["run"] for each in heard(listener, "change")][-1:] == ["run-2"])
    came = [(each["run"], each["sequence"]) for each in heard(listener, "change")]
    assert came[-29:] == [*(("run-1", sequence) for sequence in range(13, 40)), ("run-2", 0), ("run-2", 1)]
    assert [each["number"] for each in heard(listener, "event")] == [3]


def test_a_broker_that_hangs_is_left_and_what_it_did_not_acknowledge_comes_to_the_next(
    broker: Broker, listener: Listener
) -> None:
    with sending(broker.port, keepalive_s=1, every_frame=True, buffer=50) as outlet:
        run = Run(outlet)
        until(lambda: outlet.status().delivered)
        broker.hang()
        spent_ns = []
        for _ in range(5000):
            began_ns = time.perf_counter_ns()
            run.change(1)
            spent_ns.append(time.perf_counter_ns() - began_ns)
        assert statistics.median(spent_ns) < 1_000_000
        assert outlet.status().waiting <= 50 + 20 + 32 + 1
        until(lambda: outlet.status().trouble)
        assert "Nothing came from" in str(outlet.status().trouble)
        broker.kill()
        broker.start()
        until(lambda: not outlet.status().waiting)
        until(lambda: sequences(listener)[-1:] == [4999])
    came = without_repeats(sequences(listener))
    assert came == sorted(came)
    assert came[-50:] == list(range(4950, 5000))


def test_a_broker_that_thaws_goes_on(broker: Broker, listener: Listener) -> None:
    with sending(broker.port, keepalive_s=20) as outlet:
        run = Run(outlet)
        until(lambda: outlet.status().delivered)
        broker.hang()
        run.change(500)
        broker.go_on()
        until(lambda: sequences(listener)[-1:] == [499])
    assert sequences(listener) == list(range(500))
    assert texts(listener.of(f"{BASE}/availability"))[:1] == ["online"]


def test_another_run_goes_on_in_the_same_connection(broker: Broker, listener: Listener) -> None:
    with sending(broker.port) as outlet:
        first = Run(outlet)
        first.classify(LABELS[0])
        second = Run(outlet, "run-2")
        second.classify(LABELS[0])
        until(lambda: [each["run"] for each in heard(listener, "state")][-1:] == ["run-2"])
        until(lambda: len(heard(listener, "change")) == 2)
        assert [(each["run"], each["previous"]) for each in heard(listener, "change")] == [
            *(("run-1", None), ("run-2", None)),
        ]
        assert texts(listener.of(f"{BASE}/availability")) == ["online"]


def test_the_state_comes_without_changes_too(broker: Broker, listener: Listener) -> None:
    with sending(broker.port, state_s=0.1) as outlet:
        Run(outlet)
        until(lambda: len(heard(listener, "state")) >= 5)
    assert heard(listener, "change") == []


def test_a_long_queue_does_not_hold_up_the_state(tmp_path: Path) -> None:
    with Broker(tmp_path, more="max_inflight_messages 1") as broker, Listener(broker.port) as listener:
        with sending(broker.port, buffer=3000) as outlet:
            Run(outlet).change(3000)
            until(lambda: not outlet.status().waiting, 30)
            until(lambda: len(heard(listener, "change")) == 3000)
        topics = [each.topic.rpartition("/")[2] for each in listener.messages]
    assert "state" in topics[:100]


def test_who_is_said_to_be_offline_says_that_it_is_not(
    broker: Broker, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_INSIST_S", 0.3)
    with sending(broker.port) as outlet:
        until(lambda: listener.of(f"{BASE}/availability"))
        said = ["online"]
        for others in (["-m", "offline"], ["-n"], ["-m", "online"]):
            command = ["mosquitto_pub", "-p", str(broker.port), "-t", f"{BASE}/availability", "-r", "-q", "1", *others]
            subprocess.run(command, check=True)
            said += {"offline": ["offline", "online"], "-n": ["", "online"], "online": ["online"]}[others[-1]]
            until(lambda said=said: texts(listener.of(f"{BASE}/availability")) == said)
        assert outlet.status().trouble is None
    said.append("offline")
    until(lambda: texts(listener.of(f"{BASE}/availability")) == said)
    with Listener(broker.port, f"{BASE}/availability") as late:
        until(lambda: texts(late.messages) == ["offline"])


def test_changes_without_end_do_not_send_a_state_each(broker: Broker, listener: Listener) -> None:
    with sending(broker.port) as outlet:
        run = Run(outlet)
        began_s = time.monotonic()
        while time.monotonic() < began_s + 1:
            run.change(1)
            time.sleep(0.002)
        until(lambda: not outlet.status().waiting)
    assert len(heard(listener, "state")) <= 5 * (time.monotonic() - began_s) + 3


def test_what_is_left_is_sent_before_the_end(broker: Broker, listener: Listener) -> None:
    with sending(broker.port) as outlet:
        run = Run(outlet)
        until(lambda: outlet.status().delivered)
        run.change(200)
        outlet.event(event(9, "stopped"))
    assert outlet.status().waiting == 0
    until(lambda: texts(listener.of(f"{BASE}/availability")) == ["online", "offline"])
    assert sequences(listener) == list(range(200))
    assert heard(listener, "state")[-1]["frames"] == 200
    assert [each.topic for each in listener.messages][-1] == f"{BASE}/availability"


def test_who_is_killed_is_told_to_be_offline(broker: Broker, listener: Listener) -> None:
    code = (
        "import sys, time; from edge.outlets.mqtt import Mqtt; from edge.outlets.settings import MqttSettings\n"
        "Mqtt(MqttSettings(enabled=True, host='127.0.0.1', port=int(sys.argv[1]), name='shed')); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(broker.port)], cwd=ROOT) as process:
        until(lambda: listener.of(f"{BASE}/availability"))
        process.kill()
    until(lambda: texts(listener.of(f"{BASE}/availability")) == ["online", "offline"])


def test_labels_may_be_any_text(broker: Broker, listener: Listener) -> None:
    labels = ["日本", "🦜", '\0"\\\n', "é" * 5000, "tab\tby"]
    with sending(broker.port) as outlet:
        run = Run(outlet)
        for label in labels:
            run.classify(label)
        until(lambda: len(heard(listener, "change")) == len(labels))
    assert [each["label"] for each in heard(listener, "change")] == labels


def test_home_assistant_is_told_what_there_is_and_again_when_it_comes_back(broker: Broker) -> None:
    with sending(broker.port, discovery="ha") as outlet, Listener(broker.port, "ha/+/+/+/config") as home_assistant:
        Run(outlet)
        until(lambda: len(home_assistant.messages) >= 5)
        until(lambda: not outlet.status().waiting and outlet.status().delivered)
        first = list(home_assistant.messages)
        assert json.loads(first[0].payload)["state_topic"] == f"{BASE}/state"
        subprocess.run(
            ["mosquitto_pub", "-p", str(broker.port), "-t", "ha/status", "-m", "online", "-q", "1"], check=True
        )
        until(lambda: len(home_assistant.messages) == 2 * len(first))
        again = home_assistant.messages[len(first) :]
        assert texts(again) == texts(first)
    with Listener(broker.port, "ha/#") as late:
        until(lambda: len(late.messages) == len(first))
        assert all(each.retain for each in late.messages)


def test_home_assistant_shows_the_whole_name(broker: Broker) -> None:
    told = {"name": "garden/pi", "prefix": "a/b", "discovery": "ha"}
    with sending(broker.port, **told) as outlet, Listener(broker.port, "ha/+/+/+/config") as home_assistant:
        Run(outlet)
        until(lambda: home_assistant.messages)
        assert json.loads(home_assistant.messages[0].payload)["device"]["name"] == "garden/pi"


def test_a_client_id_is_the_devices_own_and_one_that_any_broker_takes() -> None:
    bases = ["edge/shed", "edge/shed2", "a/b/shed", "edge/" + "x" * 100, "edge/日本", "edge/Jürgens Pi"]
    ids = [client_id(base) for base in bases]
    assert len(set(ids)) == len(bases)
    assert all(len(each.encode()) <= 23 for each in ids)
    assert all(each.replace("-", "").isalnum() and each.isascii() for each in ids)
    assert ids[0].startswith("edge-shed-")
    assert ids[0] == client_id("edge/shed")


def test_the_machines_name_is_the_devices_unless_it_has_another(broker: Broker, listener: Listener) -> None:
    with sending(broker.port, name=None, prefix="a/b"):
        host = socket.gethostname().partition(".")[0]
        until(lambda: listener.of(f"a/b/{host}/availability"))


def test_nothing_is_needed_but_an_overview(broker: Broker) -> None:
    outlet = Mqtt(MqttSettings(enabled=True, host="127.0.0.1", port=broker.port, name="shed"))
    outlet.event(event(0))
    until(lambda: outlet.status().delivered == 1)
    outlet.close()
    outlet.close()


def test_edge_run_through_three_deaths_of_the_broker_and_its_own(
    broker: Broker, listener: Listener, tiny: TinyModels, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate([(0, 0, 255), (0, 255, 0), (255, 0, 0)]):  # so that each frame is a change
        cv2.imwrite(str(folder / f"{number}.png"), np.full((32, 32, 3), colour, np.uint8))
    command = [sys.executable, "-m", "edge", "run", "--camera", str(folder), "--loop", "--fps", "50", "--json"]
    command += ["--model", str(tiny["softmax_uint8"]), "--labels", str(tiny.labels)]
    for setting in ("enabled=true", "host=127.0.0.1", f"port={broker.port}", "name=shed"):
        command += ["--set", f"mqtt.{setting}"]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:

        def read() -> None:
            assert process.stdout
            lines.extend(iter(process.stdout.readline, ""))

        reading = threading.Thread(target=read)
        reading.start()
        for _ in range(3):
            before = len(listener.messages)
            until(lambda before=before: len(listener.messages) > before + 10)
            broker.kill()
            broker.start()
        before = len(listener.messages)
        until(lambda: len(listener.messages) > before + 10)
        process.terminate()
        reading.join()
        assert process.wait() == 0
        assert process.stderr
        assert "mqtt: " in process.stderr.read()
    classified = [json.loads(line)["sequence"] for line in lines]
    until(lambda: texts(listener.of(f"{BASE}/availability"))[-1] == "offline")
    assert without_repeats(sequences(listener)) == classified
