"""The journal's thread: batches, its queue, and what it does when something fails that nobody thought of."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.device import Live
from edge.errors import AlreadyRunningError
from edge.journal import ledger as ledger_module
from edge.journal import medium, schema, writer
from edge.journal.clock import Clocks
from edge.journal.sink import Journal
from edge.journal.writer import Writer
from tests.journaling import (
    NS,
    MadeUpClocks,
    events,
    facts,
    record,
    recording,
    rows,
    settings,
    sound,
    until,
    until_kept,
    value,
)


def now_record(sequence: int, **changes: Any) -> Any:
    return record(sequence, time.monotonic_ns(), **changes)


def test_a_run_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    given = facts(configuration={"camera": "scene", "path": Path("/a")}, board={"model": "Pi"}, opened_ns=5)
    journal = Journal(settings(path, window_s=1), given)
    for sequence in range(20):
        journal.write(now_record(sequence, truth="cat" if sequence % 2 else None, dropped=sequence == 7))
    journal.reading(Live(time.monotonic_ns(), 51.0, 1500.0, 0))
    journal.event("truth set", truth="cat", by="ann")
    journal.picture(now_record(3), "unsure", 4.0, "3.jpg")
    journal.picture(now_record(4), "ordinary", 4.0, "4.jpg")
    journal.forget("3.jpg")
    journal.close("stop")
    journal.close("again")
    assert {each.name for each in tmp_path.iterdir()} == {"j.db", "j.db.lock"}
    status = journal.status()
    assert (status.recording, status.why, status.frames, status.kept, status.unrecorded) == (True, None, 20, 20, 0)
    assert events(path) == ["started", "truth set", "stopped"]
    run = rows(
        path, "SELECT run, ended_because, threads, configuration, board, opened_ns, ended_ns > started_ns FROM runs"
    )
    assert run == [("run-1", "stop", 2, '{"camera":"scene","path":"/a"}', '{"model":"Pi"}', 5, 1)]
    assert value(path, "SELECT count(*) FROM frames WHERE truth = 'cat'") == 10
    assert rows(path, "SELECT sum(frames), sum(unrecorded) FROM windows") == [(20, 0)]
    assert rows(path, "SELECT sequence, stratum, file FROM pictures") == [(3, "unsure", ""), (4, "ordinary", "4.jpg")]
    assert sound(path)


def test_events_are_written_at_once_and_frames_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path, commit_s=3600.0) as journal:
        journal.write(now_record(0))
        journal.event("something")
        until(lambda: "something" in events(path))
        assert value(path, "SELECT count(*) FROM frames") == 0  # it waits for the reading that judges it
        journal.write(now_record(1))
        journal.reading(Live(time.monotonic_ns()))
        time.sleep(0.1)
        assert value(path, "SELECT count(*) FROM frames") == 0
    assert value(path, "SELECT count(*) FROM frames") == 2


def test_a_batch_that_is_nearly_due_ends_with_a_reading(tmp_path: Path) -> None:
    """So that its frames are judged by the readings on both sides of them."""
    path, clocks = tmp_path / "j.db", MadeUpClocks()
    with recording(path, commit_s=100.0, clocks=clocks) as journal:
        until(lambda: events(path) == ["started"])
        clocks.go(95)
        journal.write(record(0, clocks.now.monotonic_ns))
        journal.reading(Live(clocks.now.monotonic_ns, throttled=4))
        until(lambda: value(path, "SELECT count(*) FROM frames") == 1)
        assert value(path, "SELECT throttled FROM frames") == 4


def test_frames_wait_no_longer_than_a_batch_for_readings_that_do_not_come(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path) as journal:
        for sequence in range(5):
            journal.write(now_record(sequence))
            until_kept(journal, sequence + 1)


def test_long_batches_keep_the_queue_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CAPACITY", 200)
    path = tmp_path / "j.db"
    with recording(path, commit_s=3600.0) as journal:
        for taken in range(0, 1_000, 100):
            for sequence in range(taken, taken + 100):
                journal.write(now_record(sequence))
            until(lambda count=taken + 100: journal.status().frames == count)
        assert journal.status().unrecorded == 0


class Stuck:
    """Holds the journal's thread at its first step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.reached = threading.Event(), threading.Event()
        write = medium.Medium.write

        def waits(*arguments: Any) -> None:
            self.reached.set()
            assert self.free.wait(30)
            write(*arguments)

        monkeypatch.setattr(medium.Medium, "write", waits)
        monkeypatch.setattr(writer, "_START_S", 0.01)


def test_what_the_queue_cannot_take_is_counted_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CAPACITY", 100)
    stuck, path = Stuck(monkeypatch), tmp_path / "j.db"
    with recording(path) as journal:
        assert stuck.reached.wait(10)
        for sequence in range(350):
            journal.write(now_record(sequence))
        assert journal.status().unrecorded == 250
        stuck.free.set()
        until_kept(journal, 100)
        journal.write(now_record(350))
    assert journal.status().unrecorded == 250
    assert rows(path, "SELECT sum(frames), sum(unrecorded) FROM windows") == [(101, 250)]


