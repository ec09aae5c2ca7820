"""The state of the run as the page shows it: made twice a second while anybody asks, and once for all who do."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Optional

from edge.web.messages import RefusedError, in_json
from edge.web.recent import SAMPLE_S
from edge.web.run import Run

_REMEMBERED = 50
"""Ticks of which it is known what was told with them: whoever stays away for longer gets the whole chart."""


class Ticks:
    """Makes and numbers what is told. For the server's thread."""

    def __init__(self, run: Callable[[], Optional[Run]], features: Callable[[Run], dict[str, bool]]) -> None:
        """Begin; nobody asks yet.

        Args:
            run: the present one; None before the first.
            features: what the page can do.
        """
        self._run, self._features = run, features
        # The numbers of a process before this one are none of its own.
        self._number = int(time.time())
        self._made_s = float("-inf")
        self._of: Optional[Run] = None
        self._told: dict[str, Any] = {}
        self._until: dict[int, int] = {}
        """Of the newest ticks, the newest sample that was told with it."""
        self._answers: dict[int, bytes] = {}
        """To the newest tick, by the newest sample that whoever asks knows."""
        self._next: Optional[asyncio.Future[None]] = None
        self._waiting = 0

    async def next(self, after: Optional[int]) -> bytes:
        """The state in JSON: at once for whoever does not know the newest, else the next.

        Args:
            after: the number of the one that was seen last.

        Raises:
            RefusedError: no run has begun yet.
        """
        fresh = self._of is self._run() and time.monotonic() - self._made_s < SAMPLE_S
        if not fresh and after != self._number:
            self._tick()
        elif after == self._number:
            await self._wait()
        return self._answer(after)

    def close(self) -> None:
        """Whoever waits is answered with what there is."""
        if self._next and not self._next.done():
            self._next.set_result(None)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        if self._next is None or self._next.done():
            self._next = loop.create_future()
            loop.call_later(max(0.0, self._made_s + SAMPLE_S - time.monotonic()), self._tick_for, self._next)
        self._waiting += 1
        try:
            # Shielded, as the others who wait for it go on when one hangs up.
            await asyncio.shield(self._next)
        finally:
            self._waiting -= 1

    def _tick_for(self, waited_for: asyncio.Future[None]) -> None:
        if waited_for.done() or not self._waiting:
            waited_for.cancel()
            return
        try:
            self._tick()
        except Exception as error:  # told to all who wait
            waited_for.set_exception(error)
        else:
            waited_for.set_result(None)

    def _tick(self) -> None:
        run = self._run()
        if run is None:
            raise RefusedError(503, "No run has begun yet: try again in a moment.")
        if run is not self._of:
            self._until.clear()  # its samples are counted anew
        self._told = {**run.told(), "features": self._features(run)}
        self._of, self._made_s = run, time.monotonic()
        self._number += 1
        self._answers.clear()
        self._until[self._number] = run.recent.over(time.monotonic_ns())
        while len(self._until) > _REMEMBERED:
            del self._until[next(iter(self._until))]

    def _answer(self, after: Optional[int]) -> bytes:
        if self._of is None:
            raise RefusedError(503, "No run has begun yet: try again in a moment.")
        until = self._until[self._number]
        known = -1 if after is None or after == self._number else self._until.get(after, -1)
        if known not in self._answers:
            recent = self._of.recent.told(known, until)
            self._answers[known] = in_json({"number": self._number, **self._told, "recent": recent})
        return self._answers[known]
