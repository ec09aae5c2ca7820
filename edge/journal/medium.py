"""A journal's file as one run sees it: it may be full, locked, read-only, damaged, or deleted while it is written."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Optional

from edge.journal import clock, files, schema, store
from edge.journal.budget import Budget
from edge.journal.clock import Clocks
from edge.journal.ledger import Event, Ledger, RunFacts
from edge.journal.recovery import recover
from edge.journal.settings import JournalSettings

RETRY_S = 30.0
LOOK_S = 60.0
_PATIENCE_S = 60.0
"""Another program may hold the file for so long before that is trouble."""
_MOST_ASIDE = 3
"""Damaged files of one run: a card that damages each new one must not be filled with them."""
_TOLD_S = 3600.0

_log = logging.getLogger(__name__)


class Medium:
    """Writes what a ledger holds as soon as that is possible; for one thread."""

    def __init__(self, path: Path, settings: JournalSettings, facts: RunFacts, began: Clocks, budget: Budget) -> None:
        """Remember; nothing is opened before the first `write`.

        Args:
            path: of the file.
            settings: how large it may be.
            facts: of the run.
            began: the clocks at the run's start.
            budget: what is left of it is kept in the file, for the next run.
        """
        self.why: Optional[str] = None
        """Why nothing can be written."""
        self.low: Optional[str] = None
        """Why frames get no rows, though it is written."""
        self.aside: Optional[str] = None
        """The name that a damaged file was given."""
        self.kept = 0
        """Rows of frames written."""
        self.file_bytes = 0
        self._path, self._settings, self._facts = path, settings, facts
        self._budget, self._resumed = budget, False
        self._began_ns = began.monotonic_ns
        self._clocks = began
        """As of the last change: later ones are told against these."""
        self._connection: Optional[sqlite3.Connection] = None
        self._lock: Optional[int] = None
        self._file: Optional[tuple[int, int]] = None
        self._run_id: Optional[int] = None
        self._next_ns = self._look_ns = self._tell_ns = began.monotonic_ns
        self._failing_since_ns: Optional[int] = None
        self._lost_before = (0, 0)
        self._asides = self._gone = 0
        self._low = False

    @property
    def longest_s(self) -> float:
        """To the next batch at most: where nothing can be written, waiting saves nothing."""
        return math.inf if self.why is None else RETRY_S

    def hold(self) -> None:
        """Keep other processes from recording to the same journal.

        Raises:
            AlreadyRunningError: one does.
        """
        if self._lock is None:
            self._lock = files.hold(self._path)

    def let_go(self) -> None:
        """Let others record; for the end."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, ledger: Ledger, now: Clocks, because: Optional[str] = None) -> None:
        """Write what there is, where that can be tried now; what cannot be written stays in the ledger.

        Args:
            ledger: what there is.
            now: the clocks.
            because: why the run ends now.
        """
        if self._connection is None and now.monotonic_ns < self._next_ns and because is None:
            return
        self._next_ns = now.monotonic_ns + round(RETRY_S * 1e9)
        try:
            self._write(ledger, now, because)
            return
        except Exception as error:  # whatever it is, classifying goes on
            if not self._makes_way(ledger, now.monotonic_ns, error):
                self._fail(ledger, now.monotonic_ns, error)
                return
        try:
            self._write(ledger, now, because)
        except Exception as error:
            self._fail(ledger, now.monotonic_ns, error)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):  # what was committed is safe; there is no more to do
                connection.close()

    def _write(self, ledger: Ledger, now: Clocks, because: Optional[str]) -> None:
        now_ns = now.monotonic_ns
        self._notice_deletion(ledger, now_ns)
        if self._connection is None:
            self._connection = self._opened()
            self._file = _identity(self._path)
        if self._run_id is None:
            self._run_id = store.begin(self._connection, self._facts, self._began_ns, self._clocks)
            ledger.begin_again(self._run_id)
        if not self._resumed:
            store.resume(self._connection, self._budget, now)
            self._resumed = True
        changed = clock.change(self._clocks, now)
        events = _clock_events(changed, now_ns) + self._recovered(ledger, now_ns)
        if ledger.holds or events or because is not None:
            with store.transaction(self._connection):
                clock.correct(self._connection, self._run_id, changed, now)
                refused = store.write(self._connection, ledger)
                store.add_events(self._connection, self._run_id, events)
                store.save(self._connection, self._budget, now)
                if because is not None:
                    store.end(self._connection, self._run_id, now_ns, because)
            self.kept += len(ledger.frames) - refused
            ledger.rows_lost += refused
            ledger.written()
        if changed != clock.Change():
            self._clocks = now
        if self.why is not None:
            _log.warning("The journal %s is written again.", self._path)
        self.why = self._failing_since_ns = None
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + round(LOOK_S * 1e9)
            self._look(ledger, now_ns)

    def _recovered(self, ledger: Ledger, now_ns: int) -> list[Event]:
        if self.why is None:
            return []
        rows, others = ledger.rows_lost - self._lost_before[0], ledger.others_lost - self._lost_before[1]
        return [Event(now_ns, "recording again", {"rows_lost": rows, "others_lost": others, "after": self.why})]

    def _opened(self) -> sqlite3.Connection:
        files.make(self._path)
        self.hold()
        connection = schema.connect(self._path)
        try:
            recover(connection, self._facts.run)
        except BaseException:
            connection.close()
            raise
        return connection

    def _notice_deletion(self, ledger: Ledger, now_ns: int) -> None:
        """Rows would go on into a file that nobody can find any more."""
        if self._connection is None or _identity(self._path) == self._file:
            return
        with contextlib.suppress(sqlite3.Error):
            # What waits in the log belongs to the file that is gone, and not to one in its place.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.close()
        self._run_id = None
        _log.warning("The journal %s was deleted or replaced while it was written: a new one begins.", self._path)
        ledger.event(now_ns, "journal gone", {"why": "it was deleted or replaced while it was written"})

    def _look(self, ledger: Ledger, now_ns: int) -> None:
        """Once a minute: the file's size, and the room on the disk."""
        assert self._connection is not None
        self._gone += store.shrink(self._connection, self._settings.max_bytes)
        if self._gone and now_ns >= self._tell_ns:
            self._tell_ns = now_ns + round(_TOLD_S * 1e9)
            ledger.event(now_ns, "oldest frames deleted", {"rows": self._gone})
            self._gone = 0
        self.file_bytes = store.size_bytes(self._path)
        free_bytes = shutil.disk_usage(self._path.parent).free
        low = free_bytes < self._settings.min_free_bytes * (2 if self._low else 1)
        if low != self._low:
            ledger.event(now_ns, "disk low" if low else "disk low over", {"free_bytes": free_bytes})
        if low and not self._low:
            _log.warning(
                "Only %d MB are free at %s: frames get no rows until there is room.",
                free_bytes // 1_000_000,
                self._path.parent,
            )
        self.low = f"only {free_bytes // 1_000_000} MB are free: frames get no rows" if low else None
        self._low = ledger.pausing = low

    def _fail(self, ledger: Ledger, now_ns: int, error: Exception) -> None:
        """The file cannot be written now: go on without, and try again later."""
        if self._failing_since_ns is None:
            self._failing_since_ns = now_ns
        if "locked" in str(error) and now_ns - self._failing_since_ns < _PATIENCE_S * 1e9:
            self._next_ns = now_ns
            return
        self.close()
        if self.why is None:
            self._lost_before = (ledger.rows_lost, ledger.others_lost)
            ledger.event(now_ns, "not recording", {"why": str(error)})
            _log.warning(
                "The journal %s cannot be written: %s. Classifying goes on, and it is tried again.",
                *(self._path, str(error).rstrip(".")),
                exc_info=None if files.passes(error) else error,
            )
        self.why = str(error)

    def _makes_way(self, ledger: Ledger, now_ns: int, error: Exception) -> bool:
        """Where the file is damaged, give it another name; a new one begins with what is in memory."""
        if files.passes(error) or self._asides == _MOST_ASIDE:
            return False
        self.close()
        damage = str(error)
        if type(error) is not sqlite3.DatabaseError:  # which is what Python's sqlite3 makes of a damaged file
            # Once an outage only, as this reads all of the file.
            damage = (store.damage(self._path) or "") if self.why is None else ""
        if not damage:
            return False
        try:
            self.aside = store.move_aside(self._path).name
        except OSError:
            return False
        self._asides += 1
        self._run_id = None
        _log.warning(
            "The journal %s is damaged (%s): it is %s now, and a new one begins.", self._path, damage, self.aside
        )
        ledger.event(now_ns, "journal moved aside", {"why": damage, "name": self.aside})
        return True


def _identity(path: Path) -> Optional[tuple[int, int]]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _clock_events(changed: clock.Change, now_ns: int) -> list[Event]:
    events = []
    if changed.stepped_ns:
        events.append(store.jumped(now_ns, changed.stepped_ns))
    if changed.suspended_ns:
        events.append(Event(now_ns, "suspended", {"for_s": round(changed.suspended_ns / 1e9, 3)}))
    return events
