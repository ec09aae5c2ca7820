"""What is counted of each frame, in memory of a fixed size: one thread adds, another reads, and neither waits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Optional

from edge.labels import ClassNames
from edge.records import NO_BACKEND, NS_PER_MS, Event, Prediction, Record

BOUNDS_NS = tuple(
    int(bound_ms * NS_PER_MS)
    for bound_ms in (
        *(0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700),
        *(1000, 2000, 5000, 10_000),
    )
)
"""Upper ends of a histogram's buckets, inclusive; above the last there is one without an end."""
OTHER = "other"
"""Names beyond the most that are told apart."""

_MOST_LABELS, _MOST_BACKENDS, _MOST_REASONS, _MOST_KINDS = 100, 8, 8, 50
_MOST_TRUTHS = 2000
_LONGEST = 200  # characters of a name


class Histogram:
    """Durations, counted by `BOUNDS_NS`."""

    __slots__ = ("_counts", "sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one, of 0 ns or more."""
        self._counts[bisect_left(BOUNDS_NS, duration_ns)] += 1
        self.sum_ns += duration_ns

    def cumulative(self) -> list[int]:
        """How many were no longer than each of `BOUNDS_NS`, and at the end how many there were."""
        return list(accumulate(self._counts.copy()))


class Stages:
    """A histogram of each stage, and of the age, their sum."""

    def __init__(self) -> None:
        self.wait, self.preprocess, self.invoke, self.postprocess = (Histogram() for _ in range(4))
        self.age = Histogram()

    def by_name(self) -> dict[str, Histogram]:
        """The stages, without the age."""
        return {
            "wait": self.wait,
            "preprocess": self.preprocess,
            "invoke": self.invoke,
            "postprocess": self.postprocess,
        }


class Tally:
    """Counts by name; a new name beyond the most counts as `OTHER`, so that no count ever falls."""

    def __init__(self, most: int, known: Iterable[str] = ()) -> None:
        """Count from 0.

        Args:
            most: names are told apart.
            known: names that are told before anything was counted of them.
        """
        self._most = most
        self._keys = {name: name for name in known}
        self._counts = dict.fromkeys(self._keys, 0)

    def add(self, name: str, count: int = 1) -> None:
        """Count something of this name."""
        self._counts[self._keys.get(name) or self._key(name)] += count

    def told(self) -> dict[str, int]:
        """The counts at this moment."""
        return self._counts.copy()

    def _key(self, name: str) -> str:
        key = OTHER
        if len(self._keys) < self._most:
            key = self._keys[name] = tellable(name)
        self._counts.setdefault(key, 0)
        return key


class Counts:
    """What happened since the outlet was opened, over all runs."""

    def __init__(self) -> None:
        self.runs = self.frames = self.unchanged = self.known = self.right = 0
        """`known` are frames whose truth is a class of the model, `right` those that had it as the best answer."""
        self.dropped = Tally(_MOST_REASONS, ("busy", "paced", NO_BACKEND))
        self.answers = Tally(_MOST_LABELS)
        self.events = Tally(_MOST_KINDS)
        self._stages: dict[str, Stages] = {}
        self._labels: tuple[str, ...] = ()
        self._classes: Optional[ClassNames] = None
        self._meant: dict[str, frozenset[int]] = {}

    def begin(self, labels: Sequence[str]) -> None:
        """Another run begins, of a model with these labels."""
        self.runs += 1
        self._labels, self._classes, self._meant = tuple(labels), None, {}

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        self.frames += 1
        self.unchanged += record.unchanged
        if record.dropped:
            self.dropped.add(record.drop_reason, record.dropped)
        stages = self._stages.get(record.backend) or self._stages_of(record.backend)
        timings = record.timings
        stages.wait.add(timings.wait_ns)
        stages.preprocess.add(timings.preprocess_ns)
        stages.invoke.add(timings.invoke_ns)
        stages.postprocess.add(timings.postprocess_ns)
        stages.age.add(timings.age_ns)
        best = record.predictions[0]
        self.answers.add(best.label)
        if record.truth is not None:
            self._judge(record.truth, best)

    def event(self, event: Event) -> None:
        """Take in something that happened."""
        self.events.add(event.kind)

    def stages(self) -> dict[str, Stages]:
        """By backend."""
        return self._stages.copy()

    def _stages_of(self, backend: str) -> Stages:
        name = tellable(backend) if len(self._stages) < _MOST_BACKENDS else OTHER
        return self._stages.setdefault(name, Stages())

    def _judge(self, truth: str, best: Prediction) -> None:
        meant = self._meant.get(truth)
        if meant is None:
            meant = self._meaning(truth)
        self.known += bool(meant)
        self.right += best.class_id in meant

    def _meaning(self, truth: str) -> frozenset[int]:
        """The classes that are meant; what somebody said is spelled as the label, and only folders' names are not."""
        exactly = frozenset(index for index, label in enumerate(self._labels) if label == truth)
        if not exactly and self._classes is None:
            self._classes = ClassNames(self._labels)
        meant = exactly or (self._classes.find(truth) if self._classes else exactly)
        if len(self._meant) < _MOST_TRUTHS:
            self._meant[truth] = meant
        return meant


def tellable(name: str) -> str:
    """A name that every encoding can tell, and no longer than a person can read."""
    return name[:_LONGEST].encode("utf-8", "replace").decode()
