from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cli import cli
from edge.commands.status import in_units, lines
from edge.control.server import Control
from edge.errors import ControlError
from edge.journal import socket_path

STATUS = {
    "model": "efficientnet_lite0_int8 on litert 2.3.0 (cpu, 4 threads)",
    "running_s": 93_784.2,
    "frames": 1_234_567,
    "fps": 29.9712,
    "truth": None,
    "latest": [{"label": "tabby", "score": 0.93}, {"label": "tiger cat", "score": 0.04}],
    "latency": {"wait": {"p50_ms": 2.04, "p90_ms": 3.1}, "age": {"p50_ms": 17.25, "p90_ms": None}},
    "journal": {"recording": False, "because": "the disk is full", "file_bytes": 123_456_789, "events": []},
    "board": {"temperature_c": 61.2345, "clock_mhz": 1500.0, "age_ms": 17.25, "throttled": ["under-voltage"]},
    "outlets": {
        "web": {"where": "http://127.0.0.1:8080/", "trouble": None, "delivered": 4},
        "mqtt": {"where": "mqtt://shed:1883", "trouble": "Nothing listens there.", "delivered": 3},
    },
    "masks": {},
}
FOR_A_PERSON = """\
model:   efficientnet_lite0_int8 on litert 2.3.0 (cpu, 4 threads)
running: 1 d 2 h
frames:  1,234,567
fps:     30
truth:   none
latest:
  label tabby, score 0.93
  label tiger cat, score 0.04
latency:
  wait: p50 2.04 ms, p90 3.1 ms
  age:  p50 17.2 ms, p90 none
journal:
  recording: no
  because:   the disk is full
  file:      123 MB
  events:    none
board:
  temperature: 61.2 °C
  clock:       1,500 MHz
  age:         17.2 ms
  throttled:   under-voltage
outlets:
  web: where http://127.0.0.1:8080/, trouble none, delivered 4
  mqtt:
    where:     mqtt://shed:1883
    trouble:   Nothing listens there.
    delivered: 3
masks:   none
"""


def test_a_running_daemons_status(tmp_path: Path) -> None:
    journal = tmp_path / "field.db"
    control = Control(socket_path(journal), {"status": lambda request: STATUS})
    try:
        result = CliRunner().invoke(cli, ["status", "--journal", str(journal)])
        assert result.output == FOR_A_PERSON
        result = CliRunner().invoke(cli, ["status", "--json"], env={"EDGE_JOURNAL": str(journal)})
        assert json.loads(result.output) == STATUS
    finally:
        control.close()
    result = CliRunner().invoke(cli, ["status", "--journal", str(journal)])
    assert isinstance(result.exception, ControlError)


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (0, "0 ms"),
        (0.0123, "12.3 ms"),
        (1.5, "1.5 s"),
        (59.99, "60 s"),
        (60, "1 min"),
        (192.4, "3 min 12 s"),
        (3600, "1 h"),
        (7199.9, "2 h"),
        (93_784, "1 d 2 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_durations(duration_s: float, words: str) -> None:
    assert in_units(duration_s) == words


NAMES = st.text("abc_", min_size=1, max_size=6) | st.sampled_from(["x_s", "x_ms", "x_bytes", "x_c", "x_mhz", "x_ns"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_document_becomes_lines(document: dict[str, object]) -> None:
    assert all(line.isprintable() for line in lines(document))
