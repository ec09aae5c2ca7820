"""The client's side of `edge.control`, where the language is described."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

import msgspec

from edge.errors import ControlError, NoDaemonError

LINE_BYTES = 65_536
"""A request holds at most so many."""
_RETRY_S = 0.05


def ask(path: Path, request: Mapping[str, object], timeout_s: float = 5.0, *, journal: Optional[Path] = None) -> Any:
    """Ask a running daemon.

    Args:
        path: its socket.
        request: what to send: `do`, and what belongs to it.
        timeout_s: how long to wait for the answer.
        journal: what to call it in errors. [path]

    Returns:
        What it answered.

    Raises:
        NoDaemonError: no daemon runs there.
        ControlError: it does not answer in time, or it cannot do what was asked.
    """
    named = journal or path
    line = msgspec.json.encode(request) + b"\n"
    if len(line) > LINE_BYTES:
        raise ControlError(f"The request has {len(line)} bytes: a daemon takes at most {LINE_BYTES}.")
    try:
        received = _exchange(path, line, time.monotonic() + timeout_s)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemonError(
            f"No daemon is running on {named}: start `edge run --journal {named}`, or the service (`edge service`)."
        ) from None
    except socket.timeout:
        raise ControlError(f"The daemon on {named} did not answer within {timeout_s:g} s: is it stuck?") from None
    except PermissionError:
        raise ControlError(
            f"You may not ask the daemon on {named}: it takes sudo, or the group that owns {path}."
        ) from None
    except OSError as error:
        raise ControlError(f"Cannot ask the daemon on {named}: {error.strerror or error} ({path}).") from None
    try:
        answer = msgspec.json.decode(received)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        answer = None
    if not received.endswith(b"\n"):
        raise ControlError(f"The daemon on {named} hung up before it answered: is it ending?")
    if isinstance(answer, dict) and "ok" in answer:
        return answer["ok"]
    if isinstance(answer, dict) and "error" in answer:
        raise ControlError(str(answer["error"]))
    raise ControlError(f"What answers at {path} is no daemon of edge-runner: it does not speak its language.")


def _exchange(path: Path, line: bytes, until_s: float) -> bytes:
    """Send a line; what came back, which ends with a newline unless the other side hung up.

    Raises:
        socket.timeout: it took too long.
        OSError: it cannot be done.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        while True:
            try:
                connection.settimeout(_left_s(until_s))
                with short(path) as address:
                    connection.connect(address)
                break
            except BlockingIOError:  # so many others wait to be let in that there is no room to wait
                time.sleep(_RETRY_S)
        connection.sendall(line)
        received = bytearray()
        while not received.endswith(b"\n"):
            connection.settimeout(_left_s(until_s))
            part = connection.recv(LINE_BYTES)
            if not part:
                break
            received += part
    return bytes(received)


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """A socket's address that is short enough for any folder: a Unix address has 107 bytes at most.

    Raises:
        OSError: there is no such folder.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise socket.timeout
    return left_s
