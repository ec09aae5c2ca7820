"""Stands in for systemd: a socket that takes what a service tells, for the tests."""

from __future__ import annotations

import socket
import time
from pathlib import Path


class Notices:
    """Listens at a path, which is for $NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.all: list[dict[str, str]] = []
        """Each message with its names and values, as they came."""

    def wait_for(self, name: str, text: str = "", within_s: float = 20.0) -> dict[str, str]:
        """The next message that has a name whose value holds a text."""
        until_s = time.monotonic() + within_s
        while True:
            self._socket.settimeout(max(0.01, until_s - time.monotonic()))
            try:
                message = self._socket.recv(4096).decode()
            except socket.timeout:
                raise AssertionError(f"no {name} with {text!r} within {within_s} s; came: {self.all}") from None
            self.all.append(dict(line.partition("=")[::2] for line in message.splitlines()))
            if name in self.all[-1] and text in self.all[-1][name]:
                return self.all[-1]

    def drain(self) -> list[dict[str, str]]:
        """What has come by now and was not waited for."""
        self._socket.setblocking(False)
        before = len(self.all)
        try:
            while True:
                self.all.append(
                    dict(line.partition("=")[::2] for line in self._socket.recv(4096).decode().splitlines())
                )
        except BlockingIOError:
            return self.all[before:]

    def close(self) -> None:
        self._socket.close()
