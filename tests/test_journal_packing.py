"""What the journal keeps as bytes and as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.histogram import Histogram
from edge.journal.packing import (
    as_json,
    as_text,
    pack_histograms,
    pack_others,
    pack_score,
    unpack_histograms,
    unpack_others,
)
from edge.records import Prediction
from edge.stats import STAGES

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.floats(width=32).map(np.float32)
    | st.integers(-(2**15), 2**15 - 1).map(np.int16)
    | st.booleans().map(np.bool_)
    | st.binary(min_size=1)
    .filter(lambda name: b"\0" not in name)
    .map(lambda name: Path(name.decode(errors="surrogateescape")))
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.binary() | st.none(), inner)
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_anything_becomes_json_that_can_be_stored(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = as_json(value)
    text.encode("utf-8")
    json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"by_s": 1.5, "n": 2, "on": True, "no": None}, {"by_s": 1.5, "n": 2, "on": True, "no": None}),
        ({"t": np.float64(61.5), "bits": np.int64(5), "ok": np.bool_(True)}, {"t": 61.5, "bits": 5, "ok": True}),
        ({"boxes": np.arange(4).reshape(2, 2)}, {"boxes": [[0, 1], [2, 3]]}),
        ({"path": Path("/a/ü"), "raw": b"/b/\xff"}, {"path": "/a/ü", "raw": "/b/\\udcff"}),
        ({"nan": math.nan, "inf": math.inf, "n32": np.float32("nan")}, {"nan": None, "inf": None, "n32": None}),
        ({1: {2: 3}, (1, 2): None}, {"1": {"2": 3}, "[1, 2]": None}),
        ({"big": 1 << 20_000}, {"big": hex(1 << 20_000)}),
        ({"set": {7}, "error": ValueError("no")}, {"set": [7], "error": "no"}),
    ],
)
def test_values_keep_what_they_mean(value: Any, told: Any) -> None:
    assert json.loads(as_json(value)) == told


def test_what_holds_itself_comes_to_an_end() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert "…" in as_json(circle)


def test_text_that_is_no_utf8_can_be_stored() -> None:
    assert as_text("caf\udce9 é") == "caf\\udce9 é"


@given(st.floats(0, 1))
def test_scores_are_kept_to_their_unit(score: float) -> None:
    assert abs(pack_score(score) / 10_000 - score) <= 0.5001 / 10_000


@pytest.mark.parametrize(("score", "packed"), [(-0.1, 0), (1.2, 10_000), (math.inf, 10_000), (math.nan, 0)])
def test_scores_that_are_none(score: float, packed: int) -> None:
    assert pack_score(score) == packed


@given(st.lists(st.tuples(st.integers(0, 70_000), st.floats(0, 1)), max_size=7))
def test_the_next_four_predictions(pairs: list[tuple[int, float]]) -> None:
    predictions = [Prediction(class_id, "", score) for class_id, score in pairs]
    told = unpack_others(pack_others(predictions))
    assert [class_id for class_id, _ in told] == [min(class_id, 65_535) for class_id, _ in pairs[1:5]]
    assert all(abs(score - given) <= 0.5001 / 10_000 for (_, score), (_, given) in zip(told, pairs[1:]))


def test_histograms_come_back_and_empty_ones_are_left_out() -> None:
    full, empty = {stage: Histogram() for stage in STAGES}, {stage: Histogram() for stage in STAGES}
    full["invoke"].add([12_000_000, 13_000_000])
    assert unpack_histograms(pack_histograms({"steady": full, "throttled": empty})) == {"steady": full}
    assert unpack_histograms(pack_histograms({})) == {}


@given(st.binary(max_size=60))
def test_bytes_that_are_no_histograms(packed: bytes) -> None:
    try:
        unpack_histograms(packed)
    except ValueError:
        return
    assert packed[0] == 0x80 or packed[0] == 0xDE or packed[0] == 0xDF or packed[0] & 0xF0 == 0x80
