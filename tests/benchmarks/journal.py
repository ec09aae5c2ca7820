"""What the field log costs: time of the thread that classifies, and bytes written to the medium in a day.

`python -m tests.benchmarks.journal [--seconds S] [--hours H]` prints a Markdown table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from edge import device
from edge.cameras import CameraSettings, open_camera
from edge.classifier import Classifier
from edge.config import Config
from edge.device import Live
from edge.journal import clock, schema, store
from edge.journal.budget import DAY_S, Budget, Written
from edge.journal.ledger import Ledger, RunFacts
from edge.journal.settings import JournalSettings
from edge.loop import daemon
from edge.records import Frame, Prediction, Ran, Record, Timings
from edge.review.settings import ReviewSettings
from tests.runs import Run, recorded

FPS = 30
MOST_US = 100.0
MOST_BYTES = 25_000_000
MODEL = "efficientnet_lite0_int8"
FACTS = RunFacts("bench", Ran("model", "0" * 64, "litert", "2.3.0", "cpu", 2), ("a", "b", "c"), "simulated")


class Timed:
    """A recorded run whose calls on the classifying thread are timed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.spent_ns: list[int] = []
        self._frame_ns = 0

    @property
    def truth(self) -> Optional[str]:
        began_ns = time.perf_counter_ns()
        truth = self._run.overview.truth
        self._frame_ns = time.perf_counter_ns() - began_ns
        return truth

    @property
    def throttled(self) -> Optional[int]:
        began_ns = time.perf_counter_ns()
        throttled = self._run.overview.throttled
        self._frame_ns += time.perf_counter_ns() - began_ns
        return throttled

    def write(self, record: Record) -> None:
        began_ns = time.perf_counter_ns()
        for sink in self._run:
            sink.write(record)
        self._frame_ns += time.perf_counter_ns() - began_ns

    def see(self, frame: Frame, record: Record) -> None:
        began_ns = time.perf_counter_ns()
        for viewer in self._run:
            viewer.see(frame, record)
        self.spent_ns.append(self._frame_ns + time.perf_counter_ns() - began_ns)


def recording_us(folder: Path, seconds: float, pictures: bool) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds, of what a frame's recording takes of the classifying thread."""
    review = ReviewSettings(keep_pictures=pictures)
    config = Config(journal=JournalSettings(path=str(folder / f"cost-{pictures}.db")), review=review)
    with Classifier.open(MODEL, threads=1) as classifier:
        camera = open_camera(CameraSettings(source="scene"))
        with (
            contextlib.closing(camera),
            recorded(config, classifier, camera.name) as run,
        ):
            timed, limits = Timed(run), daemon.Limits(seconds=seconds)
            daemon.run(camera, classifier, [timed], limits, threading.Event(), watch=timed, viewers=[timed])
    spent_us = sorted(each / 1000 for each in timed.spent_ns)
    return statistics.median(spent_us), spent_us[int(len(spent_us) * 0.99)]


def records(fps: float, seconds: float, began_ns: int) -> Iterator[Record]:
    """What a camera before a changing scene would give."""
    chance = random.Random(0)
    for sequence in range(round(fps * seconds)):
        best, invoke_ns = chance.randrange(3), round(chance.lognormvariate(15.2, 0.15))
        yield Record(
            run=FACTS.run,
            sequence=sequence,
            utc="",
            monotonic_ns=began_ns + round(sequence / fps * 1e9),
            timings=Timings(
                round(chance.lognormvariate(11, 0.5)), 300_000 + chance.randrange(50_000), invoke_ns, 90_000
            ),
            predictions=tuple(Prediction(each % 1000, "", 0.5 / (1 + each)) for each in range(best, best + 5)),
            backend="cpu",
            truth="a",
            dropped=chance.random() < 0.01,
        )


def day_bytes(folder: Path, fps: float, hours: float) -> tuple[float, float, str]:
    """Bytes written in a simulated day with the default settings, of the file's growth, and one of how many was kept.

    The ledger, the budget, the tables and the accounting are the journal's own; only time is made up. What is written
    is counted by the kernel for this thread (/proc/thread-self/io): the larger of the bytes given to write calls and
    those of the blocks that the page cache has to write. Each batch is flushed, as the kernel does by itself after half
    a minute, so that a block that is written again counts again.
    """
    settings, path = JournalSettings(), folder / f"day-{fps:g}.db"
    connection, began_ns, written = schema.connect(path), time.monotonic_ns(), Written()
    budget = Budget(settings.max_bytes_per_day, settings.commit_s, began_ns, seed=0)
    run_id = store.begin(connection, FACTS, began_ns, clock.read())
    ledger = Ledger(run_id, FACTS, round(settings.window_s * 1e9), budget, began_ns)
    total, commit_ns, read_ns = 0, began_ns, began_ns
    for record in records(fps, hours * 3600, began_ns):
        if record.monotonic_ns >= read_ns:
            read_ns += 1_000_000_000
            chance = random.Random(read_ns)
            ledger.take(Live(record.monotonic_ns, 50 + 10 * chance.random(), 1500.0, 0, "ondemand", 10**9, 10**8, 1.0))
        ledger.take(record)
        if record.monotonic_ns >= commit_ns + budget.batch_s * 1e9:
            commit_ns = record.monotonic_ns
            if ledger.holds:
                with store.transaction(connection):
                    store.write(connection, ledger)
                ledger.written()
                flush(path.with_name(path.name + "-wal"))
            spent = written.since()
            total += spent
            budget.spend(spent, record.monotonic_ns)
    connection.close()
    total += written.since()
    of_a_day = DAY_S / (hours * 3600)
    return total * of_a_day, path.stat().st_size * of_a_day, f"1 row in {budget.keep_every} each {budget.batch_s:.0f} s"


def flush(path: Path) -> None:
    """Have the disk write a file now, so that blocks that are written again later count again."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to record at the camera's rate")
    parser.add_argument("--hours", type=float, default=24.0, help="how much of a day to simulate")
    options = parser.parse_args()
    print("| what | measured | bar | holds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for pictures in (False, True):
            median_us, p99_us = recording_us(folder, options.seconds, pictures)
            what = f"recording a frame{', pictures for review on' * pictures}: time of the classifying thread"
            bar = f"≤ {MOST_US:.0f} µs | {'yes' if median_us <= MOST_US else 'no'}"
            print(f"| {what} | median {median_us:.1f} µs, p99 {p99_us:.1f} µs | {bar} |")
        for fps in (FPS, 1):
            written, growth, every = day_bytes(folder, fps, options.hours)
            bar = f"≤ {MOST_BYTES / 1e6:.0f} MB | {'yes' if written <= MOST_BYTES else 'no'}"
            what = f"a day at {fps} frames a second, defaults: written to the medium"
            print(f"| {what} | {written / 1e6:.1f} MB, file + {growth / 1e6:.1f} MB, {every} | {bar} |")
    told: Any = device.read()
    print(f"\n{told.cpu or told.model}, {told.processors} processors, Python {sys.version.split()[0]}, {FPS} fps.")


if __name__ == "__main__":
    main()
