"""The outlets that a configuration asks for, kept from run to run, and kept from doing the loop any harm."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial
from typing import Any, Callable, Optional

import msgspec

from edge.config import Config
from edge.outlets import CLOSE_S, OutletStatus
from edge.overview import Overview
from edge.records import Event, Frame, Record
from edge.service.held import KINDS, Held

_LATE_S = 0.1
"""Beyond `CLOSE_S`, before an outlet that does not end is left behind."""


class Outlets:
    """All outlets as one sink and viewer of the loop, which nothing here keeps waiting; never raises."""

    def __init__(self) -> None:
        """Begin without any."""
        self._held: dict[str, Held] = {}
        self._changes: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._changing: Optional[threading.Thread] = None

    def open(self, config: Config) -> None:
        """Open what a configuration asks for, before there is a loop."""
        self._held = {name: Held(name, settings) for name, settings in _wanted(config).items()}
        for held in self._held.values():
            held.open()

    def change(self, config: Config) -> None:
        """Open what a configuration asks for, and close what it does not ask for any more, or otherwise: soon."""
        wanted, before = _wanted(config), self._held
        kept = {name: held for name, held in before.items() if held.serves(wanted.get(name))}
        self._held = {name: kept.get(name) or Held(name, settings) for name, settings in wanted.items()}
        for name in {**before, **self._held}:
            old, new = before.get(name), self._held.get(name)
            if old is not new:
                self._soon(partial(_exchange, old, new))

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._held)

    def begin(self, overview: Overview) -> None:
        """A run begins."""
        for held in self._held.values():
            held.begin(overview)

    def write(self, record: Record) -> None:
        """Hand a record on."""
        for held in self._held.values():
            held.call("write", record)

    def see(self, frame: Frame, record: Record) -> None:
        """Show a frame to whom it concerns."""
        for held in self._held.values():
            if held.wants_pixels:
                held.call("see", frame, record)

    def event(self, event: Event) -> None:
        """Hand on what happened."""
        for held in tuple(self._held.values()):
            held.event(event)

    def status(self) -> dict[str, OutletStatus]:
        """How each does, by its name."""
        return {name: held.status() for name, held in tuple(self._held.items())}

    def told(self) -> dict[str, Any]:
        """What belongs to an overview's status."""
        return {"outlets": msgspec.to_builtins(self.status())} if self._held else {}

    def end(self) -> None:
        """Begin to end all, side by side."""
        for held in self._held.values():
            held.end()

    def close(self) -> None:
        """Wait for the end of all, which was begun by `end`; one that hangs is left behind."""
        until_s = time.monotonic() + CLOSE_S + _LATE_S
        for held in self._held.values():
            held.ended.wait(max(0.0, until_s - time.monotonic()))

    def _soon(self, change: Callable[[], object]) -> None:
        """Have something done beside the loop, after all that was to be done before."""
        self._changes.put(change)
        if self._changing is None:
            self._changing = threading.Thread(target=self._change, name="outlets", daemon=True)
            self._changing.start()

    def _change(self) -> None:
        while True:
            self._changes.get()()


def _wanted(config: Config) -> dict[str, tuple[Any, ...]]:
    """For each outlet that is asked for, what its constructor takes."""
    return {
        name: tuple(getattr(config, section) for section in kind.sections)
        for name, kind in KINDS.items()
        if getattr(config, kind.sections[0]).enabled
    }


def _exchange(old: Optional[Held], new: Optional[Held]) -> None:
    """Close one, and open the other with what it left."""
    if old:
        old.end()
        old.ended.wait(CLOSE_S + _LATE_S)
    if new:
        new.open(old)
