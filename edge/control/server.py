"""The daemon's side of the socket; see `edge.control` for the protocol."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from edge.control.client import LINE_BYTES, short
from edge.errors import AlreadyRunningError, ControlError, EdgeError

QUIET_S = 2.0
CLIENTS = 64
"""So many at once; further ones wait until others have left."""
Answers = Mapping[str, Callable[[dict[str, Any]], object]]
"""What is asked for -> what answers: it takes the request, is quick, and raises EdgeError with one sentence."""

_MODE = 0o660
_END_S = 0.8  # for the thread to end by itself, out of the second that is promised
_RETRY_S = 0.05
_log = logging.getLogger(__name__)


class Control:
    """Answers clients, on a thread of its own, until it is closed."""

    def __init__(self, path: Path, answers: Answers, *, quiet_s: float = QUIET_S) -> None:
        """Listen at once.

        Args:
            path: where the socket is made; one that a killed daemon left is replaced.
            answers: called on this object's thread.
            quiet_s: how long a client may be quiet.

        Raises:
            AlreadyRunningError: a daemon answers there.
            ControlError: no socket can be made there.
        """
        self._path = path
        self._answers = dict(answers)
        self._quiet_s = quiet_s
        self._clients: set[_Client] = set()
        self._closing = False
        self._listener = _listen(path)
        self._made = _identity(path)
        self._waiting, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._waiting, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def answer_by(self, answers: Answers) -> None:
        """Answer by others from now on."""
        self._answers = dict(answers)

    def close(self) -> None:
        """Hang up and remove the socket, within a second; also when an answer is stuck."""
        if self._closing:
            return
        self._closing = True
        # Only its own: somebody may have removed it, and another daemon begun.
        if self._made is not None and _identity(self._path) == self._made:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._waker.close()
        self._thread.join(_END_S)

    def _serve(self) -> None:
        try:
            while not self._closing:
                for key, _ in self._selector.select(self._patience_s()):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.data, _Client):
                        self._attend(key.data)
                now_s = time.monotonic()
                for client in [each for each in self._clients if each.until_s <= now_s]:
                    self._drop(client)
        finally:
            for client in list(self._clients):
                client.connection.close()
            for each in (self._selector, self._listener, self._waiting):
                each.close()

    def _patience_s(self) -> Optional[float]:
        """How long to wait for anything to happen."""
        if not self._clients:
            return None
        return max(0.0, min(client.until_s for client in self._clients) - time.monotonic())

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # Gone already, or too many files are open: then the listener stays ready, and this must not spin.
            time.sleep(_RETRY_S)
            return
        client = _Client(connection, time.monotonic() + self._quiet_s)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)
        if len(self._clients) == CLIENTS:
            self._selector.unregister(self._listener)

    def _attend(self, client: _Client) -> None:
        """Read what a client says, answer it, and send what it takes."""
        try:
            if not client.unsent and not client.hear():
                self._drop(client)
                return
            while client.lines or client.unsent:
                if not client.unsent:
                    client.unsent = reply(client.lines.popleft(), self._answers)
                client.send()
                if not client.unsent:
                    client.until_s = time.monotonic() + self._quiet_s
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if client.endless and not client.unsent:
            self._drop(client)
            return
        wanted = selectors.EVENT_WRITE if client.unsent else selectors.EVENT_READ
        self._selector.modify(client.connection, wanted, client)

    def _drop(self, client: _Client) -> None:
        if len(self._clients) == CLIENTS:
            self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()


class _Client:
    """One connection: what was heard of it, and what it has still to take."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.until_s = until_s
        self.lines: deque[bytes] = deque()
        self.unsent = b""
        self.endless = False
        """Its line has become too long: it is told so, and then hung up on."""
        self._begun = b""

    def hear(self) -> bool:
        """Take what has come; False when the client has hung up."""
        heard = self.connection.recv(LINE_BYTES)
        *lines, self._begun = (self._begun + heard).split(b"\n")
        self.lines.extend(lines)
        if len(self._begun) > LINE_BYTES:
            self.lines.append(self._begun)
            self._begun = b""
            self.endless = True
        return bool(heard)

    def send(self) -> None:
        """Send as much as the client takes.

        Raises:
            BlockingIOError: it takes no more now.
        """
        self.unsent = self.unsent[self.connection.send(self.unsent) :]


def reply(line: bytes, answers: Answers) -> bytes:
    """The line that answers a line; it never raises."""
    try:
        return msgspec.json.encode({"ok": _answer(line, answers)}) + b"\n"
    except EdgeError as error:
        sentence = str(error)
    except Exception as error:
        # A fault in an answer is told to whoever asked, and must not end the thread.
        sentence = f"{type(error).__name__}: {' '.join(str(error).split())} (unexpected)."
        _log.warning("A request to the daemon failed: %s", sentence)
    # Names of files may hold bytes that no UTF-8 has.
    return msgspec.json.encode({"error": sentence.encode("utf-8", "replace").decode()}) + b"\n"


def _answer(line: bytes, answers: Answers) -> object:
    if len(line) > LINE_BYTES:
        raise ControlError(f"The request is longer than {LINE_BYTES} bytes: expected one JSON object a line.")
    try:
        request = msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ControlError(f"The request is no JSON: expected one object a line ({error}).") from None
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise ControlError('The request is no JSON object with a text "do" that names what is wanted.')
    if request["do"] not in answers:
        raise ControlError(f"There is no {request['do']!r} to ask for: choose one of {', '.join(sorted(answers))}.")
    return answers[request["do"]](request)


def _listen(path: Path) -> socket.socket:
    try:
        with _alone_in(path.parent):
            _remove_stale(path)
            listener = socket.socket(socket.AF_UNIX)
            try:
                with short(path) as address:
                    listener.bind(address)
                # Before it listens, so that nobody comes in earlier.
                path.chmod(_MODE)
                listener.listen(CLIENTS)
                listener.setblocking(False)
            except BaseException:
                listener.close()
                raise
    except OSError as error:
        raise ControlError(f"Cannot listen at {path}: {error.strerror or error}.") from None
    return listener


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"{path} is in the way: expected no file there, or a socket of an earlier daemon.")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            with short(path) as address:
                probe.connect(address)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink()
        return
    except BlockingIOError:
        pass  # somebody is there, and busy
    raise AlreadyRunningError(f"A daemon is already running on this journal: it answers at {path}; stop it first.")


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps two daemons that begin at once from taking each other's new socket for a stale one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(round(1 / _RETRY_S)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:  # held by another, or a file system without locks: then it goes without
                time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> Optional[tuple[int, int]]:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
