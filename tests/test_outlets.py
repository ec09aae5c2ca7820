"""Outlets in a service: kept from run to run, and never in its way. The real ones have tests of their own."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

import msgspec
import pytest

from edge.cameras import CameraSettings
from edge.config import Config
from edge.control.client import ask
from edge.errors import ControlError
from edge.journal import socket_path
from edge.journal.settings import JournalSettings
from edge.outlets import OutletStatus
from edge.outlets.settings import MqttSettings, PrometheusSettings
from edge.service import Service
from edge.service.held import KINDS
from edge.service.parts import Begun
from edge.signals import Signals
from edge.sinks import Sink
from edge.web.settings import WebSettings
from tests.fakes.outlets import Remembers

ALL = {
    "mqtt": MqttSettings(enabled=True),
    "prometheus": PrometheusSettings(enabled=True),
    "web": WebSettings(enabled=True),
}


class Quiet:
    """The service's output: nothing but what it is told of outlets."""

    wants_board = False

    def __init__(self) -> None:
        self.outlets: list[Mapping[str, OutletStatus]] = []

    def began(self, run: Begun) -> Sequence[Sink]:
        self.outlets.append(run.outlets)
        return ()

    def abandoned(self, unwritten: bool) -> None:
        raise AssertionError("the loop was stuck")


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Remembers]]:
    """Those that were opened in place of MQTT; metrics fail, and the page hangs."""
    for name, fake in {"mqtt": "Remembers", "prometheus": "Fails", "web": "Hangs"}.items():
        monkeypatch.setitem(KINDS, name, KINDS[name]._replace(place=f"tests.fakes.outlets:{fake}"))
    yield Remembers.opened
    Remembers.opened.clear()


def config(**sections: Any) -> Config:
    return Config(camera=CameraSettings(source="scene", fps=200.0), **sections)


def test_one_that_fails_and_one_that_hangs_leave_the_rest_alone(
    remembered: list[Remembers], caplog: pytest.LogCaptureFixture
) -> None:
    output = Quiet()
    service = Service(lambda: config(**ALL), Signals(), output, (30, None))
    service.open()
    began_s = time.monotonic()
    with caplog.at_level(logging.WARNING):
        service.run()
    assert time.monotonic() - began_s < 20
    assert service.totals.frames == 30
    (told,) = output.outlets
    assert (told["mqtt"].where, told["web"].where) == ("here", "there")
    assert told["prometheus"].trouble
    assert "a fault" in told["prometheus"].trouble
    (mqtt,) = remembered
    assert [record.sequence for record in mqtt.records] == sorted({record.sequence for record in mqtt.records})
    assert len(mqtt.records) == 30
    assert mqtt.closed
    status: Any = mqtt.overview.status()
    assert status["outlets"]["prometheus"]["dropped"] > 30  # 30 records, the beginning and more
    assert status["outlets"]["web"]["delivered"] == 30
    assert status["board"] is not None
    assert len([record for record in caplog.records if "a fault" in record.message]) == 1


