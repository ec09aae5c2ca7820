"""`edge report` as a person uses it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from edge.cli import cli
from edge.errors import ConfigError, JournalError
from edge.report.figures import Report
from tests.journals import make_journal


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_journal(tmp_path_factory.mktemp("field") / "field.db", minutes=4)


def report(*arguments: object, journal: str = "") -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)], env={"EDGE_JOURNAL": journal})


def test_json_is_the_report(field: Path) -> None:
    done = report(field, "--json")
    assert done.exit_code == 0, done.output
    told = msgspec.json.decode(done.stdout, type=Report)
    assert told.journals[0].frames == 2_400
    assert told.journals[0].path == str(field)


def test_the_page_is_written_where_it_is_told(field: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
    pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")
    out = tmp_path / "field.html"
    out.write_text("old")
    done = report(field, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out} (0.")
    assert done.stdout.count("\n") == 1
    assert "<html" in out.read_text()


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_what_is_not_installed_is_told_before_a_journal_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")
    monkeypatch.setitem(sys.modules, missing, None)
    out = tmp_path / "report.html"
    out.write_text("old")
    done = report(tmp_path / "none.db", "--out", out)
    assert isinstance(done.exception, ConfigError)
    assert f"needs {missing}" in str(done.exception)
    assert out.read_text() == "old"


def test_the_journal_may_come_from_the_environment(field: Path) -> None:
    done = report("--json", journal=str(field))
    assert msgspec.json.decode(done.stdout, type=Report).journals[0].name == "field"


def test_several_journals(field: Path, tmp_path: Path) -> None:
    other = make_journal(tmp_path / "other.db", minutes=2)
    done = report(field, other, "--json")
    assert [journal.name for journal in msgspec.json.decode(done.stdout, type=Report).journals] == ["field", "other"]


def test_without_a_journal_it_says_how_to_name_one() -> None:
    done = report("--json")
    assert isinstance(done.exception, ConfigError)
    assert "EDGE_JOURNAL" in str(done.exception)


def test_a_place_that_cannot_be_written_is_one_sentence(field: Path, tmp_path: Path) -> None:
    done = report(field, "--out", tmp_path / "none" / "report.html")
    assert isinstance(done.exception, ConfigError)
    assert "Cannot write" in str(done.exception)


def test_what_is_no_journal_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the kind, but longer than the header of a database" * 20)
    done = report(tmp_path / "notes.txt", "--json")
    assert isinstance(done.exception, JournalError)
    assert "notes.txt" in str(done.exception)
