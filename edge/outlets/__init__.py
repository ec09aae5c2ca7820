"""Where a service's results go beside its journal: other programs and people, over the network.

An outlet outlives runs: it is opened once, and told when another run begins. It never stops or slows the loop: its
methods return at once and hold no more than a bounded number of things, and threads of its own do the rest. What it
cannot deliver it drops, and counts.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import Any, Optional, Protocol, runtime_checkable

import msgspec

from edge.notify import NOTICE
from edge.overview import Overview
from edge.records import Event, Record

CLOSE_S = 0.5
"""For an outlet to send what it still holds; a program that is told to stop is to end within a second."""


class OutletStatus(msgspec.Struct, frozen=True):
    """How an outlet does."""

    where: str
    """The address that it serves or sends to."""
    trouble: Optional[str] = None
    """A sentence that says why it does not work at present; None when all is well."""
    delivered: int = 0
    """Messages, or answers to requests."""
    dropped: int = 0
    """What it was to deliver and did not, since it was opened."""
    waiting: int = 0
    """Not delivered yet."""


class Outlet(Protocol):
    """Shows results elsewhere. All methods but `status` are called by the service's threads, and return at once."""

    def begin(self, overview: Overview) -> None:
        """A run begins; the one before it is over. Opens nothing again."""

    def write(self, record: Record) -> None:
        """Take one frame's record; on the thread that classifies."""

    def event(self, event: Event) -> None:
        """Take something that happened, such as a camera that was lost."""

    def status(self) -> OutletStatus:
        """How it does; for any thread."""

    def close(self) -> None:
        """End, within `CLOSE_S`."""


@runtime_checkable
class Leaving(Protocol):
    """An outlet that can go on with what another of its class, which has been closed, did not deliver."""

    def left(self) -> Sequence[Any]:
        """What was neither delivered nor dropped, the oldest first; to be called after `close`.

        It is still among those that wait in `status`: whoever asks has it taken over, or counts it as dropped.
        """

    def take_over(self, messages: Sequence[Any]) -> None:
        """Deliver what another one left, before all that comes later; to be called before `begin`.

        Args:
            messages: what `left` gave, the oldest first. What is too much for this one is dropped, the oldest first,
                and counted.
        """


class Trouble:
    """Why an outlet does not work: told once in the log, and once when it is over."""

    def __init__(self, outlet: str) -> None:
        """Begin without any.

        Args:
            outlet: what to call it, its section of the configuration, such as "mqtt".
        """
        self.sentence: Optional[str] = None
        self._outlet = outlet

    def begins(self, sentence: str) -> None:
        """It does not work; what is said while it already does not is only remembered."""
        if self.sentence is None:
            logging.getLogger(__name__).warning("%s: %s", self._outlet, sentence)
        self.sentence = sentence

    def ends(self, how: str) -> None:
        """It works, again where it did not before."""
        if self.sentence is not None:
            logging.getLogger(__name__).log(NOTICE, "%s: %s", self._outlet, how)
        self.sentence = None


def host_name() -> str:
    """What this machine calls itself, without a domain."""
    return socket.gethostname().partition(".")[0] or "edge"
