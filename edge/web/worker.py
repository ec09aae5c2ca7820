"""A thread for what takes a while, so that nobody else on the page waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import Callable, Optional, TypeVar

from edge.web.messages import RefusedError

MOST_WAITING = 16
_Result = TypeVar("_Result")


class Worker:
    """Does one thing after the other on a thread of its own, which ends with the program, whatever it is stuck in."""

    def __init__(self, name: str) -> None:
        """The thread begins with the first thing to do.

        Args:
            name: of the thread.
        """
        self._name = name
        self._jobs: queue.SimpleQueue[Optional[Callable[[], object]]] = queue.SimpleQueue()
        self._thread: Optional[threading.Thread] = None
        self._asked = 0

    def put(self, job: Callable[[], object]) -> None:
        """Have something done, which must not raise."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    async def call(self, job: Callable[[], _Result]) -> _Result:
        """Have something done, and wait for what comes of it.

        Raises:
            RefusedError: too much is waiting.
            Exception: what `job` raised.
        """
        if self._asked >= MOST_WAITING:
            raise RefusedError(
                503, "The journal's card is slow, and too much is waiting for it: try again in a moment."
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Result] = loop.create_future()

        def finish(result: Optional[_Result], error: Optional[BaseException]) -> None:
            self._asked -= 1
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result, failed = None, None
            try:
                result = job()
            except BaseException as error:  # to be raised where it was asked for
                failed = error
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(finish, result, failed)

        self._asked += 1
        self.put(work)
        return await done

    def close(self) -> None:
        """End the thread after what is waiting, without waiting for it."""
        if self._thread is not None:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
