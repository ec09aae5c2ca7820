"""The values that a journal's rows become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

NO_CLASS = 0xFFFF
"""Fills the places of `top_ids` behind the last prediction."""
_OTHERS_BYTES = 16
_NEVER_NS = 1 << 62

Range = tuple[Optional[float], Optional[float], Optional[float]]


class Model(NamedTuple):
    """A model that ran."""

    id: int
    name: str
    sha256: str
    labels: tuple[str, ...]

    def label(self, class_id: int) -> str:
        """A class's name; its number where the journal has no name for it."""
        return self.labels[class_id] if class_id < len(self.labels) else f"class {class_id}"


class Run(NamedTuple):
    """A row of `runs` with its model, its JSON decoded."""

    id: int
    run: str
    started_ns: int
    ended_ns: Optional[int]
    ended_because: Optional[str]
    model: Model
    runtime: str
    runtime_version: str
    backend: str
    threads: int
    camera: str
    configuration: dict[str, Any]
    board: dict[str, Any]
    versions: dict[str, str]
    opened_ns: Optional[int]
    first_invoke_ns: Optional[int]


class Clock:
    """Turns the monotonic times of one run into UTC."""

    def __init__(self, since_ns: Sequence[int], utc_minus_monotonic_ns: Sequence[int]) -> None:
        """Take the rows of `clocks`, in the order of their times; at least one."""
        self.since_ns = np.array(since_ns, np.int64)
        self.utc_minus_monotonic_ns = np.array(utc_minus_monotonic_ns, np.int64)

    def utc_ns(self, monotonic_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """UTC of moments; those before the first row go by it."""
        places = np.searchsorted(self.since_ns, monotonic_ns, side="right") - 1
        return monotonic_ns + self.utc_minus_monotonic_ns[np.maximum(places, 0)]

    def monotonic_ns(self, utc_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """The spans of monotonic time that spans of UTC, shape (spans, 2), are; some may be more than one, or none."""
        until_ns = np.append(self.since_ns[1:] - 1, _NEVER_NS)
        since_ns = np.append(-_NEVER_NS, self.since_ns[1:])
        spans = [
            np.clip(utc_ns - offset_ns, first_ns, last_ns)
            for offset_ns, first_ns, last_ns in zip(self.utc_minus_monotonic_ns, since_ns, until_ns)
        ]
        found: NDArray[np.int64] = np.concatenate(spans)
        return found[found[:, 0] < found[:, 1]]

    def utc_s(self, monotonic_ns: int) -> float:
        """UTC of one moment, in seconds."""
        return float(self.utc_ns(np.array([monotonic_ns], np.int64))[0] / 1e9)


class Answer(NamedTuple):
    """Frames of a window that had the same truth and the same first prediction."""

    truth: Optional[str]
    class_id: int
    frames: int
    in_top5: int
    """Of them, those with the truth among the first five predictions."""


class Window(NamedTuple):
    """A row of `windows`; what of it is damaged is empty."""

    id: int
    run_id: int
    began_ns: int
    ended_ns: int
    frames: int
    unrecorded: int
    drops: dict[str, int]
    """Reason -> frames; those that a gate kept back are not among them."""
    unchanged: int
    answers: list[Answer]
    throttled: Optional[int]
    temperature_c: Range
    """Min, mean, max."""
    clock_mhz: Range
    governor: Optional[str]
    memory_available_min_bytes: Optional[int]
    resident_max_bytes: Optional[int]
    load_mean: Optional[float]
    coral_max_c: Optional[float]
    packed: bytes
    """See `Reader.histograms`."""


class Label(NamedTuple):
    """What somebody says was true, of a frame (run and sequence) or of a span of UTC."""

    id: int
    run_id: Optional[int]
    sequence: Optional[int]
    from_utc_ns: Optional[int]
    to_utc_ns: Optional[int]
    truth: Optional[str]
    said_by: str
    said_utc_ns: int


class Event(NamedTuple):
    """Something that happened."""

    run_id: int
    monotonic_ns: int
    kind: str
    detail: dict[str, Any]


class Picture(NamedTuple):
    """A row of `pictures`."""

    run_id: int
    sequence: int
    monotonic_ns: int
    stratum: str
    stands_for: float
    file: str
    class_id: int
    score: int
    others: bytes
    truth: Optional[str]


def top_ids(class_id: Sequence[int], others: Sequence[bytes]) -> NDArray[np.uint16]:
    """Class ids of the first five predictions of frames, `NO_CLASS` where there were fewer; shape (frames, 5).

    Args:
        class_id: of the first predictions.
        others: packed by `edge.journal.packing.pack_others`; what is no such thing counts as no more predictions.
    """
    first = np.minimum(np.array(class_id, np.int64), NO_CLASS).astype(np.uint16)
    return np.column_stack((first, _pairs(others)[:, :, 0]))


def top_scores(score: Sequence[int], others: Sequence[bytes]) -> NDArray[np.uint16]:
    """Scores of the predictions of `top_ids`, in 1/10000; shape (frames, 5)."""
    return np.column_stack((np.array(score, np.uint16), _pairs(others)[:, :, 1]))


def _pairs(others: Sequence[bytes]) -> NDArray[np.uint16]:
    """Class ids and scores, shape (frames, 4, 2)."""
    whole = [each if len(each) == _OTHERS_BYTES else _filled(each) for each in others]
    pairs: NDArray[np.uint16] = np.frombuffer(b"".join(whole), "<u2").reshape(-1, 4, 2)
    return pairs


def _filled(packed: bytes) -> bytes:
    usable = packed[:_OTHERS_BYTES] if len(packed) % 4 == 0 else b""
    return usable.ljust(_OTHERS_BYTES, b"\xff")
