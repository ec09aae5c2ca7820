"""Predictions out of a frame's row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.journal.packing import pack_others, pack_score
from edge.records import Prediction
from edge.report.rows import NO_CLASS, top_ids, top_scores

predictions = st.lists(st.tuples(st.integers(0, 2_000), st.floats(0, 1)), min_size=1, max_size=7)


@given(st.lists(predictions, min_size=1, max_size=4))
def test_ids_and_scores_are_those_that_were_packed(frames) -> None:
    told = [[Prediction(class_id, "", score) for class_id, score in frame] for frame in frames]
    others = [pack_others(frame) for frame in told]
    ids = top_ids([frame[0].class_id for frame in told], others)
    scores = top_scores([pack_score(frame[0].score) for frame in told], others)
    assert ids.shape == scores.shape == (len(frames), 5)
    for row, units, frame in zip(ids.tolist(), scores.tolist(), told):
        known = frame[:5]
        assert row == [each.class_id for each in known] + [NO_CLASS] * (5 - len(known))
        assert units[: len(known)] == [pack_score(each.score) for each in known]


def test_damaged_bytes_are_no_predictions() -> None:
    assert top_ids([3, 70_000], [b"\x01\x00\x02", b"\x01\x00\x02\x00" * 9]).tolist() == [
        [3] + [NO_CLASS] * 4,
        [NO_CLASS, 1, 1, 1, 1],
    ]
    assert top_ids([], []).shape == (0, 5)
    assert top_ids([1], [b""]).dtype == np.uint16
