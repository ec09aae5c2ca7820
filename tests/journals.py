"""Journals for tests, written straight into the tables: small rows by hand, or minutes of varied content."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from edge.histogram import Histogram
from edge.journal import schema
from edge.journal.packing import FALLBACK, STATES, THROTTLED, WARM_UP, pack_histograms
from edge.stats import STAGES

LABELS = (
    *("background", "robin", "great white shark, white shark", "daisy"),
    *("tulip", "rocket", "coffee cup", "tabby cat"),
)
START_UTC_S = 1_767_225_600
"""2026-01-01."""
BOOTED_NS = 40_000_000_000
"""Monotonic start of the first run."""
NS = 1_000_000_000
_GAP_NS = 30 * NS
_CPU_SLOWER = 4.0
_LOST_S = 20
"""Into the minute, to whose end the CPU then answers."""
_TYPICAL_MS = {"wait": 2.0, "preprocess": 1.2, "invoke": 12.0, "postprocess": 0.2}

_DEFAULTS: dict[str, dict[str, Any]] = {
    "models": {"name": "lite0", "sha256": "ab" * 32, "labels": json.dumps(LABELS)},
    "runs": {
        "run": "run-1",
        "boot_id": "boot-1",
        "started_ns": BOOTED_NS,
        "ended_ns": None,
        "ended_because": None,
        "model_id": 1,
        "runtime": "litert",
        "runtime_version": "2.3.0",
        "backend": "cpu",
        "threads": 4,
        "camera": "drawn scene 640x480",
        "configuration": json.dumps({"model": {"path": "lite0"}, "camera": {"name": "scene"}}),
        "board": json.dumps({"model": "Raspberry Pi 4 Model B Rev 1.2", "processors": 4, "machine": "aarch64"}),
        "versions": json.dumps({"edge-runner": "0.3.0", "numpy": "2.3.5"}),
        "opened_ns": 310_000_000,
        "first_invoke_ns": 41_000_000,
    },
    "clocks": {"run_id": 1, "since_ns": BOOTED_NS, "utc_minus_monotonic_ns": START_UTC_S * NS - BOOTED_NS},
    "frames": {
        "run_id": 1,
        "sequence": 0,
        "monotonic_ns": BOOTED_NS,
        "wait_ns": 2_000_000,
        "preprocess_ns": 1_200_000,
        "invoke_ns": 12_000_000,
        "postprocess_ns": 200_000,
        "class_id": 1,
        "score": 9_000,
        "others": b"",
        "truth": None,
        "dropped": 0,
        "throttled": None,
        "state": 0,
        "stands_for": 1,
    },
    "windows": {
        "run_id": 1,
        "began_ns": BOOTED_NS,
        "ended_ns": BOOTED_NS + 60 * NS,
        "frames": 0,
        "unrecorded": 0,
        "drops": "{}",
        "answers": "[]",
        "histograms": pack_histograms({}),
    },
    "events": {"run_id": 1, "monotonic_ns": BOOTED_NS, "kind": "started", "detail": "{}"},
    "labels": {"said_by": "anna", "said_utc_ns": (START_UTC_S + 86_400) * NS},
    "pictures": {
        "run_id": 1,
        "sequence": 0,
        "monotonic_ns": BOOTED_NS,
        "stratum": "ordinary",
        "stands_for": 1.0,
        "file": "",
        "class_id": 1,
        "score": 9_000,
        "others": b"",
        "truth": None,
    },
}


def insert(connection: sqlite3.Connection, table: str, **columns: Any) -> int:
    """Add a row; what is not given is as in most tests. Returns its id."""
    row = {**_DEFAULTS[table], **columns}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    return int(connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values())).lastrowid or 0)


def insert_many(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Add rows that all give the same columns."""
    if rows:
        full = [{**_DEFAULTS[table], **row} for row in rows]
        names, marks = ", ".join(full[0]), ", ".join("?" * len(full[0]))
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", [list(row.values()) for row in full])


def utc_ns(seconds: float) -> int:
    """UTC so long after the start of the first run."""
    return START_UTC_S * NS + round(seconds * NS)


def truth_id(minute: int, labels: tuple[str, ...]) -> int:
    """The class that stands before the camera in a minute of `make_journal`."""
    return 1 + minute % (len(labels) - 1)


