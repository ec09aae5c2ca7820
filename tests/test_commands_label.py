from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge import utc
from edge.cli import cli
from edge.errors import ConfigError, JournalError, LabelError
from edge.journal import JournalSettings
from edge.journal.ledger import RunFacts
from edge.journal.sink import Journal
from edge.records import Ran
from edge.truth import spans

LABELS = ("tabby, tabby cat", "espresso", "crane, bird", "crane, machine")
FACTS = RunFacts("run 1", Ran("tiny", "00", "litert", "2", "cpu", 1), LABELS, "scene")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A journal that is being written."""
    journal = Journal(JournalSettings(path=str(tmp_path / "field.db"), commit_s=0.1), FACTS)
    journal.event("started")
    while journal.status().written_bytes == 0:
        time.sleep(0.01)
    yield tmp_path / "field.db"
    journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of which the daemon has ended."""
    Journal(JournalSettings(path=str(tmp_path / "field.db")), FACTS).close()
    return tmp_path / "field.db"


def edge_label(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["label", *arguments, "--journal", str(path)])


def test_a_span_is_labelled_and_listed(path: Path) -> None:
    result = edge_label(path, "--span", "-15min", "now", "tabby", "--by", "ann")
    assert result.exit_code == 0, result.output
    assert ": tabby, tabby cat\n" in result.output
    (span,) = spans.read(path)
    assert (span.truth, span.said_by) == ("tabby, tabby cat", "ann")
    assert span.to_utc_ns - span.from_utc_ns == 15 * 60 * utc.NS_PER_S
    assert span.to_utc_ns == span.said_utc_ns // utc.NS_PER_S * utc.NS_PER_S
    listed = edge_label(path, "--list").output
    assert listed.startswith(f"{span.id}: {utc.iso(span.from_utc_ns)} to {utc.iso(span.to_utc_ns)}: tabby, tabby cat")
    assert "(said by ann at " in listed


def test_a_running_daemons_journal_is_labelled(running: Path) -> None:
    result = edge_label(running, "--now", "espresso", "--until", "+15min")
    assert result.exit_code == 0, result.output
    assert spans.read(running)[0].truth == "espresso"


def test_what_was_said_is_taken_back(path: Path) -> None:
    times = ("2026-07-03T10:00Z", "2026-07-03T11:00Z")
    edge_label(path, "--span", *times, "espresso")
    result = edge_label(path, "--clear-span", *times)
    assert "not known" in result.output
    assert [span.truth for span in spans.read(path)] == ["espresso", None]
    assert ": not known (said by " in edge_label(path, "--list").output


def test_what_no_model_knows(path: Path) -> None:
    edge_label(path, "--span", "-1h", "now", "garden \x1bgnome", "--other")
    assert spans.read(path)[0].truth == "garden \x1bgnome"
    assert "garden \ufffdgnome" in edge_label(path, "--list").output


def test_a_span_without_a_run_is_told(path: Path) -> None:
    result = edge_label(path, "--span", "2020-07-03T10:00", "2020-07-03T11:00", "espresso")
    assert "Warning: The journal has no run in that time." in result.output
    assert "Warning" not in edge_label(path, "--span", "now", "+1h", "espresso").output
    assert "Warning" not in edge_label(path, "--span", "-1h", "+2h", "espresso").output


def test_nothing_is_labelled_yet(path: Path) -> None:
    assert edge_label(path, "--list").output == "No span is labelled.\n"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--span", "now", "-1h", "espresso"], ConfigError, "ends before it begins"),
        (["--span", "now", "now", "espresso"], ConfigError, "empty"),
        (["--now", "espresso", "--until", "-1h"], ConfigError, "ends before it begins"),
        (["--span", "monday", "now", "espresso"], ConfigError, "'monday' is no time"),
        (["--span", "-1h", "now", "expresso"], LabelError, "did you mean 'espresso'?"),
        (["--span", "-1h", "now", "crane"], LabelError, "'crane, bird' or 'crane, machine': give the whole label"),
        (["--span", "-1h", "now", "espresso", "--other"], LabelError, "leave --other away"),
    ],
)
def test_mistakes_are_one_sentence_and_change_nothing(
    path: Path, arguments: list[str], error: type[Exception], words: str
) -> None:
    result = edge_label(path, *arguments)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)
    assert spans.read(path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["espresso"],
        ["--list", "espresso"],
        ["--span", "-1h", "now"],
        ["--span", "-1h", "now", "espresso", "--list"],
        ["--now", "espresso"],
        ["--until", "+1h", "--list"],
        ["--clear-span", "-1h", "now", "espresso"],
        ["--clear-span", "-1h", "now", "--other"],
    ],
)
def test_options_that_do_not_go_together(path: Path, arguments: list[str]) -> None:
    result = edge_label(path, *arguments)
    assert result.exit_code == 2
    assert spans.read(path) == []


def test_a_journal_must_be_named_and_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_JOURNAL", raising=False)
    result = CliRunner().invoke(cli, ["label", "--list"])
    assert isinstance(result.exception, ConfigError)
    assert "--journal FILE, or set EDGE_JOURNAL" in str(result.exception)
    monkeypatch.setenv("EDGE_JOURNAL", str(tmp_path / "absent.db"))
    assert isinstance(CliRunner().invoke(cli, ["label", "--list"]).exception, JournalError)
    assert not (tmp_path / "absent.db").exists()


def test_who_says_it_is_the_user_unless_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "carla")
    edge_label(path, "--span", "-1h", "now", "espresso")
    assert spans.read(path)[0].said_by == "carla"
