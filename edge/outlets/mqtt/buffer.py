"""What waits for a broker, in order and within bounds."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Sequence
from typing import Generic, Optional, TypeVar

T = TypeVar("T")


class Buffer(Generic[T]):
    """The newest so many things that nobody has taken for good; what is too much is dropped, the oldest first.

    What is taken is on its way until it has arrived, or was refused, or comes back. Its lock is held for the length of
    a few list operations, never while anything is sent.
    """

    def __init__(self, most: int) -> None:
        """Begin empty.

        Args:
            most: may wait; those that are on their way are not among them.
        """
        self.dropped = 0
        self._most = most
        self._waiting: deque[T] = deque()
        self._on_their_way: dict[int, T] = {}  # in the order in which they were taken
        self._taken = 0
        self._shut = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._on_their_way)

    def put(self, thing: T) -> None:
        """Add the newest; for any thread."""
        with self._lock:
            if self._shut:
                self.dropped += 1
                return
            self._waiting.append(thing)
            self._trim()

    def take(self) -> Optional[tuple[int, T]]:
        """The oldest that waits, with a number by which to tell what became of it; None when none waits."""
        with self._lock:
            if not self._waiting:
                return None
            thing = self._waiting.popleft()
            self._taken += 1
            self._on_their_way[self._taken] = thing
            return self._taken, thing

    def taken(self, number: int) -> T:
        """What is on its way."""
        with self._lock:
            return self._on_their_way[number]

    def arrived(self, number: int) -> None:
        """Forget what has been delivered."""
        with self._lock:
            del self._on_their_way[number]

    def refused(self, number: int) -> None:
        """Drop what was taken and cannot be delivered."""
        with self._lock:
            del self._on_their_way[number]
            self.dropped += 1

    def come_back(self) -> None:
        """Let what is on its way wait again, before all that has not been taken yet."""
        with self._lock:
            self._waiting.extendleft(reversed(list(self._on_their_way.values())))
            self._on_their_way.clear()
            self._trim()

    def put_first(self, things: Sequence[T]) -> None:
        """Add what is older than all that waits, the oldest first."""
        with self._lock:
            self._waiting.extendleft(reversed(things))
            self._trim()

    def all(self) -> list[T]:
        """What is there, the oldest first."""
        with self._lock:
            return [*self._on_their_way.values(), *self._waiting]

    def shut(self) -> None:
        """Drop all that is there, and all that comes until it is opened."""
        with self._lock:
            self._shut = True
            self.dropped += len(self)
            self._waiting.clear()
            self._on_their_way.clear()

    def open(self) -> None:
        """Take again what comes."""
        self._shut = False

    def _trim(self) -> None:
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self.dropped += 1


class Bell:
    """Wakes a thread that waits for sockets. Ringing it takes some microseconds, and only when it was not heard yet."""

    def __init__(self) -> None:
        self._ear, self._button = socket.socketpair()
        self._ear.setblocking(False)
        self._button.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """To wait for."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake the thread; for any other thread, also when nobody listens any more."""
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):
                self._button.send(b"!")

    def heard(self) -> None:
        """Let the next `ring` wake the thread again; to be called before it looks at what there is."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(16)
        self._rung = False

    def close(self) -> None:
        """Nobody listens any more."""
        self._ear.close()
        self._button.close()
