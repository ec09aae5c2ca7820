"""What the journal keeps as bytes: predictions behind the first, and a window's histograms."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import msgspec

from edge.histogram import Histogram
from edge.records import Prediction

STATES = ("steady", "warm-up", "throttled")
"""Of a frame, by the number that `frames.state` holds: samples of different states are not mixed."""
STEADY, WARM_UP, THROTTLED = range(3)
SCORE_UNITS = 10_000
_PAIR = struct.Struct("<HH")
_CLASSES = 0xFFFF

Histograms = dict[str, dict[str, Histogram]]
"""State -> stage (of `edge.stats.STAGES`) -> durations in nanoseconds."""


def pack_score(score: float) -> int:
    """A score in [0, 1] in units of 1/10000."""
    return min(SCORE_UNITS, max(0, round(score * SCORE_UNITS)))


def pack_others(predictions: Sequence[Prediction]) -> bytes:
    """The predictions behind the first, at most four: class id and score, uint16 each."""
    return b"".join(_PAIR.pack(min(each.class_id, _CLASSES), pack_score(each.score)) for each in predictions[1:5])


def unpack_others(packed: bytes) -> list[tuple[int, float]]:
    """Class ids and scores of the predictions behind the first."""
    return [(class_id, score / SCORE_UNITS) for class_id, score in _PAIR.iter_unpack(packed)]


def pack_histograms(histograms: Mapping[str, Mapping[str, Histogram]]) -> bytes:
    """The histograms of a window that hold something."""
    return msgspec.msgpack.encode(
        {
            state: {stage: histogram.encode() for stage, histogram in stages.items()}
            for state, stages in histograms.items()
            if any(histogram.samples for histogram in stages.values())
        }
    )


def unpack_histograms(packed: bytes) -> Histograms:
    """The histograms of a window, by state and stage.

    Raises:
        ValueError: the bytes are no such histograms.
    """
    try:
        states = msgspec.msgpack.decode(packed, type=dict[str, dict[str, bytes]])
    except msgspec.MsgspecError as error:
        raise ValueError(f"no histograms of a window: {error}") from None
    return {
        state: {stage: Histogram.decode(encoded) for stage, encoded in stages.items()}
        for state, stages in states.items()
    }
