"""What the loop hands its records to."""

from __future__ import annotations

from typing import Any, Callable, Optional

from edge.device import Live
from edge.journal import clock, journal_path
from edge.journal.clock import Clocks
from edge.journal.ledger import Event, Forgotten, Picture, RunFacts
from edge.journal.settings import JournalSettings, JournalStatus
from edge.journal.writer import Writer
from edge.records import Record


class Journal:
    """A sink that records; every method returns at once, another thread writes."""

    def __init__(
        self,
        settings: JournalSettings,
        facts: RunFacts,
        clocks: Callable[[], Clocks] = clock.read,
        after: Optional[Journal] = None,
    ) -> None:
        """Begin a run.

        A file that cannot be written (a full disk, a read-only one) does not stop anything: see `status`.

        Args:
            settings: where to, and what it may cost.
            facts: of the run.
            clocks: reads the clocks.
            after: of the run before in this process, whose `end` was called; nothing is written before it is over.

        Raises:
            JournalError: the path is a folder, or a file that is no journal or one of a newer version.
            AlreadyRunningError: another process records to it.
        """
        self.path = journal_path(settings)
        self._writer: Writer = Writer(self.path, settings, facts, clocks, after._writer if after else None)
        self._clocks = clocks

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        self._writer.put(record)

    def reading(self, live: Live) -> None:
        """Take in a reading of the board; the frames before it are judged by it."""
        self._writer.put(live)

    def event(self, kind: str, **detail: Any) -> None:
        """Take in something that happened just now; it is written at once."""
        self._writer.put(Event(self._clocks().monotonic_ns, kind, detail))

    def picture(self, record: Record, stratum: str, stands_for: float, file: str) -> None:
        """Take in that a frame's picture was kept."""
        self._writer.put(Picture(record, stratum, stands_for, file))

    def forget(self, file: str) -> None:
        """Take in that a picture was deleted to make room."""
        self._writer.put(Forgotten(file))

    def status(self) -> JournalStatus:
        """How it does."""
        return self._writer.status()

    def end(self, because: str) -> None:
        """Have what is left written and the run ended, without waiting for it."""
        self._writer.end(because)

    def close(self, because: str = "end") -> None:
        """Write what is left and end the run."""
        self._writer.close(because)
