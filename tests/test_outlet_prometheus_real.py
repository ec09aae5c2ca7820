"""A real Prometheus scrapes a real run and an outlet, and answers what edge/outlets/README.md asks it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from edge.device import Live
from edge.outlets.prometheus import Prometheus
from tests.conftest import ROOT
from tests.scraping import OPENMETRICS, get, opened, overview, port_of, record, wait_until

SECTION = (ROOT / "edge" / "outlets" / "README.md").read_text().partition("## Prometheus and Grafana")[2]
SECTION = SECTION.partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", SECTION, re.DOTALL)
QUERIES = [line for language, block in BLOCKS if language == "promql" for line in block.splitlines()]
SCRAPING, RULES = (yaml.safe_load(block) for language, block in BLOCKS if language == "yaml")
PANELS = [json.loads(block) for language, block in BLOCKS if language == "json"]
NEEDED = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed (sudo apt install prometheus)",
)
FEED_FPS = 50.0
STOPS = "0+600x10 6000x30"
"""A count at each minute: it rises for ten minutes, and stays for thirty; see promtool test rules."""


class Asked(NamedTuple):
    """A Prometheus with two targets: a program, and an outlet that is fed here."""

    url: str
    program: str
    fed: str

    def query(self, text: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api(self.url, "query", query=text)["result"]
        return found

    def number(self, text: str) -> float:
        (one,) = self.query(text)
        return float(one["value"][1])


def api(url: str, what: str, **parameters: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
        return json.load(answer)["data"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


@contextlib.contextmanager
def ending(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the test."""
    with subprocess.Popen(command, **options) as running:
        try:
            yield running
        finally:
            running.terminate()


@pytest.fixture(scope="module")
def fed() -> Iterator[Prometheus]:
    """An outlet that gets a frame of 3 ms every 20 ms, on a board that is warm and whose voltage is low."""
    with opened() as outlet:
        run, stop = overview("fed"), threading.Event()
        run.fps = FEED_FPS
        run.live = Live(monotonic_ns=1, temperature_c=51.5, throttled=1)
        outlet.begin(run)

        def feed() -> None:
            number = 0
            while not stop.wait(1 / FEED_FPS):
                number += 1
                each = record(number, dropped=number % 2, truth="espresso" if number % 4 == 0 else None)
                run.write(each)
                outlet.write(each)

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield outlet
        finally:
            stop.set()
            thread.join()


class Program(NamedTuple):
    """A service that serves metrics."""

    place: str
    process: subprocess.Popen[bytes]
    configuration: Path

    def reload(self, **changes: Any) -> None:
        told = {**yaml.safe_load(self.configuration.read_text()), **changes}
        self.configuration.write_text(yaml.safe_dump(told))
        self.process.send_signal(signal.SIGHUP)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("program")
    port = free_port()
    told = {
        "camera": {"source": "scene"},
        "runtime": {"threads": 1},
        "journal": {"path": str(folder / "field.db")},
        "prometheus": {"enabled": True, "port": port},
        "fps": 20,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(told))
    command = [sys.executable, "-m", "edge", "run", "--service", "--config", str(folder / "config.yaml")]
    with (folder / "log").open("wb") as log, ending(command, stderr=log) as running:
        yield Program(f"127.0.0.1:{port}", running, folder / "config.yaml")
        assert running.poll() is None, (folder / "log").read_text()


