"""Tells systemd how a service does, over the socket that it names: see sd_notify(3). Elsewhere nothing happens."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Optional

NOTICE = 25
"""Of the log's levels: good news that a person waits for, between INFO and WARNING."""
_LONGEST_STATUS = 500
_WAIT_S = 1.0
"""For a busy systemd to take what is told once only; what is told again soon does not wait."""


class Notifier:
    """Sends to systemd from any thread; what cannot be sent is not worth an error."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Look where systemd listens.

        Args:
            environment: has NOTIFY_SOCKET, and WATCHDOG_USEC where the unit has a watchdog.
        """
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        meant = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        usec = environment.get("WATCHDOG_USEC", "")
        self.watchdog_s: Optional[float] = int(usec) / 1e6 if self._address and meant and usec.isdecimal() else None
        """Without a sign of life for so long, systemd kills the process and starts it again; None: it does not."""
        self.watches_s = self.watchdog_s
        """The same at present: see `watch_for`."""

    def ready(self) -> None:
        """The service does its work."""
        self._send("READY=1", _WAIT_S)

    def reloading(self) -> None:
        """A new configuration is being taken over; `ready` ends that."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", _WAIT_S)

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1", _WAIT_S)

    def status(self, words: str) -> None:
        """What it does, in one line for a person."""
        self._send(f"STATUS={' '.join(words.split())[:_LONGEST_STATUS]}")

    def extend(self, seconds: float) -> None:
        """Starting or stopping may take so long from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def watch_for(self, seconds: float) -> None:
        """Have the watchdog wait for so long between two signs of life, and never less than the unit says."""
        if self.watchdog_s is None:
            return
        wanted_s = max(seconds, self.watchdog_s)
        if wanted_s != self.watches_s:
            self.watches_s = wanted_s
            self._send(f"WATCHDOG_USEC={round(wanted_s * 1e6)}\nWATCHDOG=1", _WAIT_S)

    def _send(self, message: str, wait_s: float = 0.0) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(wait_s)
            sender.sendto(message.encode("utf-8", "replace"), self._address)
