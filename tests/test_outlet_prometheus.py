"""What the metrics tell: as records were, of what is known alone, and without ever falling."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import Classifier
from edge.cameras import CameraSettings, open_camera
from edge.device import Live
from edge.errors import OutletError
from edge.loop import daemon
from edge.outlets.prometheus import Prometheus
from edge.outlets.prometheus.counts import BOUNDS_NS, OTHER, Histogram, Tally
from edge.outlets.settings import PrometheusSettings
from edge.overview import Overview
from edge.records import Event, Prediction
from tests.conftest import ROOT
from tests.scraping import (
    LABELS,
    OPENMETRICS,
    RAN,
    Samples,
    get,
    opened,
    overview,
    port_of,
    record,
    samples,
    value,
    wait_until,
)

DURATIONS_NS = st.integers(0, 20_000_000_000) | st.builds(
    lambda bound_ns, more_ns: bound_ns + more_ns, st.sampled_from(BOUNDS_NS), st.integers(-1, 1)
)


@pytest.fixture
def outlet() -> Iterator[Prometheus]:
    with opened() as made:
        yield made


@given(st.lists(DURATIONS_NS, max_size=60))
def test_a_histogram_counts_as_prometheus_clients_own(durations_ns: list[int]) -> None:
    theirs = prometheus_client.Histogram("a", "a", buckets=[end_ns / 1e9 for end_ns in BOUNDS_NS], registry=None)
    ours = Histogram()
    for duration_ns in durations_ns:
        theirs.observe(duration_ns / 1e9)
        ours.add(duration_ns)
    (family,) = theirs.collect()
    told = {name: [each.value for each in family.samples if each.name == f"a_{name}"] for name in ("bucket", "sum")}
    assert ours.cumulative() == told["bucket"]
    assert ours.sum_ns / 1e9 == pytest.approx(told["sum"][0])


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 5))), st.integers(0, 4))
def test_a_tally_loses_nothing_and_never_falls(counted: list[tuple[str, int]], most: int) -> None:
    tally = Tally(most)
    before: dict[str, int] = {}
    for name, count in counted:
        tally.add(name, count)
        now = tally.told()
        assert len(now) <= most + 1
        assert all(now[each] >= before[each] for each in before)
        before = now
    assert sum(before.values()) == sum(count for _, count in counted)


def test_what_is_scraped_is_what_was_classified(outlet: Prometheus, classifier: Classifier) -> None:
    run = Overview(classifier.run, classifier.ran, classifier.bundle.labels, "scene")
    run.begin()
    outlet.begin(run)
    records: list[Any] = []
    with closing(run), closing(open_camera(CameraSettings(source="scene", fps=200.0))) as camera:
        sinks: Any = [run, outlet, Remembers(records)]
        daemon.run(camera, classifier, sinks, daemon.Limits(frames=40), threading.Event(), watch=run)
        wait_until(lambda: run.fps)
        found = samples(outlet)
    assert value(found, "edge_frames_total") == 40
    assert value(found, "edge_truth_known_total") == 40
    assert value(found, "edge_truth_right_total") == 40
    assert value(found, "edge_answers_total", label="wall clock") == 40
    dropped = sum(each.dropped for each in records)
    assert sum(count for (name, _), count in found.items() if name == "edge_frames_dropped_total") == dropped
    invoke = {"stage": "invoke", "backend": "cpu"}
    seconds = sum(each.timings.invoke_ns for each in records) / 1e9
    assert value(found, "edge_stage_seconds_count", **invoke) == 40
    assert value(found, "edge_stage_seconds_sum", **invoke) == pytest.approx(seconds)
    assert value(found, "edge_age_seconds_count", backend="cpu") == 40
    (about,) = (dict(labels) for name, labels in found if name == "edge_run_info")
    assert (about["run"], about["model"]) == (classifier.run, classifier.bundle.name)
    assert about["runtime_version"] == classifier.ran.runtime_version
    rate = value(found, "edge_frames_per_second")
    assert rate is not None
    assert 0 < rate < 200


class Remembers:
    """A sink that keeps the records."""

    def __init__(self, records: list[Any]) -> None:
        self.write = records.append


def test_both_formats_tell_the_same(outlet: Prometheus) -> None:
    outlet.begin(full())
    for number in range(5):
        outlet.write(record(number, dropped=number, drop_reason="paced"))
    plain, open_metrics = samples(outlet), samples(outlet, OPENMETRICS)
    assert set(plain) == set(open_metrics)
    moving = ("process_", "edge_newest")
    for (name, labels), told in plain.items():
        if not name.startswith(moving):
            assert told == open_metrics[name, labels], name
    types = {get(outlet, accept=accept).headers["Content-Type"].partition(";")[0] for accept in ("", OPENMETRICS)}
    assert types == {"text/plain", "application/openmetrics-text"}


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=x.y", "*/*", ";;,=", "text/plain;version=é"])
def test_an_accept_header_that_makes_no_sense_is_answered(outlet: Prometheus, accept: str) -> None:
    answer = get(outlet, accept=accept.encode().decode("latin-1"))
    assert (answer.status, b"edge_build_info{" in answer.body) == (200, True)


def test_what_is_not_known_is_not_told(outlet: Prometheus) -> None:
    before = {name for name, _ in samples(outlet) if not name.startswith("process_")}
    outlet.begin(overview())
    begun = {name for name, _ in samples(outlet) if not name.startswith("process_")}
    counters = {"runs", "frames", "frames_dropped", "frames_unchanged", "truth_known", "truth_right"}
    assert before == {f"edge_{name}_total" for name in counters} | {"edge_build_info"}
    assert begun - before == {"edge_run_info"}


def full(**changes: Any) -> Any:
    """A run of which everything is known."""
    status = {
        "camera_lost": None,
        "camera_faults": 1,
        "backend_lost": "The Edge TPU is lost.",
        "backend_faults": 2,
        "asleep": None,
        "journal": {"recording": False, "unrecorded": 3, "written_bytes": 4000, "file_bytes": 5000},
        "outlets": {"mqtt": {"delivered": 6, "dropped": 7, "waiting": 8, "trouble": "The broker is away."}},
        **changes,
    }
    run = overview(**status)
    run.ran = msgspec.structs.replace(RAN, backend="edgetpu")
    run.live = Live(
        monotonic_ns=1,
        temperature_c=51.5,
        clock_mhz=1500.0,
        throttled=0x50001,
        memory_available_bytes=123_456_789,
        coral_temperature_c=61.5,
    )
    run.fps = 29.5
    run.write(record())
    return run


def test_the_board_the_equipment_and_the_outlets(outlet: Prometheus) -> None:
    outlet.begin(full())
    found = samples(outlet)
    told = {
        "edge_frames_per_second": {None: 29.5},
        "edge_temperature_celsius": {"cpu": 51.5, "edgetpu": 61.5},
        "edge_throttled": {"under_voltage": 1, "frequency_capped": 0, "throttled": 0, "soft_temperature_limit": 0},
        "edge_throttled_since_boot": {
            "under_voltage": 1,
            "frequency_capped": 0,
            "throttled": 1,
            "soft_temperature_limit": 0,
        },
        "edge_cpu_frequency_hertz": {None: 1.5e9},
        "edge_memory_available_bytes": {None: 123_456_789},
        "edge_camera_up": {None: 1},
        "edge_camera_faults_total": {None: 1},
        "edge_accelerator_up": {None: 0},
        "edge_accelerator_faults_total": {None: 2},
        "edge_asleep": {None: 0},
        "edge_journal_recording": {None: 0},
        "edge_journal_lost_frames_total": {None: 3},
        "edge_journal_written_bytes_total": {None: 4000},
        "edge_journal_file_bytes": {None: 5000},
        "edge_outlet_delivered_total": {"mqtt": 6},
        "edge_outlet_dropped_total": {"mqtt": 7},
        "edge_outlet_waiting": {"mqtt": 8},
        "edge_outlet_up": {"mqtt": 0},
    }
    for name, values in told.items():
        of_it = {labels: each for (of, labels), each in found.items() if of == name}
        assert {next(iter(dict(labels).values()), None): each for labels, each in of_it.items()} == values


def test_bits_that_forget_say_nothing_of_the_time_since_the_start(outlet: Prometheus) -> None:
    run = overview()
    run.live = Live(monotonic_ns=1, throttled=0x10001, throttled_lately=True)
    outlet.begin(run)
    found = samples(outlet)
    assert value(found, "edge_throttled", kind="under_voltage") == 1
    assert "edge_throttled_since_boot" not in {name for name, _ in found}


@pytest.mark.parametrize(
    ("told", "seen", "up"),
    [
        ({"camera_lost": None, "asleep": None}, False, None),
        ({"camera_lost": None, "asleep": None}, True, 1),
        ({"camera_lost": "It is gone.", "asleep": None}, True, 0),
        ({"camera_lost": None, "asleep": "asleep until 6:00"}, True, None),
    ],
)
def test_a_camera_is_up_when_it_gave_a_picture(
    outlet: Prometheus, told: dict[str, Any], seen: bool, up: float | None
) -> None:
    run = overview(**told)
    if seen:
        run.write(record())
    outlet.begin(run)
    assert value(samples(outlet), "edge_camera_up") == up


def test_nothing_falls_when_a_run_follows_another(outlet: Prometheus) -> None:
    outlet.begin(full())
    outlet.write(record(1, dropped=2, unchanged=3, truth="espresso"))
    outlet.event(Event(0, "", 0, "camera lost", {}, ""))
    before = samples(outlet)
    less = {"recording": True, "unrecorded": 1, "written_bytes": 100, "file_bytes": 5000}
    after_run = full(camera_faults=0, backend_faults=1, journal=less, outlets={})
    after_run.run = "run 2"
    outlet.begin(after_run)
    outlet.write(record(2, backend="edgetpu"))
    after = samples(outlet)
    for name, labels in rising(before) - {key for key in before if key[0].startswith("edge_outlet")}:
        assert after[name, labels] >= before[name, labels], name
    assert value(after, "edge_runs_total") == 2
    assert value(after, "edge_frames_total") == 2
    assert value(after, "edge_camera_faults_total") == 1
    assert value(after, "edge_accelerator_faults_total") == 3
    assert value(after, "edge_journal_lost_frames_total") == 4
    assert value(after, "edge_journal_written_bytes_total") == 4100
    assert value(after, "edge_events_total", kind="camera lost") == 1
    assert {dict(labels)["run"] for name, labels in after if name == "edge_run_info"} == {"run 2"}


def test_a_runs_journal_goes_on_even_where_the_next_one_has_more_at_once(outlet: Prometheus) -> None:
    for run, written_bytes, expected_bytes in (("a", 10, 10), ("b", 25, 35), ("b", 30, 40), ("c", 5, 45)):
        told = overview(
            run, journal={"recording": True, "unrecorded": 0, "written_bytes": written_bytes, "file_bytes": 1}
        )
        outlet.begin(told)
        assert value(samples(outlet), "edge_journal_written_bytes_total") == expected_bytes


def rising(found: Samples) -> set[Any]:
    return {(name, labels) for name, labels in found if name.endswith(("_total", "_bucket", "_count", "_sum"))}


def test_many_labels_and_odd_ones(outlet: Prometheus) -> None:
    odd = ['a "quoted" \\ one', "two\nlines", "\udcff", "x" * 5000, "", "ünï", OTHER]
    labels = (*odd, *(f"class {number}" for number in range(300)))
    outlet.begin(overview(labels=labels))
    for number, label in enumerate(labels * 2):
        outlet.write(record(number, predictions=(Prediction(number % len(labels), label, 0.5),), backend=label))
    for accept in ("", OPENMETRICS):
        found = samples(outlet, accept)
        answers = {dict(names)["label"]: each for (name, names), each in found.items() if name == "edge_answers_total"}
        assert len(answers) <= 101
        assert sum(answers.values()) == 2 * len(labels)
        assert answers['a "quoted" \\ one'] == answers["two\nlines"] == answers["ünï"] == 2
        backends = {dict(names)["backend"] for name, names in found if name == "edge_age_seconds_count"}
        assert len(backends) <= 9


def test_a_truth_by_another_name_and_one_that_is_no_class(outlet: Prometheus) -> None:
    outlet.begin(overview())
    for truth in ("great_white_shark", "White shark", LABELS[2], "unicorn", None, "unicorn"):
        outlet.write(record(truth=truth))
        outlet.write(record(truth=truth, predictions=(Prediction(2, LABELS[2], 0.9),)))
    found = samples(outlet)
    assert value(found, "edge_truth_known_total") == 6
    assert value(found, "edge_truth_right_total") == 3
    outlet.begin(overview("run 2", ("unicorn",)))
    outlet.write(record(truth="unicorn", predictions=(Prediction(0, "unicorn", 0.9),)))
    outlet.write(record(truth=LABELS[2]))
    found = samples(outlet)
    assert value(found, "edge_truth_known_total") == 7
    assert value(found, "edge_truth_right_total") == 4


def test_the_table_in_the_readme_has_every_metric(outlet: Prometheus) -> None:
    outlet.begin(full())
    outlet.write(record())
    outlet.event(Event(0, "", 0, "camera lost", {}, ""))
    told = set(re.findall(r"^# TYPE (edge_\w+)", get(outlet).body.decode(), re.MULTILINE))
    section = (ROOT / "edge" / "outlets" / "README.md").read_text().partition("## Prometheus")[2]
    assert set(re.findall(r"^\| `(edge_\w+)", section, re.MULTILINE)) == told


def test_a_metric_that_fails_is_a_trouble_until_it_works(outlet: Prometheus, caplog: pytest.LogCaptureFixture) -> None:
    run = overview(journal={"recording": "?"})
    outlet.begin(run)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            answer = get(outlet)
            assert (answer.status, b"KeyError" in answer.body) == (500, True)
        assert "KeyError" in str(outlet.status().trouble)
        run.told_by.clear()
        assert get(outlet).status == 200
    assert outlet.status().trouble is None
    assert len(caplog.messages) == 2
    wait_until(lambda: outlet.status().delivered == 1)


def test_a_port_that_is_taken_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with opened(port=port) as outlet:
            wait_until(lambda: outlet.status().trouble)
            assert f"cannot listen at 127.0.0.1:{port} (Address already in use)" in str(outlet.status().trouble)
            other.close()
            wait_until(lambda: outlet.status().trouble is None)
            assert get(outlet).status == 200
    assert len(caplog.messages) == 2


def test_an_address_of_another_machine_is_a_trouble() -> None:
    with opened(address="192.0.2.1", port=9464) as outlet:
        wait_until(lambda: outlet.status().trouble)
        assert "192.0.2.1:9464 (Cannot assign requested address)" in str(outlet.status().trouble)


@pytest.mark.parametrize("address", ["::1", "::", "0.0.0.0"])
def test_other_addresses(address: str) -> None:
    with opened(address=address) as outlet:
        if outlet.status().trouble:
            pytest.skip(f"this machine has no IPv6: {outlet.status().trouble}")
        assert outlet.status().where.startswith(f"http://[{address}]:" if ":" in address else f"http://{address}:")
        assert get(outlet).status == 200
        if address != "::1":
            with socket.create_connection(("127.0.0.1", port_of(outlet)), timeout=30) as connection:
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(OutletError, match=r"prometheus-client is not installed: in the .* -e '\.\[prometheus\]'"):
        Prometheus(PrometheusSettings())