def test_one_that_cannot_be_opened_says_why_and_is_tried_again_by_a_reload(
    remembered: list[Remembers], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    kind = KINDS["mqtt"]
    monkeypatch.setitem(KINDS, "mqtt", kind._replace(place="tests.fakes.outlets:Refuses"))
    journal = JournalSettings(path=str(tmp_path / "field.db"))
    told = config(mqtt=ALL["mqtt"], journal=journal)
    with serving(lambda: told) as (_, signals):
        assert "a package is not installed" in caplog.text

        monkeypatch.setitem(KINDS, "mqtt", kind)
        told = msgspec.structs.replace(told, fps=100)
        signals.on_reload()
        wait_for(lambda: len(remembered) == 1 and bool(remembered[0].records))
        (mqtt,) = remembered
        wait_for(lambda: any(event.kind == "reloaded" for event in mqtt.events))

        told = msgspec.structs.replace(told, fps=90)  # nothing of the outlet's: it goes on
        signals.on_reload()
        wait_for(lambda: len(mqtt.runs) == 2)
        assert mqtt.runs[0] != mqtt.runs[1]
        assert not mqtt.closed

        told = msgspec.structs.replace(told, mqtt=MqttSettings(enabled=True, name="greenhouse"))
        signals.on_reload()
        wait_for(lambda: len(remembered) == 2 and bool(remembered[1].records))
        assert mqtt.closed
        assert remembered[1].settings.name == "greenhouse"
        assert remembered[1].taken_over == ["one", "another"]
        wait_for(lambda: [event.kind for event in remembered[1].events] == ["reloaded"])  # before it was there
        status: Any = remembered[1].overview.status()
        assert status["outlets"]["mqtt"]["delivered"] > len(mqtt.records)
        assert status["outlets"]["mqtt"]["dropped"] == 3  # one each, and of three that waited two were taken over
        numbers = [event.sequence for each in remembered for event in each.events]
        assert numbers == sorted(set(numbers))
    assert remembered[1].closed


def test_a_reload_does_not_wait_for_an_outlet_that_hangs(remembered: list[Remembers]) -> None:
    told = config(mqtt=ALL["mqtt"], web=ALL["web"])
    with serving(lambda: told) as (_, signals):
        (mqtt,) = remembered
        told = msgspec.structs.replace(told, web=WebSettings(enabled=True, preview=False))
        signals.on_reload()
        wait_for(lambda: any(event.kind == "reloaded" for event in mqtt.events))
        outlets: Any = mqtt.overview.status()["outlets"]
        assert outlets["web"]["where"] == "being opened"  # the old one has half a second to end
        wait_for(lambda: mqtt.overview.status()["outlets"]["web"]["where"] == "there")


def test_what_is_said_in_the_middle_of_a_reload_is_heard_or_refused(
    remembered: list[Remembers], tmp_path: Path
) -> None:
    told = config(mqtt=ALL["mqtt"], journal=JournalSettings(path=str(tmp_path / "field.db")))
    with serving(lambda: told) as (_, signals):
        (mqtt,) = remembered
        heard: list[Any] = []
        enough = threading.Event()

        def say() -> None:
            for name in itertools.cycle(("wall clock", "espresso", None)):
                if enough.is_set():
                    return
                with contextlib.suppress(ControlError):
                    heard.append(ask(socket_path(tmp_path / "field.db"), {"do": "truth", "name": name})["truth"])

        saying = threading.Thread(target=say)
        saying.start()
        for runs in range(2, 7):
            told = msgspec.structs.replace(told, fps=50 + runs)
            signals.on_reload()
            wait_for(lambda: len(mqtt.runs) == runs)  # noqa: B023 - called at once
        enough.set()
        saying.join()
        assert mqtt.overview.truth == heard[-1]
        ask(socket_path(tmp_path / "field.db"), {"do": "truth", "name": "digital clock", "by": "ann"})
        heard.append("digital clock")
        wait_for(lambda: mqtt.events[-1].kind == "truth set")
        told = msgspec.structs.replace(told, fps=90)
        signals.on_reload()
        wait_for(lambda: len(mqtt.runs) == 7 and mqtt.events[-1].kind == "reloaded")
        assert mqtt.overview.truth == heard[-1]
        assert mqtt.events[-2].text == "ann says that this is before the camera: digital clock."  # and that only once
        assert mqtt.events[-3].kind != "truth set" or mqtt.events[-3].detail["by"] != "ann"


@contextlib.contextmanager
def serving(read: Callable[[], Config]) -> Iterator[tuple[Service, Signals]]:
    """A service with frames, until the block ends."""
    signals = Signals()
    service = Service(read, signals, Quiet())
    service.open()
    running = threading.Thread(target=service.run)
    running.start()
    try:
        wait_for(lambda: service.totals.frames > 3)
        yield service, signals
    finally:
        signals.stop.set()
        signals.on_stop()
        running.join(20)
    assert not running.is_alive()


def test_without_outlets_nothing_of_them_is_told(remembered: list[Remembers]) -> None:
    output = Quiet()
    service = Service(config, Signals(), output, (3, None))
    service.open()
    service.run()
    assert output.outlets == [{}]
    assert not remembered


def wait_for(holds: Any, seconds: float = 20) -> None:
    until_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until_s, "it did not come to that in time"
        time.sleep(0.01)
