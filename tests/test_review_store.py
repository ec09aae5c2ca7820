"""Kept pictures in a journal, and what people say of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import JournalError
from edge.journal import schema
from edge.review import counts, store
from tests.journals import BOOTED_NS, LABELS, START_UTC_S, insert


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A run with three pictures, of which one was deleted."""
    with closing(schema.connect(tmp_path / "field.db")) as connection:
        insert(connection, "models")
        insert(connection, "runs")
        insert(connection, "clocks")
        for sequence, file in ((10, "a.jpg"), (20, ""), (30, "b.jpg")):
            insert(
                *(connection, "pictures"),
                sequence=sequence,
                monotonic_ns=BOOTED_NS + sequence * 10**9,
                file=file,
                class_id=3,
                score=6_000,
                others=b"\x04\x00\xe8\x03\x63\x00\x64\x00",  # class 4: 0.1, class 99: 0.01
            )
        yield connection


def sequences(found: list[store.Picture]) -> list[int]:
    return [each.sequence for each in found]


def test_a_picture_is_told_with_what_the_model_answered(journal: sqlite3.Connection) -> None:
    first = store.pictures(journal)[0]
    assert first == store.picture(journal, first.id)
    assert (first.run, first.sequence, first.stratum, first.stands_for, first.file) == (
        *("run-1", 10),
        *("ordinary", 1.0, "a.jpg"),
    )
    assert first.utc_ns == (START_UTC_S + 10) * 10**9
    assert [(each.class_id, each.label, each.score) for each in first.predictions] == [
        (3, "daisy", 0.6),
        (4, "tulip", 0.1),
        (99, "class 99", 0.01),
    ]
    assert (first.label, first.said_by, first.truth) == (None, None, None)
    assert store.labels_of(journal, first.model_id) == LABELS
    assert store.labels_of(journal, 99) == ()


def test_a_corrected_clock_counts(journal: sqlite3.Connection) -> None:
    insert(journal, "clocks", since_ns=BOOTED_NS + 25 * 10**9, utc_minus_monotonic_ns=10**18)
    assert store.pictures(journal)[0].utc_ns == (START_UTC_S + 10) * 10**9
    assert store.pictures(journal)[2].utc_ns == 10**18 + BOOTED_NS + 30 * 10**9
    journal.execute("DELETE FROM clocks")
    assert store.pictures(journal)[0].utc_ns is None


def test_what_waits_for_a_label(journal: sqlite3.Connection, tmp_path: Path) -> None:
    assert sequences(store.unlabelled(journal)) == [10, 30]
    (tmp_path / "b.jpg").touch()
    assert sequences(store.unlabelled(journal, tmp_path)) == [30]
    store.label(journal, 1, 30, "tulip", "ann")
    assert sequences(store.unlabelled(journal)) == [10]


def test_what_was_labelled_and_what_was_not(journal: sqlite3.Connection) -> None:
    (first, deleted, last), (model_id, other) = store.pictures(journal), (1, 2)
    assert [store.model_of(journal, run) for run in ("run-1", "unknown")] == [model_id, None]
    assert counts.waiting(journal) == [first.id, last.id]
    assert counts.not_labelled(journal, model_id) == {"ordinary": 3.0}
    before = counts.version(journal)
    slip = store.label(journal, 1, 10, "tulip", "ann")
    store.label(journal, 1, 20, store.NO_CLASS, "ann")
    store.label(journal, 1, 30, "tulip", "ann")
    store.label(journal, 1, 30, None, "ann")
    assert counts.waiting(journal) == [last.id] == [each.id for each in store.unlabelled(journal)]
    assert [each.id for each in store.labelled(journal, model_id)] == [first.id, deleted.id]
    assert counts.count_labelled(journal) == 2
    assert counts.not_labelled(journal, model_id) == {"ordinary": 1.0}
    assert (store.labelled(journal, other), counts.not_labelled(journal, other)) == ([], {})
    assert store.pictures(journal, [last.id, 99]) == [last]
    after = counts.version(journal)
    assert store.unsay(journal, slip)
    assert len({before, after, counts.version(journal)}) == 3
    assert counts.waiting(journal) == [first.id, last.id]


def test_the_newest_label_counts_and_can_be_taken_back(journal: sqlite3.Connection) -> None:
    store.label(journal, 1, 10, "tulip", "ann")
    slip = store.label(journal, 1, 10, store.NO_CLASS, "bob")
    told = store.pictures(journal)[0]
    assert (told.label, told.said_by) == (store.NO_CLASS, "bob")
    store.unsay(journal, slip)
    told = store.pictures(journal)[0]
    assert (told.label, told.said_by) == ("tulip", "ann")
    store.label(journal, 1, 10, None, "ann")
    assert sequences(store.unlabelled(journal)) == [10, 30]
    assert store.pictures(journal)[0].said_by is None
    rows = journal.execute("SELECT run_id, sequence, truth, said_by, from_utc_ns FROM labels ORDER BY id").fetchall()
    assert rows == [(1, 10, "tulip", "ann", None), (1, 10, None, "ann", None)]


def test_what_is_undone_twice_takes_nothing_of_others(journal: sqlite3.Connection) -> None:
    slip = store.label(journal, 1, 10, "tulip", "page")
    assert store.unsay(journal, slip)
    other = store.label(journal, 1, 30, "daisy", "page")
    assert other.id == slip.id
    assert not store.unsay(journal, slip)
    assert counts.count_labelled(journal) == 1


def test_whether_somebody_has_just_said_this(journal: sqlite3.Connection) -> None:
    assert store.newest(journal, 1, 10, "tulip", "ann") is None
    said = store.label(journal, 1, 10, "tulip", "ann")
    assert store.newest(journal, 1, 10, "tulip", "ann") == said
    assert store.newest(journal, 1, 10, "daisy", "ann") is None
    assert store.newest(journal, 1, 10, "tulip", "bob") is None
    store.label(journal, 1, 10, None, "ann")
    assert store.newest(journal, 1, 10, "tulip", "ann") is None


def test_a_label_of_a_span_is_no_label_of_a_picture(journal: sqlite3.Connection) -> None:
    insert(journal, "labels", from_utc_ns=0, to_utc_ns=2**62, truth="tulip")
    assert sequences(store.unlabelled(journal)) == [10, 30]


def test_the_words_of_errors(journal: sqlite3.Connection, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No picture 9 in the journal"):
        store.picture(journal, 9)
    with pytest.raises(JournalError, match="No journal"):
        store.open_to_label(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    path = tmp_path / "field.db"
    with closing(schema.connect_to_read(path)) as reader, pytest.raises(JournalError, match="readonly database"):
        store.label(reader, 1, 10, "tulip", "ann")
    journal.execute("UPDATE models SET labels = ?", (json.dumps({"no": "list"}),))
    with pytest.raises(JournalError, match="The journal is damaged"):
        store.pictures(journal)


def test_a_locked_journal_is_told_as_such(journal: sqlite3.Connection, tmp_path: Path) -> None:
    with closing(store.open_to_label(tmp_path / "field.db", 0.01)) as connection:
        journal.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="another program holds it: try again"):
            store.label(connection, 1, 10, "tulip", "ann")
        journal.execute("COMMIT")
        store.label(connection, 1, 10, "tulip", "ann")
