"""Runs and records that are made up, and an MQTT outlet that is told of them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any, Callable

from edge.outlets.mqtt import Mqtt
from edge.outlets.settings import MqttSettings
from edge.overview import Overview
from edge.records import Event, Prediction, Ran, Record, Timings
from tests.broker import Listener, Message

BASE = "edge/shed"
LABELS = ("tabby cat", "wall clock")
SOON_S = (0.02, 0.2)
"""To try again: sooner than the outlet does for users."""


def overview(run: str = "run-1") -> Overview:
    """A run that begins."""
    return Overview(run, Ran("model", "0" * 64, "litert", "2", "cpu", 1), LABELS, "drawn scene")


def record(sequence: int, label: str = LABELS[0], run: str = "run-1", **more: Any) -> Record:
    """A frame's."""
    timings, predictions = Timings(100_000, 200_000, 3_000_000, 40_000), (Prediction(3, label, 0.87654321),)
    return Record(run, sequence, "2026-01-02T03:04:05.678Z", time.monotonic_ns(), timings, predictions, "cpu", **more)


def event(number: int, kind: str = "camera lost", **detail: Any) -> Event:
    """Something that happened."""
    return Event(number, "2026-01-02T03:04:05.678Z", time.monotonic_ns(), kind, detail, f"{kind}.")


def until(true: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait for something to be so."""
    until_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until_s, "it did not come to that"
        time.sleep(0.005)


@contextlib.contextmanager
def sending(port: int, retry_s: tuple[float, float] = SOON_S, **settings: Any) -> Iterator[Mqtt]:
    """An outlet, to a broker on this machine unless told otherwise."""
    about = {"enabled": True, "host": "127.0.0.1", "port": port, "name": "shed", **settings}
    outlet = Mqtt(MqttSettings(**about), retry_s=retry_s)
    try:
        yield outlet
    finally:
        outlet.close()


class Run:
    """A run that an outlet is told of, frame by frame."""

    def __init__(self, outlet: Mqtt, run: str = "run-1") -> None:
        self.overview = overview(run)
        self.outlet, self.run, self.frames = outlet, run, 0
        outlet.begin(self.overview)

    def classify(self, label: str, **more: Any) -> None:
        """One frame."""
        told = record(self.frames, label, self.run, **more)
        self.frames += 1
        self.overview.write(told)
        self.outlet.write(told)

    def change(self, times: int) -> None:
        """So many frames, each with another label than the one before."""
        for _ in range(times):
            self.classify(LABELS[self.frames % 2])


def heard(listener: Listener, topic: str) -> list[dict[str, Any]]:
    """The payloads that came to a topic of the device."""
    return [json.loads(each.payload) for each in listener.of(f"{BASE}/{topic}")]


def texts(messages: list[Message]) -> list[str]:
    """Their payloads."""
    return [each.payload.decode() for each in messages]


def without_repeats(numbers: list[int]) -> list[int]:
    """The same, each number where it came first."""
    return list(dict.fromkeys(numbers))
