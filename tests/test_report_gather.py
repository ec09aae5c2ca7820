"""Journals become figures."""

from __future__ import annotations

import io
import json
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edge.errors import JournalError
from edge.histogram import Histogram
from edge.journal import schema
from edge.report.exports.export import write
from edge.report.figures import Report
from edge.report.gather import gather, names
from edge.report.reading import Reader
from edge.stats import STAGES
from tests.benchmarks.month import make_month
from tests.journaling import record, recording
from tests.journals import LABELS, START_UTC_S, insert, make_journal


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_journal(tmp_path_factory.mktemp("field") / "field.db", runs=2, minutes=9)


@pytest.fixture(scope="module")
def report(field: Path) -> Report:
    return gather([field])


def test_counts_are_those_of_all_windows(report: Report) -> None:
    (journal,) = report.journals
    assert (journal.frames, journal.kept, journal.unrecorded) == (10_800, 2_160, 2)
    assert journal.seconds == 18 * 60
    assert (journal.from_utc_s, journal.to_utc_s) == (START_UTC_S, START_UTC_S + 18 * 60 + 30)
    assert sum(journal.predicted.values()) == 10_800
    assert set(journal.predicted) == set(LABELS)
    assert list(journal.predicted.values()) == sorted(journal.predicted.values(), reverse=True)
    assert set(journal.drops) == {"busy"}
    assert journal.governors == ["ondemand"]


def test_runs_tell_the_machine_and_the_model(report: Report) -> None:
    first, second = report.journals[0].runs
    assert (first.run, first.model, first.runtime, first.ended_because) == (
        "field-1",
        "lite0",
        "litert 2.3.0",
        "stopped",
    )
    assert (first.opened_ms, first.first_inference_ms) == (310.0, 41.0)
    assert second.from_utc_s == first.to_utc_s + 30


def test_latency_is_that_of_all_samples_state_by_state(field: Path, report: Report) -> None:
    latency = report.journals[0].latency
    assert list(latency) == ["steady", "throttled", "warm-up"]
    expected = {stage: Histogram() for stage in STAGES}
    with Reader(field) as reader:
        for window in reader.windows():
            for stage, histogram in reader.histograms(window).get("throttled", {}).items():
                expected[stage].merge(histogram)
    for stage, told in latency["throttled"].items():
        summary = expected[stage].summary()
        assert (told.samples, told.mean, told.p50, told.p99) == (3_600, summary.mean, summary.p50, summary.p99)
        assert sum(count for _, count in told.distribution) == told.samples
        assert told.distribution[0][0] >= told.min
        assert told.distribution[-1][0] >= told.max
    assert list(latency["steady"]) == list(STAGES)


def test_percentiles_of_too_few_samples_are_not_told(report: Report) -> None:
    warm_up = report.journals[0].latency["warm-up"]["age"]
    assert warm_up.p50 is not None
    assert warm_up.p99 is None
    assert warm_up.insufficient["p99"] == "insufficient (100 of 662 samples)"


def test_one_journal_is_all(report: Report) -> None:
    assert report.latency == report.journals[0].latency
    assert report.outliers == []


def test_several_journals_are_merged(tmp_path: Path) -> None:
    paths = [make_journal(tmp_path / f"pi{number}.db", minutes=2, seed=number) for number in range(3)]
    report = gather(paths)
    assert [journal.name for journal in report.journals] == ["pi0", "pi1", "pi2"]
    for stage, told in report.latency["steady"].items():
        single = [journal.latency["steady"][stage] for journal in report.journals]
        assert told.samples == sum(each.samples for each in single)
        assert told.min == min(each.min for each in single)
        assert told.max == max(each.max for each in single)


def test_events_come_in_the_order_of_utc(report: Report) -> None:
    events = report.journals[0].events
    assert [event.kind for event in events[:3]] == ["started", "camera lost", "camera found"]
    assert [event.utc_s for event in events] == sorted(event.utc_s for event in events)
    assert events[1].detail == {"reason": "no frame for 5 s"}
    assert {event.run for event in events} == {"field-1", "field-2"}


def test_the_three_sources_of_truth_stay_apart(report: Report) -> None:
    accuracy = report.journals[0].accuracy
    assert [each.source for each in accuracy] == ["known at the time", "labels", "reviewed pictures"]
    assert all(0.7 < each.top1.value <= 1 for each in accuracy)
    assert all(each.top1.low <= each.top1.value <= each.top1.high for each in accuracy)


def test_a_report_is_json_and_comes_back(report: Report) -> None:
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_a_journal_without_runs_gives_a_report_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    schema.connect(path).close()
    (journal,) = gather([path]).journals
    assert (journal.frames, journal.runs, journal.moments, journal.accuracy, journal.latency) == (0, [], [], [], {})
    assert (journal.from_utc_s, journal.to_utc_s) == (None, None)
    assert journal.notes == ["The journal holds no runs: nothing was recorded yet."]


def test_a_run_without_an_end_lasts_until_its_last_minute(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=3)
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE runs SET ended_ns = NULL, ended_because = NULL")
    (run,) = gather([path]).journals[0].runs
    assert (run.to_utc_s - run.from_utc_s, run.ended_because) == (180, None)


def test_a_row_of_a_run_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    with closing(schema.connect(path)) as connection:
        insert(connection, "windows", run_id=9, frames=5, answers=json.dumps([("robin", 1, 5, 5)]))
        insert(connection, "events", run_id=9)
    (journal,) = gather([path]).journals
    assert journal.frames == 1_205
    assert journal.predicted["class 1"] == 5


def test_a_journal_given_twice_is_refused(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    (tmp_path / "again.db").symlink_to(path)
    with pytest.raises(JournalError, match="given twice"):
        gather([path, tmp_path / "again.db"])


def test_journals_of_one_name_are_told_apart() -> None:
    assert names([Path("/a/field.db")]) == ["field"]
    assert names([Path("/a/field.db"), Path("/b/field.db"), Path("/b/x.db")]) == ["a/field", "b/field", "x"]
    assert names([Path("/a/b/field.db"), Path("/c/b/field.db")]) == ["/a/b/field.db", "/c/b/field.db"]


@pytest.mark.parametrize("bins", [12, 300])
def test_days_become_at_most_so_many_moments(tmp_path: Path, bins: int) -> None:
    (journal,) = gather([make_month(tmp_path / "days.db", days=2, minutes_a_day=200)], bins).journals
    assert bins / 3 < len(journal.moments) <= bins
    assert sum(moment.frames for moment in journal.moments) == journal.frames == 2 * 200 * 600
    assert journal.moments[-1].to_utc_s - journal.moments[0].from_utc_s == 86_400 + 200 * 60


def test_frames_that_a_gate_kept_back_are_not_among_those_that_were_lost(tmp_path: Path) -> None:
    path = tmp_path / "gate.db"
    with recording(path) as journal:
        for sequence in range(0, 500, 100):
            given = record(sequence, time.monotonic_ns(), dropped=2, unchanged=97 if sequence else 0)
            journal.write(given)
    assert given.as_json()["unchanged"] == 97
    (told,) = gather([path]).journals
    assert (told.frames, told.drops, told.unchanged) == (5, {"busy": 10}, 4 * 97)
    assert sum(moment.unchanged for moment in told.moments) == 4 * 97
    out = io.BytesIO()
    write(path, "windows", "jsonl", out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (sum(row["dropped"] for row in rows), sum(row["unchanged"] for row in rows)) == (10, 4 * 97)
