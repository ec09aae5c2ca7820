"""Turns what happens into rows: frames, minutes and events, in the order in which they came."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional, Union

import msgspec

from edge.device import Live, throttled_now
from edge.journal.budget import Budget
from edge.journal.packing import (
    CPU,
    FALLBACK,
    NOW_BITS,
    STEADY,
    THROTTLED,
    WARM_UP,
    as_json,
    as_text,
    pack_others,
    pack_score,
)
from edge.journal.windows import Counted, Minute, Truths
from edge.records import Ran, Record

WARM_UP_NS = 500_000_000
"""At least one inference and half a second, as in TensorFlow Lite's benchmark_model."""
BACKEND_FOUND = "backend found"
"""The event after which an accelerator, which was opened anew, warms up again."""
_SINCE_BOOT_SHIFT = 16
_CALM_NS = 60_000_000_000
"""So long must a cause of throttling be gone before its end is an event."""
_STALE_NS = 15_000_000_000
"""A reading that is older tells nothing of a frame: whoever reads the board hangs."""
MOST_FRAMES = 20_000
_MOST_OTHERS = 5_000
"""Rows that wait in memory while the journal cannot be written: hours of minutes, and some megabytes."""

_log = logging.getLogger(__name__)


class RunFacts(msgspec.Struct, frozen=True):
    """What a run is, for the journal."""

    run: str
    ran: Ran
    labels: tuple[str, ...]
    camera: str
    configuration: Mapping[str, Any] = {}
    board: Mapping[str, Any] = {}
    versions: Mapping[str, str] = {}
    opened_ns: Optional[int] = None
    """How long opening the model took."""
    first_invoke_ns: Optional[int] = None


class Event(NamedTuple):
    """Something that happened."""

    monotonic_ns: int
    kind: str
    detail: Mapping[str, Any]


class Picture(NamedTuple):
    """A frame whose picture was kept."""

    record: Record
    stratum: str
    stands_for: float
    file: str


class Forgotten(NamedTuple):
    """A picture that was deleted to make room; what was answered stays known."""

    file: str


Item = Union[Record, Live, Event, Picture, Forgotten]


