"""Answers HTTP requests on one thread that no peer can hold up, however many there are and whatever they do."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from http import HTTPStatus
from typing import Callable, Optional

from edge.outlets import CLOSE_S, Trouble
from edge.outlets.prometheus.wire import Response

CLIENTS = 64
"""So many connections at once; a further one takes the place of the oldest."""
DEADLINE_S = 5.0
"""For a connection from its beginning to its end."""
HEAD_BYTES = 8192

_BACKLOG = 1024  # Linux drops what is more, and whoever was dropped tries again after a second
_ACCEPTED_AT_ONCE = 16
_BREATH_S = 0.01
"""Between two rounds, so that a flood leaves the processor to others."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 60.0
_MARGIN_S = 0.1
_IGNORED_BYTES = 1 << 20
"""Said after the answer, before somebody is hung up on."""
_END = b"\r\n\r\n"


class Server:
    """Serves from the moment on at which its port is free, until it is closed."""

    def __init__(
        self,
        address: str,
        port: int,
        answer: Callable[[bytes], Response],
        trouble: Trouble,
        *,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Start the thread.

        Args:
            address: an IP address of this machine.
            port: 0 takes any that is free.
            answer: gets a request's head, without the empty line that ends it; what is too long for one is empty.
                Called on the thread; one that raises has all hung up on, for a while.
            trouble: is told when it cannot listen, or fails.
            deadline_s: after so much time a connection is closed.
        """
        self.port = port
        """As soon as it listens the one that it has."""
        self.answered = self.dropped = 0
        """Requests answered with what was asked for; connections closed that got no answer at all."""
        self._address, self._answer, self._trouble, self._deadline_s = address, answer, trouble, deadline_s
        self._clients: dict[_Client, None] = {}
        """The oldest first."""
        self._closing = False
        self._waiting, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waiting, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="prometheus", daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        """Address and port as they stand in a URL."""
        return f"[{self._address}]:{self.port}" if ":" in self._address else f"{self._address}:{self.port}"

    @property
    def waiting(self) -> int:
        """Connections without an answer yet."""
        return sum(not client.answered for client in self._clients.copy())

    def close(self) -> None:
        """Hang up, within `CLOSE_S`; also when an answer is stuck."""
        self._closing = True
        self._waker.close()
        self._thread.join(CLOSE_S - _MARGIN_S)

    def _run(self) -> None:
        """Listen and serve, and again after a fault of ours, which must not end the thread."""
        pause_s = _FIRST_PAUSE_S
        while not self._closing:
            began_s = time.monotonic()
            try:
                listener = self._listen_at_last()
                if listener:
                    with listener:
                        self._serve(listener)
            except Exception as error:
                logging.getLogger(__name__).debug("Unexpected", exc_info=True)
                self._trouble.begins(
                    f"it failed, which was not expected ({type(error).__name__}: {error}); it is tried again, at least "
                    "once a minute."
                )
            self._begin_anew()
            if time.monotonic() - began_s > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            if not self._closing:
                self._selector.select(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._selector.close()
        self._waiting.close()

    def _begin_anew(self) -> None:
        """Hang up on all, and wait only for the end; the listener is closed."""
        for client in self._clients:
            self.dropped += not client.answered
            client.connection.close()
        self._clients.clear()
        for key in [*self._selector.get_map().values()]:
            if key.fileobj is not self._waiting:
                self._selector.unregister(key.fileobj)

    def _listen_at_last(self) -> Optional[socket.socket]:
        """Try until the port can be had; None when closed before that."""
        pause_s = _FIRST_PAUSE_S
        while not self._closing:
            listener = self._try_to_listen()
            if listener:
                return listener
            self._selector.select(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return None

    def _try_to_listen(self) -> Optional[socket.socket]:
        try:
            listener = _listen(self._address, self.port)
        except OSError as error:
            self._trouble.begins(
                f"cannot listen at {self.place} ({error.strerror or error}): end the program that does, or give "
                "another prometheus.address or prometheus.port; it is tried again, at least once a minute."
            )
            return None
        self.port = listener.getsockname()[1]
        self._trouble.ends(f"listens at {self.place}.")
        return listener

    def _serve(self, listener: socket.socket) -> None:
        self._selector.register(listener, selectors.EVENT_READ)
        while not self._closing:
            for key, _ in self._selector.select(self._patience_s()):
                if key.fileobj is listener:
                    self._accept(listener)
                elif key.data in self._clients:  # else another took its place in this very round
                    self._attend(key.data)
            now_s = time.monotonic()
            for client in [each for each in self._clients if each.until_s <= now_s]:
                self._hang_up(client)
            time.sleep(_BREATH_S)

    def _patience_s(self) -> Optional[float]:
        """How long to wait for anything to happen."""
        oldest = next(iter(self._clients), None)
        return None if oldest is None else max(0.0, oldest.until_s - time.monotonic())

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # gone already, or too many files are open
                self._make_room()
                return
            if len(self._clients) >= CLIENTS:
                self._make_room()
            client = _Client(connection, time.monotonic() + self._deadline_s)
            self._clients[client] = None
            self._selector.register(connection, selectors.EVENT_READ, client)

    def _make_room(self) -> None:
        for oldest in [*self._clients][:1]:
            self._hang_up(oldest)

    def _attend(self, client: _Client) -> None:
        """Read what a client says, answer it, send what it takes, and wait for it to leave."""
        try:
            if not client.unsent:
                head = client.hear()
                if head is None:
                    return
                reply = self._answer(head)
                client.unsent, client.right = memoryview(reply.content), reply.status == HTTPStatus.OK
                self._selector.modify(client.connection, selectors.EVENT_WRITE, client)
            client.send()
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self._leave(client)
            return
        if not client.unsent:
            client.answered = True
            self.answered += client.right
            self._selector.modify(client.connection, selectors.EVENT_READ, client)

    def _leave(self, client: _Client) -> None:
        """A client has gone; what it was being sent did not arrive."""
        self.dropped += bool(client.unsent)
        self._forget(client)

    def _hang_up(self, client: _Client) -> None:
        self.dropped += not client.answered
        self._forget(client)

    def _forget(self, client: _Client) -> None:
        del self._clients[client]
        self._selector.unregister(client.connection)
        client.connection.close()


class _Client:
    """One connection: what was heard of it, and what it has still to take."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.until_s = until_s
        self.unsent = memoryview(b"")
        self.right = False
        """It asked for what there is."""
        self.answered = False
        self._heard = b""
        self._ignored_bytes = 0

    def hear(self) -> Optional[bytes]:
        """The head of its request; None until it is whole, and once it is answered.

        Raises:
            EOFError: it has left, or will not stop talking.
        """
        heard = self.connection.recv(HEAD_BYTES)
        if not heard:
            raise EOFError
        if self.answered:
            self._ignored_bytes += len(heard)
            if self._ignored_bytes > _IGNORED_BYTES:
                raise EOFError
            return None
        head, end, _ = (self._heard + heard).partition(_END)
        if len(head) > HEAD_BYTES:
            return b""
        self._heard = b"" if end else head
        return head if end else None

    def send(self) -> None:
        """Send all, and that there is no more.

        Raises:
            BlockingIOError: it takes no more now.
        """
        while self.unsent:
            self.unsent = self.unsent[self.connection.send(self.unsent) :]
        self.connection.shutdown(socket.SHUT_WR)


def _listen(address: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    family, kind, protocol, _, place = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # :: stands for all addresses
        listener.bind(place)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
