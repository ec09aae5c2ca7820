"""The connections to the page: so many at most, none for nothing, and none that holds much memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import Any, Callable, Optional, cast

MOST = 128
"""Twenty browsers, each with up to six."""
QUIET_S = 15.0
"""So long a connection may be without a whole request: from its begin, and from each answer on."""
UNREAD_S = 15.0
"""So long an answer may wait for somebody who does not read it."""
MOST_SENT_BYTES = 65_536
"""By a client, from one request to the next: four times what any has."""
MOST_AHEAD = 16
"""Requests of a client before the first is answered. No browser sends any; a flood would be parsed as it comes."""
_HEAD_ENDS = re.compile(rb"\n\r?\n")
_LOOK_EVERY_S = 1.0
_IDLE_S = 1.0
"""Whoever may ask, and has not for so long, gives way to others where there is no more room."""


class Connections:
    """All that are open. For the server's thread."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol], most: int = MOST) -> None:
        """Begin with none.

        Args:
            protocol: makes what speaks HTTP on a connection.
            most: so many at a time.
        """
        self.dropped = 0
        """Connections that were refused or ended: too many, too much, or not read."""
        self._protocol, self._most = protocol, most
        self._open: dict[asyncio.BaseTransport, Connection] = {}
        self._looking: Optional[asyncio.TimerHandle] = None

    def __len__(self) -> int:
        return len(self._open)

    def has_room(self) -> bool:
        """Whether one more can be let in; where all are taken, one that is of no use to anybody is ended for it."""
        if len(self._open) < self._most:
            return True
        self.dropped += 1
        now_s = time.monotonic()
        idle = [each for each in self._open.values() if each.may_go(now_s)]
        if not idle:
            return False
        # Strangers first; of these, of whoever has most, so that one who opens many only harms himself.
        of = Counter(each.address for each in self._open.values())
        worst = min(idle, key=lambda each: (each.known, -of[each.address], each.since_s))
        worst.end()
        self._open.pop(worst.transport, None)
        return True

    def make(self, address: str) -> Connection:
        """What speaks on a new connection."""
        return Connection(self, self._protocol(), address)

    def of(self, transport: Optional[asyncio.BaseTransport]) -> Optional[Connection]:
        """The one of a transport."""
        return self._open.get(transport) if transport else None

    def opened(self, connection: Connection) -> None:
        """A connection begins."""
        self._open[connection.transport] = connection
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look)

    def closed(self, connection: Connection) -> None:
        """It is over."""
        self._open.pop(connection.transport, None)

    def close(self) -> None:
        """End all."""
        if self._looking:
            self._looking.cancel()
        for each in list(self._open.values()):
            each.end()

    def _look(self) -> None:
        now_s = time.monotonic()
        for each in list(self._open.values()):
            if each.is_over(now_s):
                self.dropped += each.unread
                each.end()
        again = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look) if self._open else None
        self._looking = again


class Connection(asyncio.Protocol):
    """Hands on all that happens on a connection to what speaks HTTP, and keeps count."""

    def __init__(self, among: Connections, inner: asyncio.Protocol, address: str) -> None:
        self.address = address
        self.transport: asyncio.Transport
        self.known = False
        """Whoever asks there may ask."""
        self.since_s = time.monotonic()
        """Of the begin, or of the newest answer."""
        self.too_much = False
        """More came than any request has: the connection is of no use after the present answer."""
        self._among, self._inner = among, inner
        self._answering = False
        self._sent_bytes = self._ahead = 0
        self._unread_s: Optional[float] = None

    def asks(self) -> None:
        """A request is being answered."""
        self._answering, self._sent_bytes = True, 0

    def answered(self) -> None:
        """That is over, but for the sending."""
        self._answering, self.since_s = False, time.monotonic()

    def may_go(self, now_s: float) -> bool:
        """Whether it is of no use to anybody at present."""
        return not self.known or (not self._answering and now_s - self.since_s > _IDLE_S)

    def is_over(self, now_s: float) -> bool:
        """Whether it has been of no use for too long."""
        if not self.unread:
            self._unread_s = None
        elif self._unread_s is None:
            self._unread_s = now_s
        if self._unread_s is not None:
            return now_s - self._unread_s > UNREAD_S
        return not self._answering and now_s - self.since_s > (_LOOK_EVERY_S if self.too_much else QUIET_S)

    @property
    def unread(self) -> bool:
        """Whether part of an answer waits for whoever asked."""
        return self.transport.get_write_buffer_size() > 0

    def end(self) -> None:
        """Hang up, whatever is unread."""
        if self.unread or not self.known:
            self.transport.abort()
        else:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._among.opened(self)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.too_much:
            return
        # Blank lines of bodies count too: few have any.
        is_behind = self._answering or self.unread
        self._ahead = (self._ahead if is_behind else 0) + len(_HEAD_ENDS.findall(data))
        if self._ahead <= MOST_AHEAD:
            room_bytes = MOST_SENT_BYTES - self._sent_bytes
            self._sent_bytes += len(data)
            self._inner.data_received(data[:room_bytes])
            if len(data) <= room_bytes:
                return
        self.too_much, self.since_s = True, time.monotonic()
        self._among.dropped += 1
        self.transport.pause_reading()  # what was asked before is answered, and then the connection ends

    def eof_received(self) -> Any:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._among.closed(self)
        self._inner.connection_lost(exc)
