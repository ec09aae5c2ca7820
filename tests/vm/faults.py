"""Faults of the field for a service under test, one after the other or two at once, and what becomes of each."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from edge.control.client import ask
from edge.errors import ControlError
from edge.journal import clock, socket_path
from edge.journal.clock import Clocks
from edge.records import Record
from tests.conftest import TinyModels, full_disk
from tests.fakes.puppet import Strings
from tests.journaling import value

NS = 1_000_000_000
DAY_S = 86_400
SOURCE = "/dev/video97"
STALL_S, FROZEN_S = 1.0, 0.3
A_DAY_IN_MINUTES = {"max_bytes_per_day": 10**10, "min_free_bytes": 0}
"""Else batches would become rare, as more frames come in a second than in the field."""
EXPECTED_LINES = (
    *("camera lost (", "camera dark", "camera saturated", "The new configuration is refused"),
    *("The journal", "Only "),
)
"""How warnings may begin."""


class Log(logging.Handler):
    """What the service logs, also as a way to know what happens to it just now."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.unexpected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line.startswith("The journal"):
            self.counts["recording again" if line.endswith("is written again.") else "not recording"] += 1
        self.counts[line.split(" (")[0] if line.startswith("camera") else line.split()[0]] += 1
        if record.levelno >= logging.WARNING and (record.exc_info or not line.startswith(EXPECTED_LINES)):
            self.unexpected.append(f"{line} {record.exc_info or ''}")


class Witness:
    """The sink beside the journal: counts, and knows what the camera showed in the picture that was answered."""

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self.frames = self.dropped = self.unchanged = 0
        self.wrong: list[str] = []
        self._newest_ns = 0

    def write(self, record: Record) -> None:
        self.frames += 1
        self.dropped += record.dropped
        self.unchanged += record.unchanged
        captured_ns = record.monotonic_ns - record.timings.age_ns
        given = self._strings.given
        while given and given[0].captured_ns < captured_ns:
            given.popleft()
        label = record.predictions[0].label
        if not given or given[0].captured_ns != captured_ns or captured_ns <= self._newest_ns:
            self.wrong.append(f"frame {record.sequence} is no picture of the camera, or was answered before")
        elif given[0].colour not in (None, label):
            self.wrong.append(f"frame {record.sequence} was {given[0].colour} and is called {label}")
        self._newest_ns = captured_ns

    def close(self) -> None: ...


class Jumping:
    """The machine's clocks, which somebody sets now and then."""

    def __init__(self) -> None:
        self.step_ns = self.asleep_ns = 0

    def __call__(self) -> Clocks:
        now = clock.read()
        return Clocks(now.monotonic_ns, now.utc_ns + self.step_ns + self.asleep_ns, now.boot_ns + self.asleep_ns)


class Level(NamedTuple):
    """What the process holds at one moment."""

    frames: int
    descriptors: int
    threads: int
    resident_bytes: int