def make_journal(
    path: Path,
    runs: int = 1,
    minutes: int = 10,
    seed: int = 0,
    *,
    fps: float = 10.0,
    keep_every: int = 5,
    slower: float = 1.0,
    right: float = 0.85,
    labels: tuple[str, ...] = LABELS,
    truth: bool = True,
    throttling: bool = True,
    reviewed: bool = True,
    backend: str = "cpu",
    lost: Collection[int] = (),
) -> Path:
    """A journal as a Raspberry Pi might leave it.

    Latencies are lognormal; the board grows warm and is throttled (if it tells that at all) in each run's last third;
    the truth is known at the time in two minutes of three; some frames are dropped; the last other minute of
    the first run is labelled by a person; pictures are kept, and two of three were looked at.

    Args:
        path: of the new journal.
        runs: how many, one after the other, half a minute apart.
        minutes: length of each run; a window each.
        seed: another one gives other numbers.
        fps: frames a second.
        keep_every: one frame of so many has a row.
        slower: factor on all latencies.
        right: share of first predictions that are right.
        labels: of the model.
        truth: False: no truth is known at the time.
        throttling: False: the board tells no throttling.
        reviewed: False: nobody labelled anything.
        backend: what the runs are for.
        lost: minutes of each run in which it was lost, and the CPU answered; all of the time where all are.
    """
    random = np.random.default_rng(seed)
    with closing(schema.connect(path)) as connection:
        connection.execute("BEGIN")
        model_id = insert(connection, "models", labels=json.dumps(labels))
        for number in range(runs):
            started_ns = BOOTED_NS + number * (minutes * 60 * NS + _GAP_NS)
            ended_ns = started_ns + minutes * 60 * NS
            run_id = insert(
                *(connection, "runs"),
                run=f"{path.stem}-{number + 1}",
                backend=backend,
                model_id=model_id,
                started_ns=started_ns,
                ended_ns=ended_ns,
                ended_because="stopped",
            )
            insert(connection, "clocks", run_id=run_id, since_ns=started_ns)
            _add_events(connection, run_id, started_ns, ended_ns, throttling)
            _add_losses(connection, run_id, started_ns, backend, lost)
            sequence = 0
            for minute in range(minutes):
                began_ns = started_ns + minute * 60 * NS
                frames = _Minute(random, began_ns, round(fps * 60), labels, slower, right, minute, minutes)
                if minute in lost:
                    frames.lose(0 if len(lost) == minutes else _LOST_S)
                frames.add(connection, run_id, sequence, keep_every, throttling, truth and minute % 3 < 2)
                if minute % 2:
                    frames.add_picture(connection, run_id, sequence, reviewed and minute % 3 > 0)
                sequence += len(frames.class_id) + frames.drops
        unknown = [minute for minute in range(minutes) if minute % 3 == 2]
        if reviewed and unknown:
            at_s = unknown[-1] * 60
            said = labels[truth_id(unknown[-1], labels)]
            insert(connection, "labels", from_utc_ns=utc_ns(at_s), to_utc_ns=utc_ns(at_s + 60), truth=said)
        connection.execute("COMMIT")
    return path


def _add_events(connection: sqlite3.Connection, run_id: int, started_ns: int, ended_ns: int, throttling: bool) -> None:
    long_ns = ended_ns - started_ns
    told: list[tuple[float, str, dict[str, Any]]] = [
        (0.0, "started", {"backend": "cpu"}),
        (0.4, "camera lost", {"reason": "no frame for 5 s"}),
        (0.41, "camera found", {"after_s": 7.5}),
        *([(0.67, "throttled", {"temperature_c": 81.2, "throttled": 0x50005})] if throttling else []),
        (1.0, "stopped", {"because": "stopped"}),
    ]
    rows = [
        {"run_id": run_id, "monotonic_ns": started_ns + round(at * long_ns), "kind": kind, "detail": json.dumps(detail)}
        for at, kind, detail in told
    ]
    insert_many(connection, "events", rows)


def _add_losses(
    connection: sqlite3.Connection, run_id: int, started_ns: int, backend: str, lost: Collection[int]
) -> None:
    for minute in lost:
        lost_ns = started_ns + (60 * minute + _LOST_S) * NS
        stalled = minute % 2
        why = "no answer in 2 s" if stalled else "its process was ended by SIGABRT"
        told = {"backend": backend, "device": "usb:0", "cause": "stalled" if stalled else "died", "why": why}
        found = {"backend": backend, "device": "usb:0", "after": 60.0 - _LOST_S}
        rows = [
            (lost_ns, "backend lost", told),
            (lost_ns, "fell back", {"to": "cpu", "why": why}),
            (started_ns + 60 * (minute + 1) * NS, "backend found", found),
        ]
        for at_ns, kind, detail in rows:
            insert(*(connection, "events"), run_id=run_id, monotonic_ns=at_ns, kind=kind, detail=json.dumps(detail))


