"""What is exported comes back as it was."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError
from edge.histogram import Histogram
from edge.journal import schema
from edge.report.exports.export import FORMATS, write
from edge.report.exports.exported import INTEGER, JSON, NUMBER, TABLES, UTC
from edge.report.reading import Reader
from tests.journals import BOOTED_NS, LABELS, NS, START_UTC_S, insert, make_journal, utc_ns

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_journal(tmp_path_factory.mktemp("field") / "field.db", runs=2, minutes=6)


def exported(path: Path, table: str, form: str) -> bytes:
    out = io.BytesIO()
    rows = write(path, table, form, out)
    assert rows == len(read(table, form, out.getvalue()))
    return out.getvalue()


def read(table: str, form: str, content: bytes) -> Rows:
    """The rows, with UTC in whole microseconds."""
    kinds = TABLES[table].kinds
    if form == "jsonl":
        rows = [json.loads(line) for line in content.splitlines()]
    elif form == "csv":
        rows = [
            {name: of_text(kinds[name], text) for name, text in row.items()}
            for row in csv.DictReader(io.StringIO(content.decode()))
        ]
    else:
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra: parquet)")
        columns = parquet.read_table(io.BytesIO(content))
        moments = [name for name in kinds if kinds[name] == UTC]
        for name in moments:
            columns = columns.set_column(columns.column_names.index(name), name, columns[name].cast("int64"))
        rows = [
            {name: of_text(JSON, value) if kinds[name] == JSON else value for name, value in row.items()}
            for row in columns.to_pylist()
        ]
        return [
            {name: value // 1000 if name in moments and value is not None else value for name, value in row.items()}
            for row in rows
        ]
    assert all(list(row) == list(kinds) for row in rows)
    return [
        {name: microseconds(value) if kinds[name] == UTC and value else value for name, value in row.items()}
        for row in rows
    ]


def of_text(kind: str, text: str) -> Any:
    if text == "":
        return None
    return {INTEGER: int, NUMBER: float, JSON: json.loads}.get(kind, str)(text)


def microseconds(text: str) -> int:
    assert text.endswith("Z")
    moment = datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)
    return round((moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() * 1e6)


@pytest.mark.parametrize("table", TABLES)
def test_all_formats_tell_the_same(field: Path, table: str) -> None:
    as_json = read(table, "jsonl", exported(field, table, "jsonl"))
    assert as_json
    assert read(table, "csv", exported(field, table, "csv")) == as_json
    assert read(table, "parquet", exported(field, table, "parquet")) == as_json


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("table", TABLES)
def test_an_empty_journal_gives_no_rows(tmp_path: Path, table: str, form: str) -> None:
    path = tmp_path / "new.db"
    schema.connect(path).close()
    content = exported(path, table, form)
    if form == "csv":
        assert content.decode().split("\n")[0].split(",") == list(TABLES[table].kinds)


def test_frames_tell_what_was_seen(field: Path) -> None:
    rows = read("frames", "jsonl", exported(field, "frames", "jsonl"))
    with closing(schema.connect_to_read(field)) as connection:
        kept = connection.execute(
            "SELECT sequence, monotonic_ns, wait_ns, preprocess_ns, invoke_ns, postprocess_ns, class_id, score, truth "
            "FROM frames ORDER BY id"
        ).fetchall()
    assert len(rows) == len(kept)
    for row, (sequence, monotonic_ns, *stages_ns, class_id, score, truth) in zip(rows, kept):
        assert (row["sequence"], row["monotonic_ns"]) == (sequence, monotonic_ns)
        assert row["utc"] == (monotonic_ns + START_UTC_S * NS - BOOTED_NS) // 1000
        assert [row[f"{stage}_ms"] for stage in ("wait", "preprocess", "invoke", "postprocess")] == [
            each / 1e6 for each in stages_ns
        ]
        assert row["age_ms"] == pytest.approx(sum(stages_ns) / 1e6)
        assert (row["top1_label"], row["top1_score"]) == (LABELS[class_id], score / 10_000)
        assert {row[f"top{rank}_label"] for rank in range(1, 6)} <= set(LABELS)
        assert row["truth_at_the_time"] == truth
    assert {row["state"] for row in rows} == {"steady", "warm-up", "throttled"}
    assert {row["stands_for"] for row in rows} == {5}
    assert {row["run"] for row in rows} == {"field-1", "field-2"}


def test_the_truth_is_as_known_today(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2, reviewed=False)
    with closing(schema.connect(path)) as connection:
        insert(connection, "labels", from_utc_ns=utc_ns(0), to_utc_ns=utc_ns(60), truth="tulip")
        insert(connection, "labels", run_id=1, sequence=5, truth=None)
    rows = read("frames", "jsonl", exported(path, "frames", "jsonl"))
    assert [row["truth"] for row in rows[:3]] == ["tulip", None, "tulip"]
    assert rows[1]["truth_at_the_time"] == rows[0]["truth_at_the_time"] == "robin"
    assert rows[-1]["truth"] == rows[-1]["truth_at_the_time"]


def test_a_frame_with_few_predictions_leaves_the_rest_out(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    with closing(schema.connect(path)) as connection:
        for table in ("models", "runs", "clocks"):
            insert(connection, table)
        insert(connection, "frames", class_id=5, score=10_000, others=b"\x03\x00\x00\x00", state=9)
    (row,) = read("frames", "csv", exported(path, "frames", "csv"))
    told = [(row[f"top{rank}_label"], row[f"top{rank}_score"]) for rank in range(1, 6)]
    assert told == [("rocket", 1.0), ("daisy", 0.0), (None, None), (None, None), (None, None)]
    assert row["state"] is None


def test_windows_tell_percentiles_and_readings(field: Path) -> None:
    rows = read("windows", "jsonl", exported(field, "windows", "jsonl"))
    with Reader(field) as reader:
        for row, window in zip(rows, reader.windows()):
            merged = Histogram()
            for state, stages in reader.histograms(window).items():
                if state != "warm-up":
                    merged.merge(stages["invoke"])
            summary = merged.summary()
            assert (row["invoke_p50_ms"], row["invoke_p90_ms"]) == (summary.p50, summary.p90)
            assert (row["invoke_mean_ms"], row["invoke_max_ms"]) == (summary.mean, summary.max)
            assert row["dropped"] == sum(window.drops.values())
            assert row["temperature_mean_c"] == window.temperature_c[1]
            assert row["resident_max_bytes"] == window.resident_max_bytes
    assert (rows[0]["samples_warm_up"], rows[0]["samples_steady"], rows[0]["samples_throttled"]) == (50, 550, 0)
    assert (rows[0]["held_back_by"], rows[5]["held_back_by"]) == ("nothing", "under-voltage, throttled")
    assert rows[0]["age_p99_ms"] is None
    assert rows[0]["to_utc"] - rows[0]["from_utc"] == 60_000_000
    assert sum(answer["frames"] for answer in rows[0]["answers"]) == rows[0]["frames"] == 600


def test_text_with_commas_quotes_and_lines_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    truth = 'a "great", white\nshark; élan'
    with closing(schema.connect(path)) as connection:
        insert(connection, "labels", from_utc_ns=1_000, to_utc_ns=2_000, truth=truth)
    for form in FORMATS:
        (row,) = read("labels", form, exported(path, "labels", form))
        assert (row["truth"], row["run"], row["from_utc"], row["to_utc"]) == (truth, None, 1, 2)


def test_a_run_under_way_has_no_end(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE runs SET ended_ns = NULL")
    (row,) = read("runs", "csv", exported(path, "runs", "csv"))
    assert (row["to_utc"], row["from_utc"]) == (None, START_UTC_S * 1_000_000)
    assert row["board"]["processors"] == 4


def test_without_pyarrow_it_says_what_to_install(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[parquet\]'`.* --extras parquet`; or take csv"):
        write(field, "frames", "parquet", io.BytesIO())