class Ledger:
    """Rows that are ready to be written, and what will become rows."""

    def __init__(self, run_id: int, facts: RunFacts, window_ns: int, budget: Budget, began_ns: int) -> None:
        """Begin the first minute now."""
        self.frames: list[tuple[object, ...]] = []
        self.windows: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        self.pictures: list[tuple[object, ...]] = []
        self.forgotten: list[tuple[str]] = []
        """Names of files."""
        self.rows_lost = 0
        """Frames whose row had to be given up while the journal could not be written."""
        self.others_lost = 0
        """Windows, events and pictures of which there is no row for the same reason."""
        self.unusable = 0
        """Frames that could not be counted."""
        self.pausing = False
        """While set no frame gets a row: the disk is nearly full."""
        self.run_id = run_id
        self.backend = facts.ran.backend
        """What the run is for; a run that began without its accelerator learns the exact name from the first answer."""
        self._truths = Truths(facts.labels)
        self._window_ns = window_ns
        self._budget = budget
        self._minute = Minute(began_ns, began_ns + window_ns)
        self._waiting: list[Record] = []
        self._warm_from_ns: Optional[int] = None
        """When the backend that the run is for gave its first answer, of the run or since it came back."""
        self._found_ns: list[int] = []
        """When it came back, as far as no answer of it came since."""
        self._told: Optional[Live] = None
        """The last reading that told throttling bits."""
        self._said_unusable = False
        self._causes: dict[str, int] = {}

    @property
    def holds(self) -> bool:
        """Whether there is something to write."""
        return bool(self.frames or self.windows or self.events or self.pictures or self.forgotten)

    def take(self, item: Item) -> None:
        """Take in what happened next. Frames wait for the next reading, which tells whether they were throttled."""
        if isinstance(item, Record):
            self._waiting.append(item)
            if len(self._waiting) > MOST_FRAMES:  # a sensor hangs
                self.settle()
        elif isinstance(item, Live):
            self._read(item)
        elif isinstance(item, Event):
            self.event(item.monotonic_ns, item.kind, item.detail)
            if item.kind == BACKEND_FOUND:
                self._found_ns.append(item.monotonic_ns)
        elif isinstance(item, Forgotten):
            self._hold(self.forgotten, (as_text(item.file),))
        else:
            self._keep(item)

    def event(self, monotonic_ns: int, kind: str, detail: Mapping[str, Any]) -> None:
        """Add an event."""
        self._hold(self.events, (self.run_id, monotonic_ns, as_text(kind), as_json(detail)))

    def unrecorded(self, frames: int) -> None:
        """Count frames that never came here."""
        self._minute.unrecorded += frames

    def settle(self) -> None:
        """Let no frame wait any longer for a reading: they are judged by the last one, where it is not too old."""
        newest_ns = self._waiting[-1].monotonic_ns if self._waiting else 0
        bits = self._told.throttled if self._told and newest_ns - self._told.monotonic_ns <= _STALE_NS else None
        self._count(bits, bits)

    def finish(self, now_ns: int) -> None:
        """End: the minute under way becomes a row as well."""
        self.settle()
        self._turn(now_ns)
        self._add_window(self._minute, over=False)

    def written(self) -> None:
        """Forget the rows, which are in the file now."""
        for rows in (self.frames, self.windows, self.events, self.pictures, self.forgotten):
            rows.clear()

    def begin_again(self, run_id: int) -> None:
        """Go on in a new file, with what was not written yet."""
        self.run_id = run_id
        for rows in (self.frames, self.windows, self.events, self.pictures):
            rows[:] = [(run_id, *row[1:]) for row in rows]

    def _hold(self, rows: list[Any], row: tuple[Any, ...]) -> None:
        if len(rows) < _MOST_OTHERS:
            rows.append(row)
        else:
            self.others_lost += 1

    def _read(self, live: Live) -> None:
        seen = _seen(self._told.throttled if self._told else None, live)
        # A vcgencmd that took too long, likeliest on a board that is held back, says nothing of the frames before it.
        waits = seen is None and self._told and live.monotonic_ns - self._told.monotonic_ns <= _STALE_NS
        if not waits:
            self._count(seen, live.throttled)
            self._turn(live.monotonic_ns)
        self._minute.see(live, seen)
        if seen is not None:
            self._told = live
            self._tell_causes(live.monotonic_ns, seen, live)

    def _count(self, seen: Optional[int], bits: Optional[int]) -> None:
        throttled = seen is not None and bool(seen & NOW_BITS)
        stored = None if seen is None else seen | (bits or 0)
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._count_one(record, throttled, stored)
        if len(self.frames) > MOST_FRAMES:
            self.rows_lost += len(self.frames) - MOST_FRAMES
            del self.frames[:-MOST_FRAMES]

    def _count_one(self, record: Record, throttled: bool, stored: Optional[int]) -> None:
        self._turn(record.monotonic_ns)
        state = self._state(record, throttled)
        try:
            row = self._frame(record, state, stored)
        except Exception:  # one frame that makes no sense must not cost the others
            self.unusable += 1
            self.unrecorded(1)
            if not self._said_unusable:
                _log.exception("The journal cannot count a frame; further ones are not told.")
            self._said_unusable = True
            return
        if self._budget.keeps() and not self.pausing:
            self.frames.append((*row, self._budget.stands_for))

    def _state(self, record: Record, throttled: bool) -> int:
        if record.backend == CPU != self.backend:
            self._warm_from_ns = None
            return FALLBACK
        self.backend = record.backend
        while self._found_ns and self._found_ns[0] <= record.monotonic_ns:
            del self._found_ns[0]
            self._warm_from_ns = None
        if self._warm_from_ns is None:
            self._warm_from_ns = record.monotonic_ns
        if record.monotonic_ns - self._warm_from_ns < WARM_UP_NS:
            return WARM_UP
        return THROTTLED if throttled else STEADY

    def _frame(self, record: Record, state: int, stored: Optional[int]) -> tuple[object, ...]:
        """Count a frame, and give all of its row but the last."""
        times, best = record.timings, record.predictions[0]
        truth = None if record.truth is None else as_text(record.truth)
        answer = self._truths.answer(truth, [each.class_id for each in record.predictions])
        row = (
            *(self.run_id, record.sequence, record.monotonic_ns),
            *(times.wait_ns, times.preprocess_ns, times.invoke_ns, times.postprocess_ns),
            *(best.class_id, pack_score(best.score), pack_others(record.predictions)),
            *(truth, record.dropped, stored, state),
        )
        counted = Counted(record.monotonic_ns, times, answer, record.dropped, unchanged=record.unchanged)
        self._minute.add(counted, state, record.drop_reason)
        return row

    def _keep(self, picture: Picture) -> None:
        record, best = picture.record, picture.record.predictions[0]
        row = (
            *(self.run_id, record.sequence, record.monotonic_ns, picture.stratum, picture.stands_for),
            *(as_text(picture.file), best.class_id, pack_score(best.score), pack_others(record.predictions)),
            None if record.truth is None else as_text(record.truth),
        )
        self._hold(self.pictures, row)

    def _turn(self, now_ns: int) -> None:
        """Begin the minute that a moment belongs to."""
        past = self._minute
        if now_ns < past.ends_ns:
            return
        began_ns = past.ends_ns + (now_ns - past.ends_ns) // self._window_ns * self._window_ns
        self._minute = Minute(began_ns, began_ns + self._window_ns)
        self._add_window(past, over=True)

    def _add_window(self, minute: Minute, over: bool) -> None:
        """A minute without frames and readings leaves no row."""
        if not minute.holds:
            return
        if len(self.windows) >= _MOST_OTHERS:
            self.unrecorded(minute.frames + minute.unrecorded)
        self._hold(self.windows, minute.row(self.run_id, over))

    def _tell_causes(self, now_ns: int, seen: int, live: Live) -> None:
        for cause in throttled_now(seen):
            if cause not in self._causes:
                detail = {"temperature_c": live.temperature_c, "clock_mhz": live.clock_mhz, "throttled": live.throttled}
                self.event(now_ns, cause, {name: value for name, value in detail.items() if value is not None})
            self._causes[cause] = now_ns
        for cause, last_ns in list(self._causes.items()):
            if now_ns - last_ns >= _CALM_NS:
                del self._causes[cause]
                self.event(last_ns, f"{cause} over", {})


def _seen(before: Optional[int], live: Live) -> Optional[int]:
    """What held the board back between two readings, as bits 0 to 3.

    Also what came and went between them. Where the upper bits tell of the time since the start of the machine, its bit
    is set in the second reading and not in the first; where they tell of the last seconds, it is set.

    Args:
        before: the bits of the last reading that told any.
        live: the reading now.
    """
    now = live.throttled
    if now is None:
        return None
    before = now if before is None else before
    lately = now if live.throttled_lately else now & ~before
    return (before | now | lately >> _SINCE_BOOT_SHIFT) & NOW_BITS
