"""A journal's file that is full, read-only, locked, damaged, deleted: recording goes on, or says why not."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edge.errors import JournalError
from edge.journal import ledger, medium, schema
from edge.journal.sink import Journal
from tests.conftest import ROOT, full_disk
from tests.journaling import (
    MadeUpClocks,
    events,
    facts,
    record,
    recording,
    rows,
    settings,
    small_disk,
    sound,
    until,
    until_kept,
    value,
)

START_NS = time.monotonic_ns()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medium, "RETRY_S", 0.05)
    monkeypatch.setattr(medium, "LOOK_S", 0.05)


def fill(journal: Journal, count: int, first: int = 0, start_ns: int = START_NS) -> None:
    for sequence in range(first, first + count):
        journal.write(record(sequence, start_ns + sequence * 1_000_000))


def fill_up(file: Path) -> int:
    """Take all the room that a disk has."""
    with open(file, "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return ballast.tell()


def until_kept_or(journal: Journal, count: int, told: str) -> None:
    """Wait until so many rows are in the file, or the status tells something else."""
    until(lambda: journal.status().kept == count or getattr(journal.status(), told))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def sequences(path: Path) -> list[int]:
    return [each for (each,) in rows(path, "SELECT sequence FROM frames ORDER BY id")]


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", "600k") as disk:
        path, ballast = disk / "j.db", disk / "ballast"
        with recording(path) as journal:
            fill(journal, 100)
            until_kept(journal, 100)
            assert fill_up(ballast) > 100_000
            first = 100
            while journal.status().why is None:
                assert first < 20_000
                fill(journal, 500, first)
                first += 500
                until_kept_or(journal, first, "why")
            assert not journal.status().recording
            assert "full" in (journal.status().why or "") or "I/O" in (journal.status().why or "")
            fill(journal, 500, first)
            ballast.unlink()
            until(lambda: journal.status().recording, "room to be noticed")
            until_kept(journal, first + 500)
            assert journal.status().unrecorded == 0
        assert sequences(path) == list(range(first + 500))
        told = events(path)
        assert told.count("not recording") == told.count("recording again") == 1
        assert '"rows_lost":0' in value(path, "SELECT detail FROM events WHERE kind = 'recording again'")
        assert sound(path)
    assert len(warnings(caplog)) == 2
    assert "cannot be written" in warnings(caplog)[0]
    assert "is written again" in warnings(caplog)[1]


def test_a_journal_that_is_written_rarely_is_tried_again_soon(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with ExitStack() as full:
        full.enter_context(full_disk())
        with recording(path, commit_s=300) as journal:
            until(lambda: journal.status().why)
            full.close()
            until(lambda: journal.status().recording)
    assert {"not recording", "recording again"} <= set(events(path))


def test_a_file_that_cannot_grow(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path) as journal:
        until(lambda: path.exists() and journal.status().recording)
        with full_disk(60_000):
            fill(journal, 3_000)
            until(lambda: journal.status().why, "trouble")
        until_kept(journal, 3_000)
    assert sequences(path) == list(range(3_000))
    assert sound(path)


def test_a_long_outage_is_bounded_and_what_was_lost_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_FRAMES", 200)
    monkeypatch.setattr(ledger, "_MOST_OTHERS", 50)
    path = tmp_path / "folder" / "j.db"
    path.parent.write_text("a file where a folder should be")
    with recording(path, window_s=1.0) as journal:
        until(lambda: journal.status().why)
        for number in range(300):
            journal.event("something", number=number)
        fill(journal, 10_000)
        until(lambda: journal.status().frames == 10_000)
        until(lambda: journal.status().unrecorded == 9_800)
        path.parent.unlink()
        until(lambda: journal.status().recording)
        journal.close()
    assert sequences(path) == list(range(9_800, 10_000))
    (detail,) = rows(path, "SELECT detail FROM events WHERE kind = 'recording again'")[0]
    assert '"rows_lost":9800' in detail
    assert '"others_lost":252' in detail
    assert value(path, "SELECT sum(frames) FROM windows") == 10_000


def test_windows_that_cannot_be_held_are_counted_as_unrecorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_MOST_OTHERS", 3)
    path = tmp_path / "folder" / "j.db"
    path.parent.write_text("")
    with recording(path, window_s=1.0) as journal:
        fill(journal, 10_000, start_ns=time.monotonic_ns())  # ten windows
        until(lambda: journal.status().frames == 10_000)
        path.parent.unlink()
        until(lambda: journal.status().recording)
    assert value(path, "SELECT sum(frames) + sum(unrecorded) FROM windows") == 10_000
    assert value(path, "SELECT sum(unrecorded) FROM windows") > 0


def test_a_disk_that_is_read_only_and_becomes_writable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        path = disk / "j.db"
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with recording(path) as journal:
            until(lambda: journal.status().why)
            assert not journal.status().recording
            fill(journal, 50)
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            until_kept(journal, 50)
        assert sequences(path) == list(range(50))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with closing(schema.connect_to_read(path)) as connection:
            assert connection.execute("SELECT count(*) FROM frames").fetchone() == (50,)
        with recording(path, "run-2") as journal:
            until(lambda: "Read-only" in (journal.status().why or ""))
            fill(journal, 50)
        assert journal.status().kept == 0


def test_a_journal_cut_off_on_a_card_that_cannot_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        path = disk / "j.db"
        with recording(tmp_path / "j.db") as journal:
            fill(journal, 50)
            until_kept(journal, 50)
            for name in ("j.db", "j.db-wal"):
                shutil.copy(tmp_path / name, disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(JournalError, match=r"cut off while it was written: copy it, with j\.db-wal, to a folder"):
            schema.connect_to_read(path)


def test_a_file_that_is_deleted_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j.db"
    with recording(path) as journal:
        fill(journal, 50)
        until_kept(journal, 50)
        path.unlink()
        fill(journal, 50, 50)
        until_kept(journal, 100)
        assert sequences(path) == list(range(50, 100))
        shutil.rmtree(tmp_path)
        fill(journal, 50, 100)
        until_kept(journal, 150)
        assert journal.status().recording
    assert sequences(path) == list(range(100, 150))
    assert rows(path, "SELECT run, ended_because FROM runs") == [("run-1", "end")]
    assert "journal gone" in events(path)
    assert all("deleted or replaced" in each for each in warnings(caplog))
    assert sound(path)


def test_a_file_that_is_replaced_by_another_journal_goes_on_in_it(tmp_path: Path) -> None:
    path, kept = tmp_path / "j.db", tmp_path / "kept.db"
    with recording(path) as journal:
        fill(journal, 50)
        until_kept(journal, 50)
        path.rename(kept)  # as by somebody who rotates logs
        fill(journal, 50, 50)
        until_kept(journal, 100)
        assert sequences(kept) == list(range(50))
        path.unlink()
        kept.rename(path)
        fill(journal, 50, 100)
        until_kept(journal, 150)
    assert sequences(path) == [*range(50), *range(100, 150)]
    assert value(path, "SELECT count(*) FROM runs") == 1
    assert sound(path)


def test_a_database_of_something_else_put_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "j.db", tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE bills (sum)")
    content = other.read_bytes()
    with recording(path) as journal:
        until(path.exists)
        other.rename(path)
        fill(journal, 10)
        until(lambda: "no journal of edge" in (journal.status().why or ""))
    assert path.read_bytes() == content
    assert not (tmp_path / "j.db-wal").stat().st_size  # nothing of ours that SQLite would put into it


NOBODY = """
import os, sys
from pathlib import Path
from edge.journal import medium
from tests.journaling import record, recording, rows, until, until_kept, NS
medium.RETRY_S = 0.05
path = Path(sys.argv[1])
os.setgid(65534); os.setuid(65534)
with recording(path) as journal:
    until(lambda: "Permission denied" in (journal.status().why or ""))
    print("why", flush=True)
    journal.write(record(0, 100 * NS))
    until_kept(journal, 1)