class Course:
    """Breaks things, one after the other or two at once, and waits until the service has noticed and mended each."""

    def __init__(self, folder: Path, tiny: TinyModels, strings: Strings, log: Log, seed: int) -> None:
        self.journal, self.config = folder / "disk" / "field.db", folder / "config.yaml"
        self.journal.parent.mkdir()
        self.clocks, self.expected, self.levels = Jumping(), Counter({"started": 1, "stopped": 1}), list[Level]()
        self.causes, self.injected = Counter[str](), Counter[str]()
        self.witness = Witness(strings)
        self._tiny, self._strings, self._log = tiny, strings, log
        self._random = random.Random(seed)
        self._truth: Optional[str] = None
        scaling = {"mean": [127.5], "std": [127.5]}
        self._settings: dict[str, Any] = {
            "camera": {"source": SOURCE, "stall_s": STALL_S, "frozen_s": FROZEN_S, "give_up_s": 60},
            "model": {"path": str(tiny["softmax_uint8"]), "bare": {"labels": str(tiny.labels), **scaling}},
            "runtime": {"threads": 1},
            "journal": {"path": str(self.journal), "commit_s": 0.1, "window_s": 1, **A_DAY_IN_MINUTES},
        }
        self.configure()

    def configure(self, **sections: Any) -> None:
        self.config.write_text(json.dumps({**self._settings, **sections}))

    def run(self, frames: int, faults: int) -> None:
        """Spread so many faults over so many frames."""
        kinds: list[Callable[[], None]] = [
            *(self.read_error, self.gone, self.frozen, self.refused, self.dark, self.saturated, self.locked),
            *(self.said, self.unsaid, self.reloaded, self.refused_reload, self.clock_set, self.suspended, self.full),
            *([self.read_only] if may_mount() else []),
        ]
        if faults > 100:
            kinds += [self.stalled, self.stuck_closing, self.slow, self.swapped, self.gated, self.slept]
        planned = [kinds[number % len(kinds)] for number in range(faults)]
        self._random.shuffle(planned)
        for number, fault in enumerate(planned):
            self._wait_for_frames(round(frames * (number + self._random.random()) / faults))
            if number % max(10, faults // 40) == 0:
                self._level()
            fault()
            self.injected[fault.__name__] += 1
            self._ask("status")
        self._wait_for_frames(frames)
        self._level()

    def stalled(self) -> None:
        self._lose("stalled")

    def read_error(self) -> None:
        self._lose("read error")

    def frozen(self) -> None:
        self._lose("frozen")

    def stuck_closing(self) -> None:
        self._strings.release_s = 0.5
        self._lose("read error")
        self._strings.release_s = 0.0

    def gone(self) -> None:
        self._strings.absent = self._random.randrange(4)
        self._lose("gone")

    def refused(self) -> None:
        self._strings.refused = 1 + self._random.randrange(3)
        self.expected["camera lost"] += 1
        self.causes["refused"] += 1
        self._lose("gone")

    def slow(self) -> None:
        self._strings.fault = "slow"
        time.sleep(0.5)
        self._strings.fault = None

    def dark(self) -> None:
        self._light("dark")

    def saturated(self) -> None:
        self._light("saturated")

    def clock_set(self) -> None:
        self.clocks.step_ns += self._random.choice([-1, 1]) * self._random.randrange(2, 365 * DAY_S) * NS
        self._recorded("clock jumped")

    def suspended(self) -> None:
        self.clocks.asleep_ns += self._random.randrange(2, DAY_S) * NS
        self._recorded("suspended")

    def locked(self) -> None:
        """By another program that writes."""
        with closing(sqlite3.connect(self.journal, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.3)
            other.execute("ROLLBACK")

    def full(self) -> None:
        with self._cannot_be_written():
            if self._random.random() < 0.5:
                self._lose(self._random.choice(["read error", "gone", "frozen"]))

    def read_only(self) -> None:
        """As a card becomes after errors: what is open is closed, and cannot be opened to write."""
        disk = str(self.journal.parent)
        with self._cannot_be_written() as lift:
            subprocess.run(["mount", "--bind", disk, disk], check=True)
            try:
                subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
                lift()
                time.sleep(0.3)
            finally:
                subprocess.run(["umount", "--lazy", disk], check=True)

    def said(self) -> None:
        name = self._random.choice([each for each in ("red", "green", "blue") if each != self._truth])
        self._ask("truth", name=name, by="a test")
        self.expected["truth set"] += 1
        self._truth = name

    def unsaid(self) -> None:
        self._ask("truth", name=None, by="a test")
        self.expected["truth cleared"] += self._truth is not None
        self._truth = None

    def reloaded(self) -> None:
        wanted = {"fps": self._random.choice([None, 600, 900]), "motion": {"threshold": self._random.random()}}
        if self._random.random() < 0.3:
            self._settings["camera"] = {**self._settings["camera"], "seed": self._random.randrange(99)}
        self._reload(**wanted)

    def refused_reload(self) -> None:
        self.configure(
            **self._random.choice(
                [
                    {"fps": "fast"},
                    {"modle": {}},
                    {"model": {"path": "no_such_model"}},
                    {"camera": {"source": "/no/such.mp4"}},
                    {"journal": {"path": str(self.config.with_name("other.db"))}},
                ]
            )
        )
        assert "refused" in self._outcome()
        self.expected["reload refused"] += 1

    def swapped(self) -> None:
        model = self._settings["model"]
        other = {"softmax_uint8": "softmax_int8", "softmax_int8": "softmax_uint8"}[Path(model["path"]).stem]
        self._settings["model"] = {**model, "path": str(self._tiny[other])}
        self._reload()

    def gated(self) -> None:
        self._reload(gate="motion", motion={"threshold": 1.0, "at_least_every_s": 0.1})
        time.sleep(0.5)
        self._reload()

    def slept(self) -> None:
        now_min = time.localtime().tm_hour * 60 + time.localtime().tm_min
        begin, end = ((now_min + hours * 60) % 1440 for hours in (2, 3))
        self._reload(schedule=[f"{begin // 60:02d}:{begin % 60:02d}-{end // 60:02d}:{end % 60:02d}"])
        self._until(lambda: self._ask("status")["asleep"], "it sleeps")
        self._reload()
        self.expected.update(["asleep", "awake"])

    def _lose(self, fault: str) -> None:
        lost, found = self._log.counts["camera lost"], self._log.counts["camera found"]
        self._strings.fault = fault
        self._until(lambda: self._log.counts["camera lost"] > lost, f"the camera is lost: {fault}")
        self._strings.fault = None
        self._until(lambda: self._log.counts["camera found"] > found, f"the camera is found: {fault}")
        self.expected.update(["camera lost", "camera found"])
        self.causes[fault] += 1

    def _light(self, light: str) -> None:
        for fault, kind in ((light, f"camera {light}"), (None, f"camera {light} over")):
            told = self._log.counts[kind]
            self._strings.fault = fault
            self._until(lambda kind=kind, told=told: self._log.counts[kind] > told, kind)
            self.expected[kind] += 1

    @contextmanager
    def _cannot_be_written(self) -> Iterator[Callable[[], None]]:
        """Until the end, or until what is given is called, no file can grow."""
        failed, again = self._log.counts["not recording"], self._log.counts["recording again"]
        with ExitStack() as stack:
            stack.enter_context(full_disk())
            self._until(lambda: self._log.counts["not recording"] > failed, "the journal fails")
            yield stack.close
        self._until(lambda: self._log.counts["recording again"] > again, "the journal is written again")
        self.expected.update(["not recording", "recording again"])

    def _recorded(self, kind: str) -> None:
        self.expected[kind] += 1
        query = f"SELECT count(*) FROM events WHERE kind = '{kind}'"
        self._until(lambda: value(self.journal, query) == self.expected[kind], kind)

    def _reload(self, **sections: Any) -> None:
        self.configure(**sections)
        outcome = self._outcome()
        assert "changed" in outcome, outcome
        self.expected.update(["reloaded", "started", "stopped"])
        self.expected["truth set"] += self._truth is not None  # which outlives the run, and is told again

    def _outcome(self) -> dict[str, Any]:
        number = self._ask("reload")["number"]
        told: list[dict[str, Any]] = []

        def over() -> bool:
            told[:] = [self._ask("reload", number=number)["outcome"]]
            return told[0] is not None

        self._until(over, "the reload is over")
        return told[0]

    def _ask(self, what: str, **more: Any) -> Any:
        for _ in range(200):
            try:
                return ask(socket_path(self.journal), {"do": what, **more})
            except ControlError as error:
                if "try again in a moment" not in str(error):
                    raise
            time.sleep(0.02)
        raise AssertionError(f"{what} could not be asked for 4 s")

    def _wait_for_frames(self, frames: int) -> None:
        self._until(lambda: self.witness.frames >= frames, f"{frames} frames", within_s=600)

    def _until(self, holds: Callable[[], object], what: str, within_s: float = 30) -> None:
        until_s = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < until_s, f"waited {within_s} s until {what}"
            assert not self.witness.wrong, self.witness.wrong
            time.sleep(0.005)

    def _level(self) -> None:
        time.sleep(0.6)  # for what was let go of to be gone
        gc.collect()
        held = []
        for _ in range(5):  # a sensor's file or somebody's question may be open just now
            held.append((self._descriptors(), threading.active_count()))
            time.sleep(0.02)
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
        level = Level(
            self.witness.frames,
            *min(held),
            pages * os.sysconf("SC_PAGE_SIZE"),
        )
        self.levels.append(level)
        told = f"{level.descriptors} descriptors, {level.threads} threads, {level.resident_bytes / 1e6:.1f} MB"
        print(f"{level.frames:>7} frames, {sum(self.injected.values()):>4} faults: {told}")

    def _descriptors(self) -> int:
        """Open files but the journal's own: within one process SQLite keeps some open for whoever reads it next."""
        return sum(
            os.path.realpath(f"/proc/self/fd/{name}") != str(self.journal) for name in os.listdir("/proc/self/fd")
        )


def may_mount() -> bool:
    """Whether a folder can be made read-only here."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
