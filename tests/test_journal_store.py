"""The file's rows and size."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import clock, schema, store
from edge.journal.budget import Budget, Written
from edge.journal.ledger import Event, Ledger, Picture
from tests.journaling import NS, facts, record, rows, sound, value
from tests.journals import insert, insert_many


def ledger_of(run_id: int) -> Ledger:
    return Ledger(run_id, facts(), 60 * NS, Budget(10**9, 5.0, 0), 0)


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    with closing(schema.connect(tmp_path / "j.db")) as connection:
        yield connection


def grow(connection: sqlite3.Connection, count: int) -> None:
    connection.execute("BEGIN")
    first = connection.execute("SELECT count(*) FROM frames").fetchone()[0]
    insert_many(connection, "frames", [{"sequence": first + each, "others": os.urandom(16)} for each in range(count)])
    connection.execute("COMMIT")


def pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


def test_a_journal_that_grows_stays_below_its_size(connection: sqlite3.Connection, tmp_path: Path) -> None:
    insert(connection, "models")
    insert(connection, "runs")
    most = 300_000
    last = 0
    for _ in range(60):
        grow(connection, 250)
        for _ in range(3):
            insert(connection, "windows", histograms=bytes(200))
        insert(connection, "events")
        store.shrink(connection, most)
        first, last, count = connection.execute("SELECT min(id), max(id), count(*) FROM frames").fetchone()
        assert last - first + 1 == count  # only from the start
        assert pages(connection) * schema.PAGE_BYTES <= most
    assert count > 500
    assert last > 10_000
    assert value(tmp_path / "j.db", "SELECT count(*) FROM windows") == 180
    assert value(tmp_path / "j.db", "SELECT count(*) FROM events") == 60
    assert sound(tmp_path / "j.db")


def test_a_size_that_was_lowered_is_reached_in_minutes(connection: sqlite3.Connection, tmp_path: Path) -> None:
    grow(connection, 60_000)
    insert(connection, "windows")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    path, before = tmp_path / "j.db", (tmp_path / "j.db").stat().st_size
    assert before > 3_500_000
    written = Written()
    for _ in range(5):
        store.shrink(connection, 1_000_000)
    assert path.stat().st_size <= 1_000_000
    assert written.since() < 2.5 * before  # to take rows out and to make the file shorter
    assert store.size_bytes(path) <= 1_000_000 + 3 * schema.WAL_BYTES
    newest = rows(path, "SELECT count(*), max(id) FROM frames")[0]
    assert newest[0] > 2_000
    assert newest[1] == 60_000
    assert value(path, "SELECT count(*) FROM windows") == 1
    assert sound(path)


def test_windows_and_events_are_kept_also_when_they_alone_are_too_many(connection: sqlite3.Connection) -> None:
    insert_many(connection, "windows", [{"histograms": bytes(1_000)}] * 300)
    grow(connection, 500)
    for _ in range(3):
        store.shrink(connection, 100_000)
    assert connection.execute("SELECT count(*) FROM windows").fetchone() == (300,)
    assert connection.execute("SELECT count(*) FROM frames").fetchone() == (0,)
    assert store.shrink(connection, 100_000) == 0


def test_a_file_that_fits_is_left_alone(connection: sqlite3.Connection) -> None:
    grow(connection, 1_000)
    before = connection.execute("PRAGMA page_count").fetchone()
    assert store.shrink(connection, 10_000_000) == 0
    assert connection.execute("PRAGMA page_count").fetchone() == before


def test_rows_that_a_table_cannot_hold_do_not_keep_out_the_others(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    run_id = store.begin(connection, facts(), 0, clock.read())
    ledger = ledger_of(run_id)
    odd = [record(1, 2**70), record(2, NS, truth="caf\udce9"), record(2**64, NS), record(3, NS)]
    for each in (record(0, NS), *odd):
        ledger.take(each)
    ledger.settle()
    ledger.take(Event(NS, "od\udcffd", {"path": b"/\xff", "n": float("nan")}))
    ledger.take(Picture(record(4, NS), "ordinary", 3.0, "caf\udce9.jpg"))
    ledger.take(Picture(record(5, NS), {}, 3.0, "x.jpg"))  # type: ignore[arg-type]
    with store.transaction(connection):
        assert store.write(connection, ledger) == 2
    path = tmp_path / "j.db"
    assert [each for (each,) in rows(path, "SELECT sequence FROM frames")] == [0, 2, 3]
    assert rows(path, "SELECT kind, detail FROM events") == [("od\\udcffd", '{"path":"/\\\\udcff","n":null}')]
    assert rows(path, "SELECT file FROM pictures") == [("caf\\udce9.jpg",)]
    assert value(path, "SELECT truth FROM frames WHERE sequence = 2") == "caf\\udce9"


def test_all_of_a_transaction_or_nothing(connection: sqlite3.Connection, tmp_path: Path) -> None:
    def fails() -> None:
        with store.transaction(connection):
            insert(connection, "events")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert value(tmp_path / "j.db", "SELECT count(*) FROM events") == 0


def test_a_run_that_is_there_already_goes_on(connection: sqlite3.Connection) -> None:
    first = store.begin(connection, facts(), 0, clock.read())
    other = store.begin(connection, facts("run-2"), 0, clock.read())
    assert store.begin(connection, facts(), 0, clock.read()) == first != other
    assert connection.execute("SELECT count(*) FROM models").fetchone() == (1,)


def test_a_damaged_journal_is_moved_aside_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    names = set()
    for number in range(3):
        path.write_text(str(number))
        (tmp_path / "j.db-wal").write_text("log")
        aside = store.move_aside(path)
        names.add(aside.name)
        assert aside.read_text() == str(number)
        assert aside.with_name(aside.name + "-wal").read_text() == "log"
        assert not path.exists()
    assert len(names) == 3
    assert all(name.startswith("j.db.damaged-2") for name in names)


def test_damage_is_told_and_what_is_none_is_not(tmp_path: Path, connection: sqlite3.Connection) -> None:
    path = tmp_path / "j.db"
    grow(connection, 500)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert store.damage(path) is None
    content = bytearray(path.read_bytes())
    connection.close()
    root = value(path, "SELECT rootpage FROM sqlite_master WHERE name = 'frames'")
    content[(root - 1) * schema.PAGE_BYTES : root * schema.PAGE_BYTES] = b"\xff" * schema.PAGE_BYTES
    path.write_bytes(content)
    assert store.damage(path)
    path.unlink()
    path.mkdir()
    assert store.damage(path) is None
