"""Clients of the outlets, in a process of their own: some that look at the page as a browser does, some that hang.

`python -m tests.benchmarks.lookers PORT COUNT KIND`; KIND is one of `KINDS`. Prints "ready", then waits for the end of
its stdin, and prints how many answers it got.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 30
_ASKED = 200


class Lookers:
    """So many clients at a port of this machine, until the block ends."""

    def __init__(self, port: int, count: int, kind: str) -> None:
        self._arguments = [str(port), str(count), kind]
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Lookers:
        command = [sys.executable, "-m", "tests.benchmarks.lookers", *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def leave(self) -> int:
        """End them; how many answers they got."""
        told, _ = self._process.communicate()
        return int(told)

    def __exit__(self, *_: Any) -> None:
        self._process.kill()
        self._process.wait()


def look(port: int, answered: itertools.count[int]) -> None:
    """Ask for the live picture and for the state, one after the other of each, as the page does."""
    threading.Thread(target=_again, args=(_states, port, answered), daemon=True).start()
    _again(_pictures, port, answered)


def _again(ask: Callable[[int, itertools.count[int]], None], port: int, answered: itertools.count[int]) -> None:
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(port, answered)
        time.sleep(0.5)


def _pictures(port: int, answered: itertools.count[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    after = ""
    while True:
        connection.request("GET", f"/picture.jpg{after}")
        answer = connection.getresponse()
        answer.read()
        after = f"?after={answer.headers['X-Sequence']}" if answer.status == 200 else ""
        next(answered)


def _states(port: int, answered: itertools.count[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    after = ""
    while True:
        connection.request("GET", f"/api/state{after}")
        after = f"?after={json.loads(connection.getresponse().read())['number']}"
        next(answered)


def never_read(port: int, paths: tuple[str, ...]) -> None:
    """Ask for much, again and again, and take nothing; where the other side has hung up, begin anew."""
    request = "".join(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" for path in paths).encode()
    while True:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(_PATIENCE_S)
            try:
                connection.connect(("127.0.0.1", port))
                for _ in range(_ASKED):
                    connection.sendall(request)
                    time.sleep(0.1)
            except OSError:
                time.sleep(0.1)


KINDS = {
    "looks": look,
    "never reads": lambda port, _: never_read(port, ("/picture.jpg", "/api/state", "/page.js")),
    "scrapes, never reads": lambda port, _: never_read(port, ("/metrics",)),
}


def main() -> None:
    """Be so many clients."""
    port, count, kind = int(sys.argv[1]), int(sys.argv[2]), KINDS[sys.argv[3]]
    answered = itertools.count()
    for _ in range(count):
        threading.Thread(target=kind, args=(port, answered), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    print(next(answered))


if __name__ == "__main__":
    main()
