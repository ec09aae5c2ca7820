"""Outlets that do what real ones should not, and one that remembers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from edge.errors import OutletError
from edge.outlets import OutletStatus
from edge.outlets.settings import MqttSettings, PrometheusSettings
from edge.overview import Overview
from edge.privacy import PrivacySettings
from edge.records import Event, Frame, Record
from edge.web.settings import WebSettings


class Remembers:
    """In place of MQTT."""

    opened: ClassVar[list[Remembers]] = []

    def __init__(self, settings: MqttSettings) -> None:
        self.settings = settings
        self.runs: list[str] = []
        self.records: list[Record] = []
        self.events: list[Event] = []
        self.taken_over: list[str] = []
        self.closed = False
        self.overview: Overview
        self.opened.append(self)

    def begin(self, overview: Overview) -> None:
        self.overview = overview
        self.runs.append(overview.run)

    def write(self, record: Record) -> None:
        self.records.append(record)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def status(self) -> OutletStatus:
        return OutletStatus("here", delivered=len(self.records), dropped=1, waiting=3)

    def close(self) -> None:
        self.closed = True

    def left(self) -> list[str]:
        return ["one", "another"]

    def take_over(self, messages: Sequence[str]) -> None:
        self.taken_over += messages


class Fails:
    """In place of metrics: every call raises."""

    def __init__(self, settings: PrometheusSettings) -> None: ...

    def _fail(self, *_: Any) -> Any:
        raise ValueError("a fault")

    begin = write = event = status = close = _fail


class Hangs:
    """In place of the page: sees pictures, and never ends."""

    def __init__(self, settings: WebSettings, _: PrivacySettings) -> None:
        self.wants_pixels = settings.preview
        self.seen = 0

    def begin(self, overview: Overview) -> None: ...

    def write(self, record: Record) -> None: ...

    def event(self, event: Event) -> None: ...

    def see(self, frame: Frame, _: Record) -> None:
        assert frame.pixels.size
        self.seen += 1

    def status(self) -> OutletStatus:
        return OutletStatus("there", delivered=self.seen)

    def close(self) -> None:
        threading.Event().wait()


class Refuses:
    """What it needs is not there."""

    def __init__(self, *_: Any) -> None:
        raise OutletError("a package is not installed: install it.")