@pytest.fixture(scope="module")
def asked(fed: Prometheus, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Prometheus, once it has scraped both a few times."""
    folder = tmp_path_factory.mktemp("prometheus")
    fed_place = f"127.0.0.1:{port_of(fed)}"
    (job,) = SCRAPING["scrape_configs"]
    job["static_configs"] = [{"targets": [program.place, fed_place]}]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    told = {"global": every, "rule_files": [str(folder / "rules.yml")], **SCRAPING}
    (folder / "rules.yml").write_text(yaml.safe_dump(RULES))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=1h",
        f"--web.listen-address={urllib.parse.urlsplit(url).netloc}",
    ]
    with (folder / "log").open("wb") as log, ending(command, stderr=log) as running:
        found = Asked(url, program.place, fed_place)

        def scraped() -> bool:
            assert running.poll() is None, (folder / "log").read_text()
            try:
                return len(found.query('count_over_time((up{job="edge"} > 0)[1m:1s]) > 2')) == 2
            except urllib.error.HTTPError as error:
                if error.code == 503:  # it begins
                    return False
                raise
            except (urllib.error.URLError, ConnectionError):
                return False

        wait_until(scraped, 90)
        yield found


@NEEDED
@pytest.mark.parametrize("query", [*QUERIES, *(each["expr"] for panel in PANELS for each in panel["targets"])])
def test_a_query_of_the_readme_has_an_answer(asked: Asked, query: str) -> None:
    found = asked.query(query.replace("$__rate_interval", "1m"))
    assert found
    assert all(float(each["value"][1]) >= 0 for each in found)


@NEEDED
def test_what_prometheus_knows_is_what_was_fed(asked: Asked) -> None:
    fed = f'instance="{asked.fed}"'
    quantile = 'histogram_quantile(0.9, rate(edge_stage_seconds_bucket{%s,stage="%s"}[1m]))'
    assert asked.number(quantile % (fed, "invoke")) == pytest.approx(0.0029)  # 90 % of the way from 2 to 3 ms
    assert asked.number(quantile % (fed, "preprocess")) == pytest.approx(0.00019)
    frames = asked.number(f"edge_frames_total{{{fed}}}")
    dropped = asked.number(f'edge_frames_dropped_total{{{fed},reason="busy"}}')
    assert dropped == pytest.approx(frames / 2, abs=1)
    assert 0 < asked.number(f"rate(edge_frames_total{{{fed}}}[1m])") < 1.2 * FEED_FPS
    assert asked.number(f'edge_temperature_celsius{{{fed},sensor="cpu"}}') == 51.5
    assert asked.number(f'edge_throttled{{{fed},kind="under_voltage"}}') == 1
    assert asked.number(f"edge_truth_right_total{{{fed}}}") == 0
    assert asked.query(f"edge_journal_recording{{{fed}}}") == []


@NEEDED
def test_what_prometheus_knows_of_the_program(asked: Asked) -> None:
    of_it = f'instance="{asked.program}"'
    assert 0 < asked.number(f"edge_frames_per_second{{{of_it}}}") < 25
    (about,) = asked.query(f"edge_run_info{{{of_it}}}")
    assert about["metric"]["model"] == "efficientnet_lite0_int8"
    assert asked.number(f'edge_outlet_up{{{of_it},outlet="prometheus"}}') == 1
    assert asked.number(f'edge_outlet_delivered_total{{{of_it},outlet="prometheus"}}') >= 2
    assert asked.number(f"edge_journal_recording{{{of_it}}}") == 1
    assert asked.number(f"process_resident_memory_bytes{{{of_it}}}") > 1e6
    p90_s = asked.number(f'histogram_quantile(0.9, rate(edge_stage_seconds_bucket{{{of_it},stage="invoke"}}[1m]))')
    assert 0.0001 < p90_s < 10


@NEEDED
def test_no_counter_falls_when_the_program_reloads(asked: Asked, program: Program) -> None:
    of_it = f'instance="{asked.program}"'
    program.reload(fps=10)
    wait_until(lambda: asked.number(f"edge_runs_total{{{of_it}}}") == 2)
    scraped = asked.number(f"edge_outlet_delivered_total{{{of_it}}}")
    wait_until(lambda: asked.number(f"edge_outlet_delivered_total{{{of_it}}}") > scraped)
    every = asked.query(f'count by (__name__) ({{{of_it},__name__=~"edge_.*_(total|bucket|count|sum)"}})')
    counters = {each["metric"]["__name__"] for each in every}
    assert {"edge_frames_total", "edge_stage_seconds_bucket", "edge_journal_written_bytes_total"} <= counters
    fell = {name: asked.number(f"sum(resets({name}{{{of_it}}}[5m]))") for name in counters}
    assert set(fell.values()) == {0}, fell
    assert asked.number(f'edge_events_total{{{of_it},kind="reloaded"}}') == 1
    (about,) = asked.query(f"edge_run_info{{{of_it}}}")
    assert about["metric"]["camera"].startswith("drawn scene")


@NEEDED
def test_the_rules_are_evaluated(asked: Asked) -> None:
    def evaluated() -> list[Any]:
        (group,) = api(asked.url, "rules")["groups"]
        return [rule for rule in group["rules"] if rule["health"] != "unknown"]

    wait_until(lambda: len(evaluated()) == len(RULES["groups"][0]["rules"]))
    assert {rule["health"] for rule in evaluated()} == {"ok"}

    def pending() -> set[str]:
        return {alert["labels"]["alertname"] for alert in api(asked.url, "alerts")["alerts"]}

    wait_until(lambda: pending() == {"EdgeThrottled", "EdgeDropsFrames"})


@NEEDED
@pytest.mark.parametrize(
    ("series", "alerts"),
    [
        ({'up{job="edge",instance="a"}': "1x40"}, set()),
        ({'up{job="edge",instance="a"}': "1x10 0x30"}, {"EdgeDown"}),
        ({'edge_frames_total{instance="a"}': "0+600x40", 'edge_asleep{instance="a"}': "0x40"}, set()),
        (
            {'edge_frames_total{instance="a"}': STOPS, 'edge_asleep{instance="a"}': "0x40"},
            {"EdgeNoFrames"},
        ),
        ({'edge_frames_total{instance="a"}': STOPS}, {"EdgeNoFrames"}),
        ({'edge_frames_total{instance="a"}': STOPS, 'edge_asleep{instance="a"}': "1x40"}, set()),
        ({'edge_camera_up{instance="a"}': "1x10 0x30"}, {"EdgeCameraLost"}),
        ({'edge_accelerator_up{instance="a"}': "1x10 0x30"}, {"EdgeAcceleratorLost"}),
        ({'edge_throttled{instance="a",kind="throttled"}': "0x10 1x30"}, {"EdgeThrottled"}),
        (
            {
                'edge_frames_total{instance="a"}': "0+600x40",
                'edge_frames_dropped_total{instance="a",reason="busy"}': "0+60x40",
                'edge_frames_dropped_total{instance="a",reason="no backend"}': "0x40",
            },
            {"EdgeDropsFrames"},
        ),
        (
            {
                'edge_frames_total{instance="a"}': "0+600x40",
                'edge_frames_dropped_total{instance="a",reason="paced"}': "0+600x40",
                'edge_frames_dropped_total{instance="a",reason="busy"}': "0+6x40",
            },
            set(),
        ),
        ({'edge_journal_recording{instance="a"}': "1x10 0x30"}, {"EdgeNotRecording"}),
        ({'edge_journal_lost_frames_total{instance="a"}': "0x30 5x10"}, {"EdgeNotRecording"}),
        ({'edge_outlet_up{instance="a",outlet="mqtt"}': "1x10 0x30"}, {"EdgeOutletInTrouble"}),
    ],
)
def test_the_rules_fire_when_they_should(series: dict[str, str], alerts: set[str], tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(RULES))
    names = [rule["alert"] for rule in RULES["groups"][0]["rules"]]
    checks = [
        {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', "eval_time": "38m"}
        | {"exp_samples": [{"labels": "{}", "value": 1}] if name in alerts else []}
        for name in names
    ]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": checks,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    result = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@NEEDED
def test_promtool_has_nothing_to_say_about_the_metrics(fed: Prometheus) -> None:
    wait_until(lambda: b"edge_stage_seconds_bucket" in get(fed).body)
    body = get(fed).body
    result = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert get(fed, accept=OPENMETRICS).body.endswith(b"# EOF\n")
