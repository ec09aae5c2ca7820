"""A Prometheus outlet to be asked, and what it says."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from edge.device import Live
from edge.outlets.prometheus import FRESH_S, Prometheus
from edge.outlets.settings import PrometheusSettings
from edge.overview import Overview
from edge.records import Prediction, Ran, Record, Timings

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
RAN = Ran("tiny", "ab" * 32, "ai-edge-litert", "2.3.0", "cpu", 1)
LABELS = ("wall clock, clock", "espresso", "great white shark, white shark")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Board(Overview):
    """The overview of a run on a board that tells all that a board can tell."""

    live: Optional[Live] = None  # type: ignore[assignment]
    fps: Optional[float] = None  # type: ignore[assignment]


def overview(run: str = "run 1", labels: tuple[str, ...] = LABELS, **told: Any) -> Board:
    """A run that has begun, which tells `told` beside itself."""
    made = Board(run, RAN, labels, "drawn scene")
    made.told_by.append(lambda: told)
    return made


def record(number: int = 0, **changes: Any) -> Record:
    """A frame that took 0.1, 0.2, 3 and 0.04 ms."""
    about: dict[str, Any] = {
        "timings": Timings(100_000, 200_000, 3_000_000, 40_000),
        "predictions": (Prediction(0, LABELS[0], 0.8),),
        "backend": "cpu",
        **changes,
    }
    return Record("run 1", number, "2026-01-01T00:00:00.000Z", time.monotonic_ns(), **about)


@contextlib.contextmanager
def opened(**settings: Any) -> Iterator[Prometheus]:
    """An outlet, which listens at a free port unless told another."""
    outlet = Prometheus(PrometheusSettings(enabled=True, **{"port": 0, **settings}))
    try:
        wait_until(lambda: port_of(outlet) or outlet.status().trouble)
        yield outlet
    finally:
        outlet.close()


def port_of(outlet: Prometheus) -> int:
    return urlsplit(outlet.status().where).port or 0


def get(outlet: Prometheus, path: str = "/metrics", method: str = "GET", **headers: str) -> Answer:
    """What the outlet answers."""
    host = urlsplit(outlet.status().where).hostname
    assert host
    with contextlib.closing(http.client.HTTPConnection(host, port_of(outlet), timeout=30)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())


def samples(outlet: Prometheus, accept: str = "") -> Samples:
    """All samples as they are now, by name and labels; read by prometheus_client's own parser."""
    time.sleep(FRESH_S)  # what is younger is told again
    answer = get(outlet, accept=accept)
    assert answer.status == 200, answer
    parse = parse_openmetrics if accept == OPENMETRICS else parse_text
    families = list(parse(answer.body.decode()))
    every = [sample for family in families for sample in family.samples]
    found = {(each.name, frozenset(each.labels.items())): each.value for each in every}
    assert len(found) == len(every)
    return found


def value(found: Samples, name: str, **labels: str) -> Optional[float]:
    return found.get((name, frozenset(labels.items())))


def wait_until(true: Any, limit_s: float = 30.0) -> None:
    """Until a condition holds."""
    until_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < until_s, "it took too long"
        time.sleep(0.01)
