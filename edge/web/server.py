"""Speaks HTTP: connections in, requests to whoever answers them, answers out. All that knows aiohttp is here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Callable

from edge.web.connections import Connections
from edge.web.messages import MOST_BODY_BYTES, Answer, RefusedError, Request
from edge.web.speaking import speaking

if TYPE_CHECKING:
    from aiohttp import web

SEND_BUFFER_BYTES = 65_536
"""The kernel's, for each connection: who does not read does not hold more."""
_WAITING_CONNECTIONS = 128
_BODY_S = 5.0
_RETRY_S = 0.1
_LINGER_S = 1.0
_END_S = 0.1


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: that cannot be.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(_WAITING_CONNECTIONS)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Server:
    """Serves on one listening socket. For one thread."""

    def __init__(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        """To be made where a loop runs.

        Args:
            answer: never raises.
        """
        from aiohttp import web

        self.answered = 0
        """Requests."""
        self._answer, self._silent = answer, _silent()
        self._web = web.Server(self._handle, handler_cancellation=True)
        self.connections = Connections(self._speaking)

    async def serve(self, listener: socket.socket) -> None:
        """Let connections in until cancelled; closes the socket."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listener)
                except OSError:
                    # It is gone already, or too many files are open: then the next try fails too, and must not spin.
                    await asyncio.sleep(_RETRY_S)
                    continue
                if self.connections.has_room():
                    await self._let_in(connection, str(peer[0]))
                else:
                    connection.close()
                    await asyncio.sleep(0)  # others have their turn, however many come
        finally:
            listener.close()

    async def close(self) -> None:
        """Hang up on all."""
        self.connections.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._web.shutdown(_END_S), 2 * _END_S)

    def _speaking(self) -> asyncio.Protocol:
        return speaking()(
            self._web,
            loop=asyncio.get_running_loop(),
            access_log=self._silent,
            logger=self._silent,
            debug=False,
            lingering_time=_LINGER_S,
            auto_decompress=False,
        )

    async def _let_in(self, connection: socket.socket, address: str) -> None:
        try:
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: self.connections.make(address), connection)
        except OSError:
            connection.close()

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        connection = self.connections.of(raw.transport)
        if connection is None:  # it was ended meanwhile
            raise ConnectionResetError
        connection.asks()
        try:
            answer = await self._answer(_request(raw, lambda: setattr(connection, "known", True)))
        finally:
            connection.answered()
        self.answered += 1
        headers = {**answer.headers, **({"Content-Type": answer.kind} if answer.kind else {})}
        response = web.Response(status=answer.status, body=answer.body or None, headers=headers)
        if connection.too_much or not raw.content.is_eof():  # what is left of a body is not waited for
            response.force_close()
        return response


def _request(raw: web.BaseRequest, welcome: Callable[[], object]) -> Request:
    return Request(
        method=raw.method,
        path=raw.path,
        query=raw.query,
        headers=raw.headers,
        hosts=tuple(raw.headers.getall("Host", ())),
        address=raw.remote or "",
        body=lambda: _body(raw),
        welcome=welcome,
    )


async def _body(raw: web.BaseRequest) -> bytes:
    too_long = RefusedError(413, f"The body is longer than {MOST_BODY_BYTES} bytes.")
    if (raw.content_length or 0) > MOST_BODY_BYTES:
        raise too_long
    parts: list[bytes] = []

    async def read() -> None:
        while part := await raw.content.readany():
            parts.append(part)
            if sum(map(len, parts)) > MOST_BODY_BYTES:
                raise too_long

    try:
        await asyncio.wait_for(read(), _BODY_S)
    except asyncio.TimeoutError:
        raise RefusedError(408, f"The body did not come within {_BODY_S:g} s.") from None
    return b"".join(parts)


def _silent() -> logging.Logger:
    """For what clients do wrong: it would fill the log."""
    logger = logging.Logger("HTTP")
    logger.disabled = True
    return logger
