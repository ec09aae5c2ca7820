"""A minute of the field log: every frame counts here, whatever becomes of its row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from edge.device import Live
from edge.histogram import Histogram
from edge.journal.packing import STATES, as_json, pack_histograms
from edge.labels import ClassNames
from edge.records import UNCHANGED, Timings
from edge.stats import STAGES

TOP = 5
_LONGEST_NS = 2**63 - 1
_MOST_SAMPLES = 4_096
"""So many durations wait before they go into a histogram."""

COLUMNS = (
    *("run_id", "began_ns", "ended_ns", "frames", "unrecorded", "drops", "answers", "throttled"),
    *("temperature_min_c", "temperature_mean_c", "temperature_max_c"),
    *("clock_min_mhz", "clock_mean_mhz", "clock_max_mhz", "governor"),
    *("memory_available_min_bytes", "resident_max_bytes", "load_mean", "coral_max_c", "histograms"),
)


class _Range:
    """Least, mean and most of what was read; None of nothing."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, value: Optional[float]) -> None:
        if value is not None:
            self._values.append(value)

    def told(self) -> tuple[Optional[float], Optional[float], Optional[float]]:
        if not self._values:
            return None, None, None
        return min(self._values), round(sum(self._values) / len(self._values), 3), max(self._values)


class _Durations:
    """A histogram that takes in many at once, which is much cheaper."""

    def __init__(self) -> None:
        self._waiting_ns: list[int] = []
        self._histogram = Histogram()

    def add(self, value_ns: int) -> None:
        self._waiting_ns.append(value_ns)
        if len(self._waiting_ns) == _MOST_SAMPLES:
            self.counted()

    def counted(self) -> Histogram:
        self._histogram.add(self._waiting_ns)
        self._waiting_ns.clear()
        return self._histogram


class Answer(NamedTuple):
    """What frames are counted by."""

    truth: Optional[str]
    class_id: int
    """Of the first prediction."""
    in_top: bool
    """The truth is among the first five."""


class Counted(NamedTuple):
    """What a minute needs of a frame."""

    monotonic_ns: int
    timings: Timings
    answer: Answer
    dropped: int
    frames: int = 1
    unchanged: int = 0
    """Itself and those of which nothing else is known any more."""


class Minute:
    """What is counted between two moments of the monotonic clock."""

    def __init__(self, began_ns: int, ends_ns: int) -> None:
        self.began_ns = began_ns
        self.ends_ns = ends_ns
        """Not in it any more."""
        self.frames = 0
        self.unrecorded = 0
        self.readings = 0
        self._last_ns = began_ns
        self._drops: Counter[str] = Counter()
        self._answers: Counter[Answer] = Counter()
        self._stages: dict[int, tuple[_Durations, ...]] = {}
        self._throttled: Optional[int] = None
        self._temperature_c, self._clock_mhz, self._load, self._coral_c = _Range(), _Range(), _Range(), _Range()
        self._memory_bytes, self._resident_bytes = _Range(), _Range()
        self._governor: Optional[str] = None

    @property
    def holds(self) -> bool:
        """Whether anything happened in it."""
        return bool(self.frames or self.unrecorded or self.readings)

    def add(self, counted: Counted, state: int, drop_reason: str) -> None:
        """Count a frame in one of the states of `edge.journal.packing`.

        Raises:
            ValueError: a duration cannot be one; the frame is not counted.
        """
        times = counted.timings
        values_ns = (times.wait_ns, times.preprocess_ns, times.invoke_ns, times.postprocess_ns, times.age_ns)
        if min(values_ns) < 0 or max(values_ns) > _LONGEST_NS:
            raise ValueError(f"durations of {values_ns} ns: expected 0 to {_LONGEST_NS}.")
        self.frames += counted.frames
        self._last_ns = max(self._last_ns, counted.monotonic_ns)
        if counted.dropped:
            self._drops[drop_reason] += counted.dropped
        if counted.unchanged:
            self._drops[UNCHANGED] += counted.unchanged
        self._answers[counted.answer] += counted.frames
        if state not in self._stages:
            self._stages[state] = tuple(_Durations() for _ in STAGES)
        for durations, value_ns in zip(self._stages[state], values_ns):
            durations.add(value_ns)

    def throttle(self, bits: Optional[int]) -> None:
        """Count throttling bits that were seen; None where the board does not tell."""
        if bits is not None:
            self._throttled = (self._throttled or 0) | bits

    def see(self, live: Live, throttled: Optional[int]) -> None:
        """Count a reading of the board.

        Args:
            live: what was read.
            throttled: all throttling bits that were set since the reading before.
        """
        self.readings += 1
        self._last_ns = max(self._last_ns, live.monotonic_ns)
        self._temperature_c.add(live.temperature_c)
        self._clock_mhz.add(live.clock_mhz)
        self._load.add(live.load_1min)
        self._coral_c.add(live.coral_temperature_c)
        self._memory_bytes.add(live.memory_available_bytes)
        self._resident_bytes.add(live.resident_bytes)
        self._governor = live.governor or self._governor
        self.throttle(throttled)

    def row(self, run_id: int, over: bool) -> tuple[object, ...]:
        """The row of the table, in the order of `COLUMNS`.

        Args:
            run_id: of the run.
            over: the minute has passed; else it ends with the last that it saw.
        """
        answers = [(*answer, count) for answer, count in sorted(self._answers.items(), key=repr)]
        return (
            run_id,
            self.began_ns,
            self.ends_ns if over else self._last_ns,
            self.frames,
            self.unrecorded,
            as_json(self._drops),
            as_json([(truth, class_id, count, count if in_top else 0) for truth, class_id, in_top, count in answers]),
            self._throttled,
            *self._temperature_c.told(),
            *self._clock_mhz.told(),
            self._governor,
            self._memory_bytes.told()[0],
            self._resident_bytes.told()[2],
            self._load.told()[1],
            self._coral_c.told()[2],
            self._packed(),
        )

    def _packed(self) -> bytes:
        return pack_histograms(
            {
                STATES[state]: {stage: each.counted() for stage, each in zip(STAGES, stages)}
                for state, stages in sorted(self._stages.items())
            }
        )


class Truths:
    """Which classes a truth names, looked up once for each name."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._classes = ClassNames(tuple(labels))
        self._known: dict[str, frozenset[int]] = {}

    def answer(self, truth: Optional[str], class_ids: Sequence[int]) -> Answer:
        """What a frame counts as.

        Args:
            truth: where it is known.
            class_ids: of the first predictions, the best first.
        """
        if truth is None:
            return Answer(None, class_ids[0], False)
        if truth not in self._known:
            self._known[truth] = frozenset(self._classes.find(truth))
        return Answer(truth, class_ids[0], not self._known[truth].isdisjoint(class_ids[:TOP]))
