"""The figures of a report: what `edge report --json` prints and the page draws. None is what cannot be told."""

from __future__ import annotations

from typing import Any, Optional

import msgspec


class Latency(msgspec.Struct, frozen=True):
    """Durations of one stage in one state, in milliseconds, from merged histograms."""

    samples: int
    mean: Optional[float]
    min: Optional[float]
    p50: Optional[float]
    p90: Optional[float]
    p95: Optional[float]
    p99: Optional[float]
    p999: Optional[float]
    max: Optional[float]
    insufficient: dict[str, str]
    """Percentile -> "insufficient (300 of 662 samples)"."""
    distribution: list[tuple[float, int]]
    """Upper end of each bucket that holds something, in ms, and the samples in it."""


Latencies = dict[str, dict[str, Latency]]
"""State (steady, warm-up, throttled, fallback; those that occurred) -> stage -> durations.

Fallback: the CPU answered in place of the backend that the run was for. Where runs are for several backends, or for a
stand-in, the other states name it: "steady on cpu", "steady on edgetpu"."""


class Share(msgspec.Struct, frozen=True):
    """A proportion with its 95 % Wilson interval."""

    right: float
    """Weighted count: a frame stands for as many as its sampling says."""
    total: float
    counted: int
    """Frames or pictures that were really looked at."""
    value: Optional[float]
    low: Optional[float]
    high: Optional[float]
    effective: float
    """Independent answers that would tell as much, of which the interval is: frames that follow each other are alike,
    and those that stand for many tell no more than they are."""


class ClassAccuracy(msgspec.Struct, frozen=True):
    """How often the model was right where this class was true."""

    truth: str
    top1: Share
    taken_for: dict[str, float]
    """First predictions -> weighted frames, the most frequent first; the truth itself where it was right."""


class Accuracy(msgspec.Struct, frozen=True):
    """How often the model was right, where the truth is known."""

    source: str
    """Where the truth is from: "known at the time" (folders, `edge truth`), "labels" (spans and frames that a person
    labelled), "reviewed pictures" (a weighted sample)."""
    model: str
    top1: Share
    top5: Optional[Share]
    """None where the model has no more than 5 classes, or too few predictions were recorded; where it is known of kept
    frames only, they are its total."""
    classes: list[ClassAccuracy]
    days: dict[str, Share]
    """Top-1 by UTC date."""
    unknown: float
    """Frames whose truth is no class of the model; they count in no share."""
    stretches: Optional[int]
    """Of neighbouring time in which the truth is known: the intervals are of how much accuracy differs between them,
    unless they are fewer than 8. None of reviewed pictures, which lie far apart."""


class Moment(msgspec.Struct, frozen=True):
    """A span of the time line; spans of one run follow each other, a gap is a gap in the record."""

    from_utc_s: float
    to_utc_s: float
    frames: int
    fps: float
    drops: dict[str, int]
    """Reason -> frames of the camera that were lost; those that a gate kept back are not."""
    stages: dict[str, tuple[Optional[float], Optional[float], Optional[float]]]
    """Stage -> p50, p90, p99 in ms of the samples of all states but warm-up and fallback."""
    throttled: Optional[list[str]]
    """What held the board back, in words; [] nothing, None where the board tells nothing."""
    temperature_c: Optional[tuple[float, float, float]]
    """min, mean, max."""
    clock_mhz: Optional[tuple[float, float, float]]
    memory_available_min_bytes: Optional[int]
    resident_max_bytes: Optional[int]
    load_mean: Optional[float]
    coral_max_c: Optional[float]
    unchanged: int = 0
    """Frames that a gate kept back, because nothing in them had changed."""
    fallback: int = 0
    """Answers of the CPU in place of the backend that the run was for."""
    fallback_stages: dict[str, tuple[Optional[float], Optional[float], Optional[float]]] = {}
    """As in `stages`, of these."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened."""

    utc_s: float
    run: str
    kind: str
    detail: dict[str, Any]


class RunFigures(msgspec.Struct, frozen=True):
    """One run of the program: the machine and model that it was."""

    run: str
    from_utc_s: float
    to_utc_s: float
    ended_because: Optional[str]
    """None: it is running, or ended without a chance to say so."""
    model: str
    model_sha256: str
    runtime: str
    backend: str
    """What it was for; while that did not work, the CPU may have answered: see `states`."""
    threads: int
    camera: str
    board: dict[str, Any]
    versions: dict[str, str]
    configuration: dict[str, Any]
    opened_ms: Optional[float]
    first_inference_ms: Optional[float]
    states: dict[str, int] = {}
    """State -> answers in it, as far as the journal's histograms tell."""


class JournalFigures(msgspec.Struct, frozen=True):
    """All that one journal tells."""

    name: str
    """The file's name without suffix; made unique where several journals share it."""
    path: str
    runs: list[RunFigures]
    from_utc_s: Optional[float]
    to_utc_s: Optional[float]
    seconds: float
    """Time that is recorded."""
    frames: int
    kept: int
    """Frames of which the journal has a row."""
    unrecorded: int
    drops: dict[str, int]
    governors: list[str]
    latency: Latencies
    predicted: dict[str, int]
    """First predictions -> frames, the most frequent first."""
    accuracy: list[Accuracy]
    moments: list[Moment]
    """At most some hundreds, evenly long."""
    events: list[Event]
    notes: list[str]
    """What a reader should know before trusting a figure, a sentence each."""
    unchanged: int = 0
    """As in `Moment`."""


class Report(msgspec.Struct, frozen=True):
    """One or several journals."""

    edge_runner: str
    """Version that made the report."""
    made_utc_s: float
    journals: list[JournalFigures]
    latency: Latencies
    """Of all journals, their histograms merged."""
    outliers: list[str]
    """Journals that differ from the others, a sentence each."""
