"""The service for a long time, with faults at random: it goes on, tells each of them, and stays level."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import cameras
from edge.config import read
from edge.journal.sink import Journal
from edge.service import Service
from edge.signals import Signals
from tests.conftest import TinyModels
from tests.fakes.puppet import Puppet, Strings
from tests.journaling import rows, sound
from tests.vm.faults import Course, Level, Log, Witness

FEWER_PAUSES = {
    "edge.cameras.lasting.SHORTEST_PAUSE_S": 0.02,
    "edge.cameras.lasting.LONGEST_PAUSE_S": 0.2,
    "edge.cameras.lasting.STEADY_S": 1.0,
    "edge.cameras.pictures.LIGHT_S": 0.2,
    "edge.journal.medium.RETRY_S": 0.1,
    "edge.journal.medium.LOOK_S": 1.0,
}
"""So that hours pass in minutes: what waits for seconds or minutes waits for parts of them."""
MOST_GROWTH_BYTES, MOST_A_FRAME_BYTES = 8_000_000, 60
"""Of resident memory after the first tenth of the faults, and in the second half: each of the threads that come and go
with a run may be given one of some 16 heaps by the C library, which keep what they once had."""
LEAST_LEVELS = 10
MOST_REAL_STALLS = 3


class Beside:
    """The service's output: the witness, in every run."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.wants_board = False

    def began(self, *_: Any) -> list[Witness]:
        return [self._witness]

    def abandoned(self, unwritten: bool) -> None:
        raise AssertionError("the loop was stuck")


@pytest.mark.parametrize(
    ("frames", "faults"), [(3_000, 16), pytest.param(200_000, 660, marks=pytest.mark.endurance)], ids=["short", "long"]
)
def test_it_goes_on_through_faults_at_random(
    frames: int, faults: int, tmp_path: Path, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("EDGE_SEED") or time.time_ns() % 1_000_000)
    print(f"\nEDGE_SEED={seed}, {frames} frames, {faults} faults")
    for name, seconds in FEWER_PAUSES.items():
        monkeypatch.setattr(name, seconds)
    log, strings = Log(), Strings(0.0004, seed)
    course = Course(tmp_path, tiny, strings, log, seed)
    monkeypatch.setitem(cameras.CAMERAS, "device", "tests.fakes.puppet:Puppet")
    monkeypatch.setattr("tests.fakes.puppet.Puppet", partial(Puppet, strings))
    monkeypatch.setattr("edge.recording.Journal", partial(Journal, clocks=course.clocks))
    logger = logging.getLogger("edge")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "handlers", [log])
    began_s = time.monotonic()
    signals = Signals()
    service = Service(lambda: read(course.config), signals, Beside(course.witness), waits=True)
    service.open()
    failures: list[BaseException] = []

    def drive() -> None:
        try:
            course.run(frames, faults)
        except BaseException as error:
            failures.append(error)
        finally:
            signals.stop.set()
            signals.on_stop()

    driver = threading.Thread(target=drive, name="driver")
    driver.start()
    try:
        service.run()
    finally:
        driver.join()
    for failure in failures:
        raise failure
    check(course, log, service, time.monotonic() - began_s)


def check(course: Course, log: Log, service: Service, seconds: float) -> None:
    """Nothing is lost, nothing is left over, everything was told."""
    journal, witness, totals = course.journal, course.witness, service.totals
    told = Counter(kind for (kind,) in rows(journal, "SELECT kind FROM events"))
    details = rows(journal, "SELECT detail FROM events WHERE kind = 'camera lost'")
    causes = Counter(json.loads(detail)["cause"] for (detail,) in details)
    ((counted, unrecorded),) = rows(journal, "SELECT sum(frames), sum(unrecorded) FROM windows")
    drops: Counter[str] = Counter()
    for (each,) in rows(journal, "SELECT drops FROM windows"):
        drops.update(json.loads(each))
    print(f"\n{witness.frames} frames in {seconds:.0f} s; in the journal {counted}, not recorded {unrecorded}; {drops}")
    for title, found, expected in (("event", told, course.expected), ("camera lost", causes, course.causes)):
        print(f"\n| {title} | in the journal | expected |\n|---|---|---|")
        print("\n".join(f"| {kind} | {found[kind]} | {expected[kind]} |" for kind in sorted({*found, *expected})))
    assert log.unexpected == []
    assert witness.wrong == []
    # A busy machine may hold the camera's own thread up for longer than it may be quiet: such a stall is a real one.
    real = causes["stalled"] - course.causes["stalled"]
    assert 0 <= real <= MOST_REAL_STALLS
    course.expected.update({"camera lost": real, "camera found": real})
    assert told == +course.expected
    assert causes == course.causes + Counter(stalled=real)
    assert sound(journal)
    assert totals.frames == witness.frames == counted + unrecorded
    assert witness.dropped + witness.unchanged == sum(drops.values())
    assert totals.next_sequence == witness.frames + sum(drops.values()) + totals.passed_over + totals.kept_back
    if len(course.levels) < LEAST_LEVELS:
        return  # in a process that other tests have used too, so few tell nothing
    early, *later = course.levels[len(course.levels) // 10 :]
    slope = bytes_a_frame(later[len(later) // 2 :])
    growth_bytes = later[-1].resident_bytes - early.resident_bytes
    grown = f"{growth_bytes / 1e6:+.2f} MB since frame {early.frames}, in the second half {slope:+.1f} bytes a frame"
    print(f"\nresident memory: {later[-1].resident_bytes / 1e6:.1f} MB, {grown}")
    assert {level.descriptors for level in later} == {early.descriptors}
    assert {level.threads for level in later} == {early.threads}
    assert growth_bytes < MOST_GROWTH_BYTES
    assert slope < MOST_A_FRAME_BYTES


def bytes_a_frame(levels: list[Level]) -> float:
    """The slope of resident memory; 0.0 of too few levels to tell one."""
    if len(levels) < LEAST_LEVELS:
        return 0.0
    return float(np.polyfit([level.frames for level in levels], [level.resident_bytes for level in levels], 1)[0])
