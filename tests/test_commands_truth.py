from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest
from click.testing import CliRunner, Result

from edge.cli import cli
from edge.control.server import Control
from edge.errors import ConfigError, ControlError
from edge.journal import socket_path
from edge.truth.live import Truth

LABELS = ("tabby, tabby cat", "espresso", "esc\x1bape")
Heard = list[tuple[Optional[str], str]]


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture
def journal(tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The journal of a daemon that is told the truth."""
    path = tmp_path / "field.db"
    truth = Truth(LABELS, lambda name, by: heard.append((name, by)))
    control = Control(socket_path(path), {"truth": truth.answer})
    monkeypatch.delenv("EDGE_JOURNAL", raising=False)
    yield path
    control.close()


def edge_truth(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["truth", *map(str, arguments)])


def test_the_truth_is_set_shown_and_cleared(journal: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "carla")
    assert edge_truth("--journal", journal).output == "truth: not known\n"
    said = "truth: tabby, tabby cat (said by ann just now)\n"
    assert edge_truth("set", "Tabby", "--by", "ann", "--journal", journal).output == said
    assert edge_truth("--journal", journal).output.startswith("truth: tabby, tabby cat (said by ann ")
    assert edge_truth("clear", "--journal", journal).output == "truth: not known\n"
    assert heard == [("tabby, tabby cat", "ann"), (None, "carla")]


def test_a_name_that_is_no_class(journal: Path, heard: Heard) -> None:
    result = edge_truth("set", "expresso", "--journal", journal)
    assert isinstance(result.exception, ControlError)
    assert "did you mean 'espresso'?" in str(result.exception)
    assert isinstance(edge_truth("set", "caf\udce9", "--journal", journal).exception, ControlError)
    assert heard == []


def test_labels_do_not_paint(journal: Path) -> None:
    assert "esc\ufffdape" in edge_truth("set", "esc\x1bape", "--journal", journal).output


def test_the_journal_may_be_named_anywhere_and_comes_before_the_environments(
    journal: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_JOURNAL", "/nowhere/field.db")
    assert edge_truth("--journal", journal, "set", "espresso").exit_code == 0
    assert edge_truth("clear", "--journal", journal).exit_code == 0
    assert "No daemon is running on /nowhere/field.db" in str(edge_truth("clear").exception)
    monkeypatch.setenv("EDGE_JOURNAL", str(journal))
    assert edge_truth("set", "espresso").exit_code == 0
    assert len(heard) == 3


def test_without_a_journal_or_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_JOURNAL", raising=False)
    for arguments in ([], ["set", "espresso"], ["clear"]):
        assert isinstance(edge_truth(*arguments).exception, ConfigError)
        result = edge_truth(*arguments, "--journal", tmp_path / "field.db")
        assert "start `edge run --journal" in str(result.exception)
