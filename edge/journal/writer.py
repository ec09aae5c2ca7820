"""The journal's own thread: takes what happens from a bounded queue and writes it in batches.

Nothing that goes wrong with the file reaches the thread that classifies. What cannot be written waits in memory within
bounds and is written when the file can be again; what was lost is counted.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path
from typing import Optional

from edge.errors import JournalError
from edge.journal import clock, schema, store
from edge.journal.budget import Budget, Written
from edge.journal.ledger import Event, Item, Ledger, RunFacts
from edge.journal.recovery import recover
from edge.journal.settings import JournalSettings, JournalStatus
from edge.records import Record

CAPACITY = 20_000
"""Items that may wait for the thread: minutes of frames while it waits for a slow card."""
_RETRY_S = 30.0
_LOOK_S = 60.0
_PATIENCE_S = 60.0
"""Another program may hold the file for so long before that is trouble."""
_CLOSE_S = 5.0
_START_S = 2.0
"""A large journal is looked through after a power cut; nobody waits longer for that."""

_log = logging.getLogger(__name__)


class Writer:
    """Writes a run's journal until it is closed."""

    def __init__(self, path: Path, settings: JournalSettings, facts: RunFacts) -> None:
        """Open the journal and start the thread; a file that cannot be written now is tried again later.

        Raises:
            JournalError: the file is no journal, or one of a newer version.
        """
        self._path, self._settings, self._facts = path, settings, facts
        self._queue: deque[Item] = deque()
        self._wake, self._ready = threading.Event(), threading.Event()
        self._closing: Optional[str] = None
        self._refused = 0
        self._refused_told = 0
        self._frames = self._kept = 0
        self._written_bytes = 0
        self._file_bytes = 0
        self._aside: Optional[str] = None
        self._why: Optional[str] = None
        self._connection: Optional[sqlite3.Connection] = None
        self._begun = False
        self._run_id = 0
        self._clocks = clock.read()
        self._started_ns = self._clocks.monotonic_ns
        self._budget = Budget(settings.max_bytes_per_day, self._started_ns)
        self._ledger = Ledger(0, facts, round(settings.window_s * 1e9), self._budget, self._started_ns)
        self._ledger.event(self._started_ns, "started", {})
        self._tried_ns = self._looked_ns = 0
        self._failing_since_ns: Optional[int] = None
        self._low = False
        schema.refuse_others(path)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        self._ready.wait(_START_S)

    def put(self, item: Item) -> None:
        """Hand over what happened; never waits. An event is written at once."""
        if len(self._queue) >= CAPACITY:
            self._refused += isinstance(item, Record)
            return
        self._queue.append(item)
        if isinstance(item, Event):
            self._wake.set()

    def status(self) -> JournalStatus:
        """How it goes."""
        return JournalStatus(
            path=str(self._path),
            recording=self._why is None,
            why=self._why,
            frames=self._frames,
            kept=self._kept,
            unrecorded=self._refused + self._ledger.rows_lost,
            keep_every=self._budget.keep_every,
            file_bytes=self._file_bytes,
            written_bytes=self._written_bytes,
            moved_aside=self._aside,
        )

    def close(self, because: str) -> None:
        """Write what is left and end the run; waits a bounded time for a slow card."""
        if self._closing is None:
            self._closing = because
            self._wake.set()
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        written = Written()
        self._commit(self._started_ns)
        self._ready.set()
        while self._closing is None:
            self._wake.wait(self._settings.commit_s)
            self._wake.clear()
            self._drain()
            self._commit(time.monotonic_ns())
            spent = written.since()
            self._written_bytes += spent
            self._budget.spend(spent, time.monotonic_ns())
        self._end(self._closing)

    def _drain(self) -> None:
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            self._frames += isinstance(item, Record)
            try:
                self._ledger.take(item)
            except Exception:  # one item that cannot be counted must not end the record of all others
                self._refused += 1
                _log.exception("The journal could not take in %s.", type(item).__name__)
        if self._refused > self._refused_told:
            self._ledger.unrecorded(self._refused - self._refused_told)
            self._refused_told = self._refused

    def _end(self, because: str) -> None:
        self._drain()
        now_ns = time.monotonic_ns()
        self._ledger.finish(now_ns)
        self._ledger.event(now_ns, "stopped", {"because": because})
        self._tried_ns = 0  # a last attempt
        self._commit(now_ns, because)
        if self._connection:
            self._connection.close()

    def _commit(self, now_ns: int, because: Optional[str] = None) -> None:
        if self._connection is None and self._tried_ns and now_ns - self._tried_ns < _RETRY_S * 1e9:
            return
        self._tried_ns = now_ns
        try:
            self._write(now_ns, because)
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # those of SQLite's subclasses may pass, or are not the file's
                self._fail(now_ns, error)
            elif self._move_aside(now_ns, error):
                self._tried_ns = 0
                self._commit(now_ns, because)
        except (sqlite3.Error, OSError, JournalError) as error:
            self._fail(now_ns, error)

    def _write(self, now_ns: int, because: Optional[str]) -> None:
        if self._connection is None:
            self._connection = self._opened()
        if not self._begun:
            self._run_id = store.begin(self._connection, self._facts, self._started_ns, self._clocks)
            self._ledger.begin_again(self._run_id)
            self._begun = True
        now = clock.read()
        changed = clock.change(self._clocks, now)
        events = self._clock_events(changed, now)
        if self._why is not None:
            events.append(Event(now_ns, "recording again", {"rows_lost": self._ledger.rows_lost, "after": self._why}))
        if self._ledger.holds or events or because is not None:
            with store.transaction(self._connection):
                clock.correct(self._connection, self._run_id, changed, now)
                store.write(self._connection, self._ledger)
                store.add_events(self._connection, self._run_id, events)
                if because is not None:
                    store.end(self._connection, self._run_id, now_ns, because)
            self._kept += len(self._ledger.frames)
            self._ledger.written()
        self._clocks = now
        if self._why is not None:
            _log.warning("The journal %s is written again.", self._path)
        self._why = self._failing_since_ns = None
        if now_ns - self._looked_ns >= _LOOK_S * 1e9:
            self._looked_ns = now_ns
            self._look(now_ns)

    @staticmethod
    def _clock_events(changed: clock.Change, now: clock.Clocks) -> list[Event]:
        events = []
        if changed.stepped_ns:
            events.append(Event(now.monotonic_ns, "clock jumped", {"by_s": round(changed.stepped_ns / 1e9, 3)}))
        if changed.suspended_ns:
            events.append(Event(now.monotonic_ns, "suspended", {"for_s": round(changed.suspended_ns / 1e9, 3)}))
        return events

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = schema.connect(self._path)
        try:
            recover(connection, self._facts.run)
        except BaseException:
            connection.close()
            raise
        return connection

    def _look(self, now_ns: int) -> None:
        """Once a minute: the file's size, and the room on the disk."""
        assert self._connection is not None
        gone = store.shrink(self._connection, self._settings.max_bytes)
        if gone:
            self._ledger.event(now_ns, "oldest frames deleted", {"rows": gone})
        self._file_bytes = store.size_bytes(self._path)
        free_bytes = shutil.disk_usage(self._path.parent).free
        low = free_bytes < self._settings.min_free_bytes * (2 if self._low else 1)
        if low and not self._low:
            self._ledger.event(now_ns, "disk low", {"free_bytes": free_bytes})
            _log.warning(
                "Only %d MB are free at %s: frames get no rows until there is room.",
                free_bytes // 1_000_000,
                self._path.parent,
            )
        self._low = self._ledger.pausing = low

    def _fail(self, now_ns: int, error: Exception) -> None:
        """The file cannot be written now: go on without, and try again later."""
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns
        if "locked" in str(error) and now_ns - self._failing_since_ns < _PATIENCE_S * 1e9:
            return
        self._close_broken()
        if self._why is None:
            self._ledger.event(now_ns, "not recording", {"why": str(error)})
            _log.warning(
                "The journal %s cannot be written: %s. Classifying goes on, and it is tried again.", self._path, error
            )
        self._why = str(error)

    def _move_aside(self, now_ns: int, error: Exception) -> bool:
        """The file is damaged: make way for a new one, which begins with what is in memory."""
        self._close_broken()
        try:
            self._aside = store.move_aside(self._path).name
        except OSError as failure:
            self._fail(now_ns, failure)
            return False
        _log.warning(
            "The journal %s is damaged (%s): it is %s now, and a new one begins.", self._path, error, self._aside
        )
        self._begun = False
        self._ledger.event(now_ns, "journal moved aside", {"why": str(error), "name": self._aside})
        return True

    def _close_broken(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                connection.close()
            except sqlite3.Error:
                _log.debug("closing the journal failed", exc_info=True)