class _Minute:
    """All frames of a minute."""

    def __init__(
        self,
        random: np.random.Generator,
        began_ns: int,
        frames: int,
        labels: tuple[str, ...],
        slower: float,
        right: float,
        minute: int,
        minutes: int,
    ) -> None:
        self.random, self.began_ns, self.labels, self.minute = random, began_ns, labels, minute
        self.hot = minute >= minutes * 2 / 3
        self.state = np.full(frames, THROTTLED if self.hot else 0)
        self.state[: 50 if minute == 0 else 0] = WARM_UP
        factor = slower * (1.7 if self.hot else 1.0) * (1 + 0.05 * np.sin(minute))
        self.stages_ns = {
            stage: (random.lognormal(np.log(typical * factor), 0.18, frames) * 1e6).astype(np.int64)
            for stage, typical in _TYPICAL_MS.items()
        }
        self.stages_ns["age"] = sum(self.stages_ns.values())  # type: ignore[assignment]
        self.monotonic_ns = began_ns + np.sort(random.integers(0, 60 * NS, frames))
        self.truth_id = truth_id(minute, labels)
        self.class_id = np.where(random.random(frames) < right, self.truth_id, random.integers(0, len(labels), frames))
        self.score = (10_000 * random.beta(6, 2, frames)).astype(np.int64)
        self.drops = int(random.integers(0, 9))

    def lose(self, after_s: float) -> None:
        """Have the CPU answer from so late in the minute on."""
        late = self.monotonic_ns >= self.began_ns + round(after_s * NS)
        self.state[late] = FALLBACK
        slower_ns = np.where(late, self.stages_ns["invoke"] * (_CPU_SLOWER - 1), 0).astype(np.int64)
        for stage in ("invoke", "age"):
            self.stages_ns[stage] += slower_ns

    def others(self, class_id: int) -> list[int]:
        ranked = [self.truth_id, *range(len(self.labels))] if class_id % 2 else list(range(len(self.labels)))
        return list(dict.fromkeys(each for each in ranked if each != class_id))[:4]

    def packed_others(self, index: int) -> bytes:
        left = (10_000 - self.score[index]) // 8
        return np.array([(each, left) for each in self.others(int(self.class_id[index]))], "<u2").tobytes()

    def add(
        self, connection: sqlite3.Connection, run_id: int, sequence: int, keep_every: int, tells: bool, truth: bool
    ) -> None:
        known = self.labels[self.truth_id] if truth else None
        bits = (0x50005 if self.hot else 0) if tells else None
        rows = [
            {
                "run_id": run_id,
                "sequence": sequence + index,
                "monotonic_ns": int(self.monotonic_ns[index]),
                **{f"{stage}_ns": int(self.stages_ns[stage][index]) for stage in STAGES if stage != "age"},
                "class_id": int(self.class_id[index]),
                "score": int(self.score[index]),
                "others": self.packed_others(index),
                "truth": known,
                "dropped": 0,
                "throttled": bits,
                "state": int(self.state[index]),
                "stands_for": keep_every,
            }
            for index in range(0, len(self.class_id), keep_every)
        ]
        insert_many(connection, "frames", rows)
        warm = 45 + 30 * (1 - np.exp(-self.minute / 5))
        insert(
            *(connection, "windows"),
            run_id=run_id,
            began_ns=self.began_ns,
            ended_ns=self.began_ns + 60 * NS,
            frames=len(self.class_id),
            unrecorded=int(self.minute == 3),
            drops=json.dumps({"busy": self.drops} if self.drops else {}),
            answers=json.dumps(self._answers(known)),
            throttled=bits,
            temperature_min_c=round(warm - 1, 1),
            temperature_mean_c=round(warm, 1),
            temperature_max_c=round(warm + 1.5, 1),
            clock_min_mhz=600.0 if self.hot else 1500.0,
            clock_mean_mhz=900.0 if self.hot else 1795.0,
            clock_max_mhz=1800.0,
            governor="ondemand",
            memory_available_min_bytes=2_900_000_000 - 1_000_000 * self.minute,
            resident_max_bytes=95_000_000 + 10_000 * self.minute,
            load_mean=round(1.2 + 0.1 * np.cos(self.minute), 2),
            histograms=self._histograms(),
        )

    def _answers(self, known: str | None) -> list[list[Any]]:
        counts = Counter(self.class_id.tolist())
        told = []
        for class_id, frames in sorted(counts.items()):
            in_top = known is not None and (class_id == self.truth_id or self.truth_id in self.others(class_id))
            told.append([known, class_id, frames, frames if in_top else 0])
        return told

    def _histograms(self) -> bytes:
        made: dict[str, dict[str, Histogram]] = {}
        for state in np.unique(self.state):
            made[STATES[state]] = {stage: Histogram() for stage in STAGES}
            for stage, histogram in made[STATES[state]].items():
                histogram.add(self.stages_ns[stage][self.state == state])
        return pack_histograms(made)

    def add_picture(self, connection: sqlite3.Connection, run_id: int, sequence: int, looked_at: bool) -> None:
        unsure = int(np.argmin(self.score))
        ordinary = int(self.random.integers(0, len(self.class_id)))
        for stratum, index, stands_for in (("unsure", unsure, 30.0), ("ordinary", ordinary, 570.0)):
            insert(
                *(connection, "pictures"),
                run_id=run_id,
                sequence=sequence + index,
                monotonic_ns=int(self.monotonic_ns[index]),
                stratum=stratum,
                stands_for=stands_for,
                file=f"{run_id}-{sequence + index}.jpg",
                class_id=int(self.class_id[index]),
                score=int(self.score[index]),
                others=self.packed_others(index),
            )
            if looked_at:
                truth = self.labels[self.truth_id]
                insert(connection, "labels", run_id=run_id, sequence=sequence + index, truth=truth)