def test_nobody_waits_for_a_card_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_CLOSE_S", 0.05)
    stuck = Stuck(monkeypatch)
    journal = Journal(settings(tmp_path / "j.db"), facts())
    journal.write(now_record(0))
    journal.close()
    assert not stuck.free.is_set()
    stuck.free.set()
    until_kept(journal, 1)
    until(lambda: value(tmp_path / "j.db", "SELECT ended_because FROM runs") == "end")


def test_a_bug_in_one_thing_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, take = tmp_path / "j.db", ledger_module.Ledger.take

    def buggy(self: Any, item: Any) -> None:
        if isinstance(item, Live):
            raise ZeroDivisionError("a bug")
        take(self, item)

    monkeypatch.setattr(ledger_module.Ledger, "take", buggy)
    with recording(path) as journal:
        for sequence in range(10):
            journal.write(now_record(sequence))
            journal.reading(Live(time.monotonic_ns()))
        until_kept(journal, 10)
    assert len([each for each in caplog.records if each.levelno >= logging.ERROR]) == 1


def test_a_bug_in_writing_is_told_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medium, "RETRY_S", 0.02)
    path, write, broken = tmp_path / "j.db", medium.store.write, [True]

    def buggy(*arguments: Any) -> int:
        if broken:
            raise ZeroDivisionError("a bug")
        return write(*arguments)

    monkeypatch.setattr(medium.store, "write", buggy)
    with recording(path) as journal:
        until(lambda: journal.status().why == "a bug")
        journal.write(now_record(0))
        broken.clear()
        until_kept(journal, 1)
        assert journal.status().recording
    assert not list(tmp_path.glob("*damaged*"))  # the file is sound
    assert events(path)[:2] == ["started", "not recording"]


def test_details_of_events_are_json_whatever_they_hold(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "j.db"
    with recording(path) as journal:
        journal.event("odd", path=b"/media/\xff", score=np.float32(0.5), at=np.int64(3), nan=float("nan"), what=object)
        until(lambda: "odd" in events(path))
    detail = json.loads(value(path, "SELECT detail FROM events WHERE kind = 'odd'"))
    assert detail == {"path": "/media/\\udcff", "score": 0.5, "at": 3, "nan": None, "what": "<class 'object'>"}


def test_two_processes_read_while_it_is_written(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "j.db"
    program = """
import sqlite3, sys
seen = 0
while seen < 600:
    connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    count, most = connection.execute("SELECT count(*), max(sequence) FROM frames").fetchone()
    assert count >= seen and (most is None or most == count - 1)
    seen = count
    connection.close()
print(seen)
"""
    with recording(path, commit_s=0.02) as journal:
        until(lambda: events(path) == ["started"])
        readers = [
            subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for sequence in range(600):
            journal.write(now_record(sequence))
            time.sleep(0.001)
        assert [reader.communicate(timeout=30)[0] for reader in readers] == ["600\n", "600\n"]
        assert journal.status().recording


def test_a_label_that_somebody_writes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path, commit_s=0.02) as journal:
        until(lambda: events(path) == ["started"])
        for sequence in range(30):
            journal.write(now_record(sequence))
            with closing(sqlite3.connect(path, timeout=5)) as other, other:
                other.execute(
                    "INSERT INTO labels (run_id, sequence, truth, said_by, said_utc_ns) VALUES (1, ?, 'cat', 'ann', 0)",
                    (sequence,),
                )
    assert rows(path, "SELECT (SELECT count(*) FROM labels), (SELECT count(*) FROM frames)") == [(30, 30)]


def test_the_clocks_are_given(tmp_path: Path) -> None:
    clocks = MadeUpClocks(monotonic_s=5, utc_s=7)
    made = Writer(tmp_path / "j.db", settings(tmp_path / "j.db"), facts(), clocks)
    made.close("end")
    assert rows(tmp_path / "j.db", "SELECT since_ns, utc_minus_monotonic_ns FROM clocks") == [(5 * NS, 2 * NS)]
    assert isinstance(clocks.now, Clocks)


def test_one_process_at_a_time_records(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path) as journal:
        with pytest.raises(AlreadyRunningError, match="Another program is recording"):
            Journal(settings(path), facts("run-2"))
        for sequence in range(5):
            journal.write(now_record(sequence))
    with recording(path, "run-2"):
        pass
    assert rows(path, "SELECT run, ended_because FROM runs ORDER BY id") == [("run-1", "end"), ("run-2", "end")]


def test_what_a_camera_saw_is_not_for_everybody(tmp_path: Path) -> None:
    with recording(tmp_path / "j.db") as journal:
        for sequence in range(5):
            journal.write(now_record(sequence))
        until_kept(journal, 5)
        assert {oct(each.stat().st_mode & 0o777) for each in tmp_path.iterdir()} == {"0o640"}


def test_an_end_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_S", 0.2)
    path = tmp_path / "j.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, recording(path, commit_s=3600.0) as journal:
        until(lambda: value(path, "SELECT count(*) FROM runs") == 1)
        other.execute("PRAGMA busy_timeout = 5000")
        other.execute("BEGIN IMMEDIATE")
        for sequence in range(5):
            journal.write(now_record(sequence))
    assert "could not be written" in caplog.text
    assert "what came since its last batch is lost" in caplog.text