print(rows(path, "SELECT count(*) FROM frames"))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_folder_without_permission(tmp_path_factory: pytest.TempPathFactory) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o555)
        process = subprocess.Popen(
            [sys.executable, "-c", NOBODY, str(folder / "j.db")], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "why\n"
        folder.chmod(0o777)
        output, _ = process.communicate(timeout=30)
        assert output == "[(1,)]\n"


def test_another_program_that_locks_the_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path) as journal, closing(sqlite3.connect(path, isolation_level=None)) as other:
        until(lambda: value(path, "SELECT count(*) FROM runs") == 1)
        other.execute("BEGIN EXCLUSIVE")
        fill(journal, 5_000)  # none of these waits for the lock
        assert other.in_transaction
        assert journal.status().recording
        other.execute("ROLLBACK")
        until_kept(journal, 5_000)
    assert events(path) == ["started", "stopped"]


def test_readers_do_not_hinder_and_a_long_one_leaves_no_large_log(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    log = tmp_path / "j.db-wal"
    with recording(path, commit_s=0.02) as journal, closing(schema.connect_to_read(path)) as reader:
        until(lambda: value(path, "SELECT count(*) FROM runs") == 1)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM frames").fetchone() == (0,)
        for batch in range(8):
            fill(journal, 2_000, batch * 2_000)
            until_kept(journal, (batch + 1) * 2_000)
            assert value(path, "SELECT count(*) FROM frames") == (batch + 1) * 2_000
        assert reader.execute("SELECT count(*) FROM frames").fetchone() == (0,)
        assert log.stat().st_size > 4 * schema.WAL_BYTES
        reader.execute("COMMIT")
        for batch in range(8, 12):
            fill(journal, 300, journal.status().kept)
            until_kept(journal, 16_000 + (batch - 7) * 300)
        assert log.stat().st_size <= 3 * schema.WAL_BYTES
    assert len(sequences(path)) == 16_000 + 4 * 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal that was ended as it should."""
    path = tmp_path_factory.mktemp("whole") / "j.db"
    with recording(path, window_s=1.0) as journal:
        fill(journal, 3_000)
    with closing(schema.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("UPDATE runs SET ended_ns = NULL")  # so that the next run looks through it
    return path.read_bytes()


def damages(content: bytes) -> Iterator[bytes]:
    chance = random.Random(4)
    for size in (1, 16, 99, 100, 511, 512, 700, len(content) // 2, len(content) - 1, len(content) - 512):
        yield content[:size]
    for _ in range(60):
        at = chance.choice((chance.randrange(100), chance.randrange(2_000), chance.randrange(len(content))))
        length = chance.choice((1, 4, 16, 512, 4096))
        damaged = bytearray(content)
        if chance.random() < 0.5:
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        else:
            damaged[at : at + length] = chance.randbytes(len(damaged[at : at + length]))
        yield bytes(damaged)


def test_a_damaged_journal_at_the_start(whole: bytes, tmp_path: Path) -> None:
    """It is recorded to, or moved aside with its name told, or refused in a sentence because it may be another's."""
    became: dict[str, int] = {"aside": 0, "goes on": 0, "refused": 0}
    for number, content in enumerate(damages(whole)):
        path = tmp_path / str(number) / "j.db"
        path.parent.mkdir()
        path.write_bytes(content)
        try:
            with recording(path, "run-2", commit_s=0.02) as journal:
                fill(journal, 20)
                until_kept(journal, 20)
        except JournalError:
            became["refused"] += 1
            assert path.read_bytes() == content
            continue
        name = journal.status().moved_aside
        became["aside" if name else "goes on"] += 1
        if name:
            assert (path.parent / name).read_bytes()[: len(content)] == content or len(content) > 100
            assert '"name":"' + name in value(path, "SELECT detail FROM events WHERE kind = 'journal moved aside'")
            assert sequences(path) == list(range(20))
        assert journal.status().recording
    assert became["aside"] > 25
    assert became["goes on"] > 3  # bytes that nobody reads, or that say something else now
    assert became["refused"] < 15


def test_a_journal_that_is_damaged_while_it_is_written(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(whole)
    with recording(path, "run-2", commit_s=0.02) as journal:
        until(lambda: journal.status().recording)
        fill(journal, 2_000)
        until_kept(journal, 2_000)
        for part in (path, tmp_path / "j.db-wal"):
            with open(part, "r+b") as file:
                file.write(random.Random(1).randbytes(part.stat().st_size))
        first = 2_000
        while journal.status().moved_aside is None:
            fill(journal, 2_000, first)
            first += 2_000
            assert first < 100_000
            until_kept_or(journal, first, "moved_aside")
        fill(journal, 10, first)
        until_kept(journal, first + 10)
    assert sequences(path)[-10:] == list(range(first, first + 10))
    assert sound(path)
    assert (tmp_path / (journal.status().moved_aside or "")).is_file()


def test_a_damaged_log_beside_a_whole_journal(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with recording(path, commit_s=0.02) as journal:
        for batch in range(20):
            fill(journal, 50, batch * 50)
            until_kept(journal, (batch + 1) * 50)
        content, log = path.read_bytes(), (tmp_path / "j.db-wal").read_bytes()
    chance = random.Random(9)
    for number in range(25):
        other = tmp_path / str(number) / "j.db"
        other.parent.mkdir()
        damaged = bytearray(log)
        at, length = chance.randrange(len(log)), chance.choice((1, 64, 5_000))
        damaged[at : at + length] = chance.randbytes(len(damaged[at : at + length]))
        other.write_bytes(content)
        other.with_name("j.db-wal").write_bytes(damaged if number else b"")
        with recording(other, "run-2", commit_s=0.02) as journal:
            fill(journal, 5)
            until_kept(journal, 5)
        assert sound(other)
        found = [each for (each,) in rows(other, "SELECT sequence FROM frames WHERE run_id = 1 ORDER BY id")]
        assert journal.status().moved_aside or found == list(range(len(found)))


def test_a_card_that_damages_every_file_is_not_filled_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> sqlite3.Connection:
        path.write_bytes(b"")
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(medium.schema, "connect", broken)
    with recording(tmp_path / "j.db", commit_s=0.02) as journal:
        until(lambda: len(list(tmp_path.glob("*damaged*"))) == 3)
        fill(journal, 10)
        until(lambda: journal.status().frames == 10)
        until(lambda: "malformed" in (journal.status().why or ""))
    assert len(list(tmp_path.glob("*damaged*"))) == 3


def test_little_room_on_the_disk_stops_rows_and_not_windows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        path, ballast = disk / "j.db", disk / "ballast"
        clocks = MadeUpClocks()
        with recording(path, window_s=1.0, min_free_bytes=1_000_000, clocks=clocks) as journal:

            def look(count: int) -> None:
                clocks.go(1)
                journal.event("look")
                until(lambda: events(path).count("look") == count)

            look(1)
            fill(journal, 10)
            ballast.write_bytes(bytes(1_200_000))
            look(2)
            fill(journal, 10, 10)
            look(3)
            ballast.unlink()
            look(4)
            fill(journal, 10, 20)
            look(5)
        assert sequences(path) == [*range(10), *range(20, 30)]
        assert value(path, "SELECT sum(frames) FROM windows") == 30
        assert [each for each in events(path) if each.startswith("disk")] == ["disk low", "disk low over"]
    assert len(warnings(caplog)) == 1


def test_the_folder_of_a_journal_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "j.db"
    Journal(settings(path), facts()).close()
    assert value(path, "SELECT count(*) FROM runs") == 1
