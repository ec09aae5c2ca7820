"""The journal's tables and how a file is opened: new, older, newer, somebody else's."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Callable

import pytest

from edge.errors import JournalError
from edge.journal import journal_path, pictures_folder, schema, socket_path
from edge.journal.settings import JournalSettings
from edge.journal.sink import Journal
from tests.journaling import facts, rows, settings, sound, until, value
from tests.journals import insert, make_journal

MIGRATION = """
ALTER TABLE frames ADD COLUMN lux REAL; -- a comment; with semicolons;
CREATE TABLE places (
    id INTEGER PRIMARY KEY, -- ; too
    name TEXT NOT NULL DEFAULT 'a;b'
);
UPDATE frames SET lux = 2 * score;
"""


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge-runner whose journals are of version 2."""
    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: MIGRATION})


def test_a_new_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with closing(schema.connect(path)) as connection:
        told = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "auto_vacuum", "secure_delete", "page_size", "synchronous", "user_version")
        }
    assert told == {
        "journal_mode": "wal",
        "auto_vacuum": 2,
        "secure_delete": 0,
        "page_size": schema.PAGE_BYTES,
        "synchronous": 1,
        "user_version": schema.VERSION,
    }
    assert path.read_bytes()[68:72] == b"EDGE"
    schema.connect_to_read(path).close()


def test_an_older_journal_is_brought_forward_whole(
    tmp_path: Path, newer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j.db"
    monkeypatch.setattr(schema, "VERSION", 1)
    make_journal(path, minutes=2)
    before = {name: rows(path, f"SELECT * FROM {name}") for name in ("runs", "windows", "events", "labels", "clocks")}
    scores = rows(path, "SELECT id, score FROM frames")
    monkeypatch.setattr(schema, "VERSION", 2)
    with pytest.raises(JournalError, match="is a journal of version 1, expected 2: run `edge run` on it once"):
        schema.connect_to_read(path)
    schema.connect(path).close()
    schema.connect(path).close()
    assert {name: rows(path, f"SELECT * FROM {name}") for name in before} == before
    assert rows(path, "SELECT id, lux / 2 FROM frames") == scores
    assert rows(path, "SELECT * FROM places") == []
    assert sound(path)
    schema.connect_to_read(path).close()


def test_a_new_journal_of_a_later_version_needs_no_migration(tmp_path: Path, newer: None) -> None:
    schema.connect(tmp_path / "j.db").close()
    assert value(tmp_path / "j.db", "PRAGMA user_version") == 2
    assert "lux" not in str(rows(tmp_path / "j.db", "PRAGMA table_info(frames)"))


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, newer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j.db"
    monkeypatch.setattr(schema, "VERSION", 1)
    make_journal(path, minutes=2)
    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 1, MIGRATION + "UPDATE elsewhere SET a = 1;\n")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        schema.connect(path)
    assert value(path, "PRAGMA user_version") == 1
    assert "lux" not in str(rows(path, "PRAGMA table_info(frames)"))
    assert sound(path)


def test_many_that_open_a_new_journal_at_once(tmp_path: Path) -> None:
    problems: list[Exception] = []

    def opens() -> bool:
        try:
            schema.connect(tmp_path / "j.db").close()
        except Exception as error:
            if "locked" in str(error):  # SQLite does not wait for others where it changes how a file is written
                return False
            problems.append(error)
        return True

    threads = [threading.Thread(target=until, args=(opens,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sound(tmp_path / "j.db")


def yaml(path: Path) -> None:
    path.write_text("journal:\n  path: j.db\n")


def pictures(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n" + os.urandom(9_000))


def bills(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bills (sum)")


def damaged_bills(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE bills (sum); INSERT INTO bills VALUES (randomblob(50000));")
    content = bytearray(path.read_bytes())
    content[100:4096] = os.urandom(3_996)
    path.write_bytes(content)


def claimed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1234")
        connection.execute("PRAGMA journal_mode = WAL")


def later(path: Path) -> None:
    schema.connect(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (yaml, "is no journal but another file: give a journal, or the name of a new one."),
        (pictures, "is no journal but another file"),
        (damaged_bills, "is no journal but another file"),
        (bills, "is a database, but no journal of edge: give another file."),
        (claimed, "is a database, but no journal of edge"),
        (later, f"is a journal of version 99, newer than this edge-runner knows ({schema.VERSION}): update"),
        (pipe, "is no regular file"),
        (folder, "is a folder: expected a file"),
    ],
)
def test_what_is_something_else_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "j.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError) as caught:
        Journal(settings(path), facts())
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    if not path.is_dir():
        with pytest.raises(JournalError):
            schema.connect(path)
    with pytest.raises(JournalError):
        schema.connect_to_read(path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert {each.name for each in tmp_path.iterdir()} <= {"j.db", "j.db-wal", "j.db-shm"}


@pytest.mark.parametrize("content", [b"", bytes(512), bytes(100_000)])
def test_a_file_without_content_becomes_a_journal(tmp_path: Path, content: bytes) -> None:
    """As a card leaves it that lost its power while the file was made."""
    path = tmp_path / "j.db"
    path.write_bytes(content)
    journal = Journal(settings(path), facts())
    journal.close()
    assert value(path, "SELECT count(*) FROM runs") == 1
    assert (journal.status().moved_aside is None) == (not content)


def test_reading_what_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"No journal .*j\.db: expected a file that `edge run --journal` wrote"):
        schema.connect_to_read(tmp_path / "j.db")
    (tmp_path / "j.db").write_bytes(b"")
    with pytest.raises(JournalError, match="is empty: nothing was recorded yet"):
        schema.connect_to_read(tmp_path / "j.db")
    assert [each.name for each in tmp_path.iterdir()] == ["j.db"]


def test_readers_change_nothing(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "odd ?#%20 name.db", minutes=1)
    with closing(schema.connect_to_read(path)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            insert(connection, "events")
        assert connection.execute("SELECT count(*) FROM windows").fetchone() == (1,)


def test_names_beside_a_journal(tmp_path: Path) -> None:
    path = journal_path(JournalSettings(path=str(tmp_path / "j.db")))
    assert pictures_folder(path) == tmp_path / "j.db.pictures"
    deep = tmp_path / ("x" * 120) / "j.db"
    assert socket_path(path) == tmp_path / "j.db.sock"
    assert socket_path(deep) == deep.with_name("j.db.sock")
    long = [socket_path(tmp_path / (letter * 200)) for letter in "xy"]
    assert long[0] != long[1]
    assert all(each.parent == tmp_path and len(os.fsencode(each.name)) < 80 for each in long)
    (tmp_path / "link.db").symlink_to(path)
    assert journal_path(JournalSettings(path=str(tmp_path / "link.db"))) == path
    assert socket_path(tmp_path / "link.db") == socket_path(path)
    with pytest.raises(JournalError, match="No journal is named"):
        journal_path(JournalSettings())
