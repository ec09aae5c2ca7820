"""The journal's own thread: takes what happens from a bounded queue and writes it in batches.

Nothing that goes wrong with the file reaches the thread that classifies. What cannot be written waits in memory within
bounds and is written when the file can be again; what was lost is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Callable, Optional

from edge.device import Live
from edge.journal import clock, schema
from edge.journal.budget import Budget, Written
from edge.journal.clock import Clocks
from edge.journal.files import BUSY_S
from edge.journal.ledger import MOST_FRAMES, Event, Item, Ledger, RunFacts
from edge.journal.medium import Medium
from edge.journal.settings import JournalSettings, JournalStatus
from edge.records import Record

CAPACITY = 20_000
"""Items that may wait for the thread: minutes of frames while it waits for a slow card."""
_DRAIN_S = 5.0
_LEAST_S = 0.01
"""So often is the queue emptied at least and at most; only rows wait for longer batches."""
_EARLY, _LATE = 0.9, 1.1
"""Of the time between batches. A reading of the board ends a batch that is nearly due, as frames wait for a reading to
tell whether they were throttled; without one the batch ends a little late."""
_LAST_TRIES = 2
_CLOSE_S = _LAST_TRIES * BUSY_S + 1.0
_START_S = 2.0
"""A large journal is looked through after a power cut; nobody waits longer for that."""

_log = logging.getLogger(__name__)


class Writer:
    """Writes a run's journal until it is closed."""

    def __init__(
        self,
        path: Path,
        settings: JournalSettings,
        facts: RunFacts,
        clocks: Callable[[], Clocks] = clock.read,
        after: Optional[Writer] = None,
    ) -> None:
        """Open the journal and start the thread; a file that cannot be written now is tried again later.

        Args:
            path: of the file.
            settings: what it may cost.
            facts: of the run.
            clocks: reads the clocks.
            after: of an earlier run in this process, which was told to end; nothing is written before it has.

        Raises:
            JournalError: the file is no journal, or one of a newer version.
            AlreadyRunningError: another process records to it.
        """
        schema.refuse_others(path)
        self._path, self._clocks = path, clocks
        self._queue: deque[Item] = deque()
        self._wake, self._ready = threading.Event(), threading.Event()
        self._urgent = self._due = False
        self._closing: Optional[str] = None
        self._refused = self._refused_told = 0
        self._frames = self._written_bytes = 0
        self._said: Optional[str] = None
        began = clocks()
        self._batch_began_ns = began.monotonic_ns
        self._budget = Budget(settings.max_bytes_per_day, settings.commit_s, began.monotonic_ns)
        self._ledger = Ledger(0, facts, round(settings.window_s * 1e9), self._budget, began.monotonic_ns)
        self._ledger.event(began.monotonic_ns, "started", {})
        self._medium = Medium(path, settings, facts, began, self._budget)
        before = after.thread if after and after.thread.is_alive() else None
        if before is None:
            self._medium.hold()
        self.thread: threading.Thread = threading.Thread(target=self._run, args=(before,), name="journal", daemon=True)
        self.thread.start()
        self._ready.wait(_START_S)

    def put(self, item: Item) -> None:
        """Hand over what happened; never waits. An event is written at once."""
        if len(self._queue) >= CAPACITY:
            self._refused += isinstance(item, Record)
            return
        self._queue.append(item)
        if isinstance(item, Event):
            self._urgent = True
            self._wake.set()
        elif isinstance(item, Live) and self._is_due(item.monotonic_ns, _EARLY):
            self._due = True
            self._wake.set()
        elif len(self._queue) == CAPACITY // 2:
            self._wake.set()

    def status(self) -> JournalStatus:
        """How it goes."""
        medium, ledger = self._medium, self._ledger
        why = medium.why if self.thread.is_alive() or self._closing is not None else "its thread ended"
        return JournalStatus(
            path=str(self._path),
            recording=why is None,
            why=why or medium.low,
            frames=self._frames,
            kept=medium.kept,
            unrecorded=self._refused + ledger.unusable + ledger.rows_lost,
            keep_every=self._budget.keep_every,
            batch_s=self._budget.batch_s,
            file_bytes=medium.file_bytes,
            written_bytes=self._written_bytes,
            moved_aside=medium.aside,
        )

    def end(self, because: str) -> None:
        """Have what is left written and the run ended; does not wait for it."""
        if self._closing is None:
            self._closing = because
            self._wake.set()

    def close(self, because: str) -> None:
        """The same; waits a bounded time for a slow card."""
        first = self._closing is None
        self.end(because)
        self.thread.join(_CLOSE_S)  # whoever comes second must not end the process before it is done
        if first and self.thread.is_alive():
            self._tell_of_loss()

    def _run(self, before: Optional[threading.Thread]) -> None:
        if before:
            before.join()
        written = Written()
        self._try(self._batch)
        self._ready.set()
        while self._closing is None:
            self._wake.wait(self._patience_s())
            self._wake.clear()
            urgent, due = self._urgent, self._due
            self._urgent = self._due = False
            self._drain()
            now_ns = self._clocks().monotonic_ns
            if due or len(self._ledger.frames) > MOST_FRAMES // 2 or self._is_due(now_ns, _LATE):
                self._try(self._batch)
            elif urgent:  # frames go on waiting for the reading that tells of them
                self._try(lambda: self._medium.write(self._ledger, self._clocks()))
            spent = written.since()
            self._written_bytes += spent
            self._budget.spend(spent, now_ns)
        self._drain()
        self._try(self._end)
        if self._ledger.holds:
            self._tell_of_loss()
        self._medium.close()
        self._medium.let_go()

    def _patience_s(self) -> float:
        left_ns = self._batch_began_ns + self._batch_s() * 1e9 * _LATE - self._clocks().monotonic_ns
        return min(_DRAIN_S, max(_LEAST_S, left_ns / 1e9))

    def _is_due(self, now_ns: int, share: float) -> bool:
        return now_ns - self._batch_began_ns >= self._batch_s() * 1e9 * share

    def _batch_s(self) -> float:
        return min(self._budget.batch_s, self._medium.longest_s)

    def _drain(self) -> None:
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            self._frames += isinstance(item, Record)
            self._try(lambda item=item: self._ledger.take(item))  # type: ignore[misc]
        refused = self._refused
        self._ledger.unrecorded(refused - self._refused_told)
        self._refused_told = refused

    def _batch(self) -> None:
        now = self._clocks()
        self._batch_began_ns = now.monotonic_ns
        self._ledger.settle()
        self._medium.write(self._ledger, now)

    def _end(self) -> None:
        now = self._clocks()
        self._ledger.finish(now.monotonic_ns)
        self._ledger.event(now.monotonic_ns, "stopped", {"because": self._closing})
        for _ in range(_LAST_TRIES):
            self._medium.write(self._ledger, now, self._closing)
            if not self._ledger.holds:
                break

    def _tell_of_loss(self) -> None:
        _log.warning(
            "The last of the journal %s could not be written (%s): what came since its last batch is lost.",
            *(self._path, self._medium.why or "the medium is too slow"),
        )

    def _try(self, step: Callable[[], object]) -> None:
        """What goes wrong with one thing must not end the record of all others."""
        try:
            step()
        except Exception as error:
            if str(error) != self._said:
                _log.exception("The journal failed in a way that nobody thought of, and goes on.")
            self._said = str(error)
