"""Latency, events, runs and machines, and journals side by side, as rows of text."""

from __future__ import annotations

from edge.report.drawn import tables
from edge.report.figures import Event
from tests import reports


def test_latency_shows_the_figures_of_the_report() -> None:
    told = reports.latencies(1.0, steady=20_000, throttled=3_000, warm_up=40)
    rows = tables.latency(told)
    assert list(rows) == ["steady", "throttled", "warm-up"]
    assert [row.stage for row in rows["steady"]] == ["wait", "preprocess", "invoke", "postprocess", "age"]
    age = rows["steady"][-1]
    figures = told["steady"]["age"]
    assert age.samples == "20,000"
    cells = dict(zip(tables.LATENCY_COLUMNS.values(), (cell.text for cell in age.cells)))
    assert list(cells) == ["mean", "p50", "p90", "p95", "p99", "p99.9", "min", "max"]
    assert cells["p50"] == f"{figures.p50:.1f}"
    assert cells["max"] == f"{figures.max:.0f}"


def test_latency_without_enough_samples_says_how_many() -> None:
    rows = tables.latency(reports.latencies(1.0, steady=300))
    cells = dict(zip(tables.LATENCY_COLUMNS.values(), rows["steady"][0].cells))
    assert cells["p99"] == ("insufficient (300 of 662)", False)
    assert cells["p95"].known


def test_events_are_the_newest_in_their_order() -> None:
    listed = [Event(float(number), "r1", "camera lost", {"n": number}) for number in range(tables.MOST_EVENTS + 5)]
    rows = tables.events(reports.journal(days=1, count=2, events=listed))
    assert len(rows) == tables.MOST_EVENTS
    assert rows[0] == ("1970-01-01 00:00:05", "camera lost", True, "n: 5")


def test_details_of_events_are_plain() -> None:
    detail = {"bits": ["frequency capped", "throttled"], "free_bytes": 3, "why": "x\ny", "more": {"a": None}}
    rows = tables.events(reports.journal(days=1, count=2, events=[Event(0.0, "r1", "started", detail)]))
    assert rows[0][2:] == (False, 'bits: frequency capped, throttled; free_bytes: 3; why: x y; more: {"a":null}')


def test_runs_with_the_same_machine_share_its_facts() -> None:
    other = reports.run("r3", 0.0, 1.0, board={"cpu": "AMD", "coral_temperature_c": None}, backend="edgetpu")
    journal = reports.journal(days=1, count=2)
    journal.runs.append(other)
    first, second = tables.machines(journal)
    assert (first.runs, second.runs) == (["r1", "r2"], ["r3"])
    facts = dict(first.facts)
    assert facts["board"] == "Raspberry Pi 4 Model B Rev 1.2"
    assert facts["memory total"] == "3.98 GB"
    assert facts["its sha256"] == "9f2c" * 16
    assert facts["version of numpy"] == "2.3.1"
    assert "temperature c" not in facts
    assert dict(second.facts)["board"] == "not known"
    assert dict(second.facts)["backend"] == "edgetpu, 4 threads"
    assert '"threads": 4' in first.configuration


def test_a_run_that_has_not_ended_says_so() -> None:
    rows = tables.runs(reports.journal(days=1, count=2))
    assert [row[4] for row in rows] == ["SIGTERM", "not told"]
    assert rows[0][-2:] == ["212 ms", "96.3 ms"]


def test_side_by_side_tells_what_is_not_known() -> None:
    rows = tables.side_by_side([*reports.three().journals, reports.scarce().journals[0], reports.nothing().journals[0]])
    assert all(len(row) == len(tables.SIDE_BY_SIDE) for row in rows)
    assert rows[0][0] == "greenhouse"
    scarce = dict(zip(tables.SIDE_BY_SIDE, rows[3]))
    assert scarce["throttled"] == scarce["right (95 % interval)"] == scarce["mean °C"] == "not known"
    empty = dict(zip(tables.SIDE_BY_SIDE, rows[4]))
    assert empty["age p50"] == empty["not classified"] == "not known"
