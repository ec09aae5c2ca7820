"""`edge export` as a person uses it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli import cli
from edge.commands import export as command
from edge.errors import ConfigError
from edge.report.exports.export import FORMATS
from edge.report.exports.exported import TABLES
from tests.journals import make_journal


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_journal(tmp_path_factory.mktemp("field") / "field.db", minutes=8, fps=30.0, keep_every=1)


def export(*arguments: object, journal: str = "") -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, arguments)], env={"EDGE_JOURNAL": journal})


def test_the_choices_are_those_that_there_are() -> None:
    assert (FORMATS, tuple(TABLES)) == (command.FORMATS, command.TABLES)


def test_frames_as_csv_on_stdout_is_the_default(field: Path) -> None:
    done = export(field)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 8 * 1_800
    assert rows[0]["utc"].startswith("2026-01-01T00:00:00.")
    assert export(journal=str(field)).stdout == done.stdout


def test_a_table_into_a_file(field: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    done = export(field, "--table", "events", "--format", "jsonl", "--out", out)
    assert done.stdout == f"{out} (5 rows)\n"
    assert len(out.read_text().splitlines()) == 5


def test_parquet_needs_a_file(field: Path, tmp_path: Path) -> None:
    done = export(field, "--format", "parquet")
    assert isinstance(done.exception, ConfigError)
    assert "--out" in str(done.exception)
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: parquet)")
    assert export(field, "--format", "parquet", "--out", tmp_path / "frames.parquet").exit_code == 0


def test_without_a_journal_it_says_how_to_name_one() -> None:
    assert "EDGE_JOURNAL" in str(export().exception)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "frames.csv"
    assert export(tmp_path / "none.db", "--out", out).exit_code == 1
    assert not out.exists()


def test_a_reader_that_has_seen_enough_ends_it_quietly(field: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "edge", "export", str(field)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"utc,run,")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
