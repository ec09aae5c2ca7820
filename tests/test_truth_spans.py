from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from edge.errors import JournalError, LabelError
from edge.journal import schema
from edge.truth import spans

S = 1_000_000_000
UTC_NS = 1_780_000_000 * S
"""Of the first run's start."""


def make(path: Path, *models: list[str], ended: bool = True) -> Path:
    """A journal with a run of 100 s for each model, one after the other."""
    connection = schema.connect(path)
    for number, labels in enumerate(models):
        connection.execute(
            "INSERT INTO models (name, sha256, labels) VALUES ('tiny', ?, ?)", (str(number), json.dumps(labels))
        )
        began_ns = number * 100 * S
        connection.execute(
            "INSERT INTO runs (run, started_ns, ended_ns, model_id, runtime, runtime_version, backend, threads, "
            "camera, configuration, board, versions) "
            "VALUES (?, ?, ?, ?, 'litert', '2', 'cpu', 1, 'scene', '{}', '{}', '{}')",
            (f"run {number}", began_ns, began_ns + 100 * S if ended else None, number + 1),
        )
        connection.execute("INSERT INTO clocks VALUES (?, ?, ?)", (number + 1, began_ns, UTC_NS))
    connection.close()
    return path


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return make(tmp_path / "field.db", ["old, aged", "tabby, tabby cat"], ["tabby", "dog"])


def test_what_is_said_is_kept_in_order(journal: Path) -> None:
    assert spans.read(journal) == []
    first = spans.write(journal, 10, 20, "tabby", "ann", 100)
    second = spans.write(journal, 15, 18, None, "bob", 200)
    assert spans.read(journal) == [
        spans.Span(first, 10, 20, "tabby", "ann", 100),
        spans.Span(second, 15, 18, None, "bob", 200),
    ]


def test_labels_of_single_frames_are_no_spans(journal: Path) -> None:
    connection = schema.connect(journal)
    connection.execute(
        "INSERT INTO labels (run_id, sequence, truth, said_by, said_utc_ns) VALUES (1, 7, 'dog', 'ann', 1)"
    )
    connection.close()
    assert spans.read(journal) == []


def test_names_are_spelt_as_the_latest_model_that_knows_them(journal: Path) -> None:
    assert spans.truth_in(journal, "Tabby") == "tabby"
    assert spans.truth_in(journal, "tabby cat") == "tabby, tabby cat"
    assert spans.truth_in(journal, "aged") == "old, aged"
    with pytest.raises(LabelError, match="none of the model's 2 classes: did you mean 'dog'"):
        spans.truth_in(journal, "dogg")


def test_the_latest_model_is_that_of_the_latest_run(journal: Path) -> None:
    connection = schema.connect(journal)
    connection.execute("UPDATE runs SET model_id = 3 - model_id")
    connection.close()
    assert spans.truth_in(journal, "tabby") == "tabby, tabby cat"


def test_what_no_model_knows(journal: Path) -> None:
    assert spans.truth_in(journal, " garden gnome ", other=True) == "garden gnome"
    with pytest.raises(LabelError, match="leave --other away"):
        spans.truth_in(journal, "aged", other=True)
    with pytest.raises(LabelError, match="empty"):
        spans.truth_in(journal, " ", other=True)


def test_a_journal_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="has no run yet"):
        spans.truth_in(make(tmp_path / "field.db"), "tabby")


def test_spans_that_no_run_reaches_into(journal: Path, tmp_path: Path) -> None:
    begin, end = UTC_NS, UTC_NS + 200 * S
    assert spans.saw_nothing(journal, begin - 10, begin)
    assert not spans.saw_nothing(journal, begin - 10, begin + 1)
    assert not spans.saw_nothing(journal, end - 1, end + 10)
    assert spans.saw_nothing(journal, end, end + 10)
    going_on = make(tmp_path / "going_on.db", ["dog"], ended=False)
    assert not spans.saw_nothing(going_on, end, end + 10)
    assert spans.saw_nothing(going_on, begin - 10, begin)


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for act in (
        lambda path: spans.write(path, 1, 2, None, "ann", 3),
        spans.read,
        lambda path: spans.truth_in(path, "dog"),
    ):
        with pytest.raises(JournalError, match="No journal"):
            act(tmp_path / "absent.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_journal(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("to do: water the plants\n" * 100)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE plants (name)")
    connection.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(JournalError):
            spans.write(path, 1, 2, "tabby", "ann", 3)
        assert path.read_bytes() == before


def test_a_journal_that_another_program_holds(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_S", 0.05)
    holder = sqlite3.connect(journal, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="database is locked; another program holds it: try again"):
        spans.write(journal, 1, 2, "tabby", "ann", 3)
    holder.execute("COMMIT")
    assert spans.write(journal, 1, 2, "tabby", "ann", 3)
    holder.close()
