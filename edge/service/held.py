"""One outlet of a service, from its opening to its end; its errors are counted and told once, and go no further."""

from __future__ import annotations

import importlib
import threading
from collections import deque
from typing import Any, NamedTuple, Optional, Protocol, runtime_checkable

import msgspec

from edge.errors import OutletError
from edge.outlets import Leaving, Outlet, OutletStatus, Trouble
from edge.overview import KEPT_EVENTS, Overview
from edge.records import Event, Frame, Record


class Kind(NamedTuple):
    """What can be asked for."""

    place: str
    """Module and class."""
    sections: tuple[str, ...]
    """Of the configuration, for its constructor; the first has `enabled`."""


KINDS = {
    "mqtt": Kind("edge.outlets.mqtt:Mqtt", ("mqtt",)),
    "prometheus": Kind("edge.outlets.prometheus:Prometheus", ("prometheus",)),
    "web": Kind("edge.web.outlet:Web", ("web", "privacy")),
}


@runtime_checkable
class Viewer(Protocol):
    """An outlet that is shown frames too."""

    wants_pixels: bool
    """Whether it shows them to anybody."""

    def see(self, frame: Frame, record: Record) -> None:
        """Look at a frame and its record; see `edge.loop.daemon.Viewer`."""


class Held:
    """An outlet, or its place where it is not open yet, or cannot be."""

    def __init__(self, name: str, settings: tuple[Any, ...]) -> None:
        """Nothing is opened yet.

        Args:
            name: one of `KINDS`.
            settings: for its constructor.
        """
        self.wants_pixels = False
        self.ended = threading.Event()
        """What `end` began is over."""
        self._name, self._settings = name, settings
        self._outlet: Optional[Outlet] = None
        self._overview: Optional[Overview] = None
        self._opening = threading.Lock()
        self._ending = self._failed_to_open = False
        self._early: deque[Event] = deque(maxlen=KEPT_EVENTS)
        """What happened while it was being opened."""
        self._trouble, self._failures = Trouble(name), 0
        self._failing: Optional[str] = None
        """What it last failed to do."""
        self._before = OutletStatus("")
        """What those counted that this one follows."""

    def serves(self, settings: Optional[tuple[Any, ...]]) -> bool:
        """Whether it is what these settings ask for; one that cannot be opened is to be tried again."""
        return self._settings == settings and not self._failed_to_open

    def open(self, old: Optional[Held] = None) -> None:
        """Open it, with what an old one of the same name left when it ended."""
        if old:
            told = old.status()
            dropped = told.dropped + told.waiting
            self._before = msgspec.structs.replace(told, dropped=dropped, waiting=0)
        module, _, kind = KINDS[self._name].place.partition(":")
        try:
            outlet: Outlet = getattr(importlib.import_module(module), kind)(*self._settings)
            if old and isinstance(outlet, Leaving) and isinstance(old._outlet, Leaving):
                left = old._outlet.left()
                outlet.take_over(left)
                self._before = msgspec.structs.replace(self._before, dropped=self._before.dropped - len(left))
        except OutletError as error:
            self._cannot_open(str(error))
            return
        except Exception as error:
            self._cannot_open(_unexpected(error))
            return
        with self._opening:
            self._outlet = outlet
            self.wants_pixels = isinstance(outlet, Viewer) and outlet.wants_pixels
            if self._overview:
                self.call("begin", self._overview)
            for event in self._early:
                self.call("event", event)
            self._early.clear()
            ending = self._ending
        if ending:
            self._close()

    def begin(self, overview: Overview) -> None:
        """A run begins."""
        with self._opening:
            self._overview = overview
            self.call("begin", overview)

    def event(self, event: Event) -> None:
        """Something happened; what did so while it was being opened it is told afterwards."""
        with self._opening:
            if self._outlet is None:
                self._early.append(event)
            else:
                self.call("event", event)

    def call(self, method: str, *arguments: object) -> None:
        """Have it do something, where it is open."""
        if self._outlet is None:
            return
        try:
            getattr(self._outlet, method)(*arguments)
        except Exception as error:
            self._failures += 1
            self._failing = method
            self._trouble.begins(_unexpected(error))
        else:
            if self._failing == method:
                self._failing = None
                self._trouble.ends("it works again.")

    def status(self) -> OutletStatus:
        """How it does, and what it and those before it counted; what it failed to take counts as dropped."""
        told = OutletStatus("not open" if self._failed_to_open else "being opened")
        if self._outlet:
            try:
                told = self._outlet.status()
            except Exception as error:
                self._failing = "status"
                self._trouble.begins(_unexpected(error))
        return msgspec.structs.replace(
            told,
            trouble=told.trouble or self._trouble.sentence,
            delivered=told.delivered + self._before.delivered,
            dropped=told.dropped + self._before.dropped + self._failures,
        )

    def end(self) -> None:
        """Begin to end it, on a thread of its own."""
        with self._opening:
            self._ending = True
        threading.Thread(target=self._close, name=f"{self._name} ends", daemon=True).start()

    def _close(self) -> None:
        self.call("close")
        self.ended.set()

    def _cannot_open(self, why: str) -> None:
        self._failed_to_open = True
        self._trouble.begins(why)


def _unexpected(error: Exception) -> str:
    return f"it failed, which was not expected ({type(error).__name__}: {error}); the rest goes on without it."
