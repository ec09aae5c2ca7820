"""What the journal keeps as bytes or JSON: predictions behind the first, a window's histograms, an event's detail."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Union

import msgspec

from edge.histogram import Histogram
from edge.records import Prediction

STATES = ("steady", "warm-up", "throttled", "fallback")
"""Of a frame, by the number that `frames.state` holds: samples of different states are not mixed. Fallback: the CPU
answered in place of the backend that the run is for, whatever else held at the time."""
STEADY, WARM_UP, THROTTLED, FALLBACK = range(4)
CPU = "cpu"
"""The backend that answers while the one that a run is for cannot."""
SCORE_UNITS = 10_000
NOW_BITS = 0xF
"""Of the throttling bits, those that tell of the moment."""
_PAIR = struct.Struct("<HH")
_CLASSES = 0xFFFF
_DEEPEST = 8
_MOST_BITS = 1024
"""Of an integer: Python refuses to write out very long ones."""

Histograms = dict[str, dict[str, Histogram]]
"""State -> stage (of `edge.stats.STAGES`) -> durations in nanoseconds."""


def pack_score(score: float) -> int:
    """A score in [0, 1] in units of 1/10000; 0 of what is no number."""
    return round(min(1.0, score) * SCORE_UNITS) if score > 0 else 0


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


def as_text(text: str) -> str:
    r"""Text that can be stored: a file's name that is no UTF-8 has its odd bytes as \udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_json(value: object) -> str:
    """JSON of anything: a number that is none as null, bytes as a file's name, what JSON does not know as its text."""
    return json.dumps(_plain(value, _DEEPEST), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, deep: int) -> Any:
    if isinstance(value, (str, bytes)):
        return as_text(os.fsdecode(value))
    if value is None or isinstance(value, (bool, int, float)):
        return _number(value)
    if not deep:
        return "…"
    if isinstance(value, Mapping):
        return {str(_plain(name, 1)): _plain(each, deep - 1) for name, each in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        return [_plain(each, deep - 1) for each in value]
    # A scalar or an array of NumPy, or anything.
    return _plain(value.tolist(), deep - 1) if hasattr(value, "tolist") else as_text(str(value))


def _number(value: Union[bool, int, float, None]) -> Union[bool, int, float, str, None]:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool) or value.bit_length() <= _MOST_BITS:
        return value
    return hex(value)
