"""The outlets that a configuration asks for, kept from run to run, and kept from doing the loop any harm."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional, Protocol, runtime_checkable

import msgspec

from edge.config import Config
from edge.errors import OutletError
from edge.outlets import CLOSE_S, Outlet, OutletStatus, Trouble
from edge.overview import Overview
from edge.records import Event, Frame, Record

_LATE_S = 0.1
"""Beyond `CLOSE_S`, before an outlet that does not end is left behind."""


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


class Outlets:
    """All outlets as one sink and viewer of the loop; never raises."""

    def __init__(self) -> None:
        """Begin without any."""
        self._open: dict[str, _Guarded] = {}

    def follow(self, config: Config) -> None:
        """Open what a configuration asks for, and close what it does not ask for any more, or otherwise."""
        wanted = {
            name: tuple(getattr(config, section) for section in kind.sections)
            for name, kind in KINDS.items()
            if getattr(config, kind.sections[0]).enabled
        }
        kept = {name: each for name, each in self._open.items() if each.outlet and each.settings == wanted.get(name)}
        _close(each for name, each in self._open.items() if name not in kept)
        self._open = {name: kept.get(name) or _Guarded(name, settings) for name, settings in wanted.items()}

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._open)

    @property
    def wants_pixels(self) -> bool:
        """Whether one shows pictures."""
        return any(each.wants_pixels for each in self._open.values())

    def begin(self, overview: Overview) -> None:
        """A run begins."""
        overview.told_by.append(self._told)
        for each in self._open.values():
            each.call("begin", overview)

    def write(self, record: Record) -> None:
        """Hand a record on."""
        for each in self._open.values():
            each.call("write", record)

    def see(self, frame: Frame, record: Record) -> None:
        """Show a frame to whom it concerns."""
        for each in self._open.values():
            if each.wants_pixels:
                each.call("see", frame, record)

    def event(self, event: Event) -> None:
        """Hand on what happened."""
        for each in tuple(self._open.values()):
            each.call("event", event)

    def status(self) -> dict[str, OutletStatus]:
        """How each does, by its name."""
        return {name: each.status() for name, each in tuple(self._open.items())}

    def close(self) -> None:
        """End all, side by side; one that hangs is left behind."""
        _close(self._open.values())

    def _told(self) -> dict[str, Any]:
        return {"outlets": msgspec.to_builtins(self.status())} if self._open else {}


class _Guarded:
    """An outlet whose errors are counted and told once, and go no further."""

    def __init__(self, name: str, settings: tuple[Any, ...]) -> None:
        """Open it; where that cannot be, what it is handed is dropped."""
        self.settings = settings
        self.outlet: Optional[Outlet] = None
        self.wants_pixels = False
        self._trouble, self._failures = Trouble(name), 0
        module, _, kind = KINDS[name].place.partition(":")
        try:
            self.outlet = getattr(importlib.import_module(module), kind)(*settings)
        except OutletError as error:
            self._trouble.begins(str(error))
        except Exception as error:
            self._trouble.begins(_unexpected(error))
        else:
            self.wants_pixels = isinstance(self.outlet, Viewer) and self.outlet.wants_pixels

    def call(self, method: str, *arguments: object) -> None:
        """Have it do something."""
        if self.outlet is None:
            return
        try:
            getattr(self.outlet, method)(*arguments)
        except Exception as error:
            self._failures += 1
            self._trouble.begins(_unexpected(error))

    def status(self) -> OutletStatus:
        """How it does; what it failed to take counts as dropped."""
        told = OutletStatus("")
        if self.outlet:
            try:
                told = self.outlet.status()
            except Exception as error:
                self._trouble.begins(_unexpected(error))
        return msgspec.structs.replace(
            told, trouble=told.trouble or self._trouble.sentence, dropped=told.dropped + self._failures
        )


def _unexpected(error: Exception) -> str:
    return f"it failed, which was not expected ({type(error).__name__}: {error}); the rest goes on without it."


def _close(outlets: Iterable[_Guarded]) -> None:
    """End them side by side."""
    threads = [
        threading.Thread(target=each.call, args=("close",), name="outlet closing", daemon=True) for each in outlets
    ]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + CLOSE_S + _LATE_S
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
