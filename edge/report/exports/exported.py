"""The columns of what is exported, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Callable, NamedTuple, Optional, TypeVar

import numpy as np

from edge.device import throttled_now
from edge.histogram import Histogram
from edge.journal.packing import FALLBACK, STATES, WARM_UP, Histograms
from edge.records import NS_PER_MS
from edge.report.accuracy.truths import Truths
from edge.report.backends import answered_by
from edge.report.exports.named import Named
from edge.report.moments import merge
from edge.report.reading import Reader
from edge.report.rows import Window
from edge.stats import PERCENTILES, STAGES

UTC, INTEGER, NUMBER, TEXT, JSON = "utc", "integer", "number", "text", "json"
"""Kinds of columns; UTC is nanoseconds since 1970, JSON any value that can be told in it."""
_AT_ONCE = 1_000
_FRAMES = (
    *("run_id", "sequence", "monotonic_ns", "wait_ns", "preprocess_ns", "invoke_ns", "postprocess_ns"),
    *("class_id", "score", "others", "truth", "dropped", "throttled", "state", "stands_for"),
)
_TOP_KINDS = {f"top{rank}_{what}": kind for rank in range(1, 6) for what, kind in (("label", TEXT), ("score", NUMBER))}
_READINGS = (
    *("temperature_min_c", "temperature_mean_c", "temperature_max_c"),
    *("clock_min_mhz", "clock_mean_mhz", "clock_max_mhz"),
)
_Item = TypeVar("_Item")
Columns = tuple[Sequence[Any], ...]


class Table(NamedTuple):
    """What one table is exported as."""

    kinds: dict[str, str]
    """Column -> kind, in their order."""
    read: Callable[[Reader], Iterator[Columns]]
    """Gives the columns of some rows at a time."""


def _frames(reader: Reader) -> Iterator[Columns]:
    truths = Truths(reader.labels())
    labels = Named(reader)
    for chunk in reader.frames(_FRAMES):
        run_id, sequence, monotonic_ns, *stages_ns = chunk[:7]
        class_id, score, others, truth, dropped, throttled, state, stands_for = chunk[7:]
        utc_ns = reader.utc_ns(np.array(run_id, np.int64), np.array(monotonic_ns, np.int64))
        age_ns = [sum(stages) for stages in zip(*stages_ns)]
        yield (
            utc_ns.tolist(),
            labels.runs(run_id),
            sequence,
            monotonic_ns,
            *([value_ns / NS_PER_MS for value_ns in stage_ns] for stage_ns in (*stages_ns, age_ns)),
            *labels.top(run_id, class_id, score, others),
            truths.now(run_id, sequence, utc_ns, truth),
            truth,
            dropped,
            throttled,
            [answered_by(backend, each) for backend, each in zip(labels.backends(run_id), state)],
            [STATES[each] if each in range(len(STATES)) else None for each in state],
            stands_for,
        )


def _windows(reader: Reader) -> Iterator[Columns]:
    runs = {run.id: run for run in reader.runs.values()}

    def row(window: Window) -> tuple[Any, ...]:
        run = runs.get(window.run_id)
        to_ns = _utc_ns(reader, window.run_id, window.ended_ns)
        histograms = reader.histograms(window)
        return (
            run.run if run else None,
            to_ns - (window.ended_ns - window.began_ns),
            to_ns,
            window.frames,
            window.unrecorded,
            sum(window.drops.values()),
            window.drops,
            window.unchanged,
            [
                {
                    "truth": answer.truth,
                    "predicted": run.model.label(answer.class_id) if run else None,
                    "frames": answer.frames,
                    "in_top5": answer.in_top5,
                }
                for answer in window.answers
            ],
            *(_samples(histograms, state) for state in STATES),
            *_latencies(histograms),
            window.throttled,
            None if window.throttled is None else ", ".join(throttled_now(window.throttled)) or "nothing",
            *window.temperature_c,
            *window.clock_mhz,
            window.governor,
            window.memory_available_min_bytes,
            window.resident_max_bytes,
            window.load_mean,
            window.coral_max_c,
        )

    for windows in _batches(reader.windows()):
        yield tuple(zip(*(row(window) for window in windows)))


def _events(reader: Reader) -> Iterator[Columns]:
    labels = Named(reader)
    for events in _batches(reader.events()):
        run_ids = [event.run_id for event in events]
        yield (
            [_utc_ns(reader, event.run_id, event.monotonic_ns) for event in events],
            labels.runs(run_ids),
            [event.kind for event in events],
            [event.detail for event in events],
        )


def _labels(reader: Reader) -> Iterator[Columns]:
    named = Named(reader)
    labels = reader.labels()
    if labels:
        run_id, sequence, from_ns, to_ns, truth, said_by, said_ns = zip(*(label[1:] for label in labels))
        yield said_ns, said_by, truth, named.runs(run_id), sequence, from_ns, to_ns


def _pictures(reader: Reader) -> Iterator[Columns]:
    truths = Truths(reader.labels())
    labels = Named(reader)
    for pictures in _batches(reader.pictures()):
        run_id, sequence, monotonic_ns, stratum, stands_for, file, class_id, score, others, truth = zip(*pictures)
        utc_ns = reader.utc_ns(np.array(run_id, np.int64), np.array(monotonic_ns, np.int64))
        yield (
            utc_ns.tolist(),
            labels.runs(run_id),
            sequence,
            stratum,
            stands_for,
            file,
            *labels.top(run_id, class_id, score, others),
            truths.now(run_id, sequence, utc_ns, truth),
            truth,
        )


def _runs(reader: Reader) -> Iterator[Columns]:
    rows = [
        (
            run.run,
            _utc_ns(reader, run.id, run.started_ns),
            None if run.ended_ns is None else _utc_ns(reader, run.id, run.ended_ns),
            run.ended_because,
            run.model.name,
            run.model.sha256,
            run.runtime,
            run.runtime_version,
            run.backend,
            run.threads,
            run.camera,
            None if run.opened_ns is None else run.opened_ns / NS_PER_MS,
            None if run.first_invoke_ns is None else run.first_invoke_ns / NS_PER_MS,
            run.board,
            run.versions,
            run.configuration,
        )
        for run in reader.runs.values()
    ]
    if rows:
        yield tuple(zip(*rows))


TABLES = {
    "frames": Table(
        {
            "utc": UTC,
            "run": TEXT,
            "sequence": INTEGER,
            "monotonic_ns": INTEGER,
            **{f"{stage}_ms": NUMBER for stage in STAGES},
            **_TOP_KINDS,
            "truth": TEXT,
            "truth_at_the_time": TEXT,
            "dropped": INTEGER,
            "throttled": INTEGER,
            "backend": TEXT,
            "state": TEXT,
            "stands_for": INTEGER,
        },
        _frames,
    ),
    "windows": Table(
        {
            "run": TEXT,
            "from_utc": UTC,
            "to_utc": UTC,
            "frames": INTEGER,
            "unrecorded": INTEGER,
            "dropped": INTEGER,
            "drops": JSON,
            "unchanged": INTEGER,
            "answers": JSON,
            **{f"samples_{state.replace('-', '_')}": INTEGER for state in STATES},
            **{f"{stage}_{what}_ms": NUMBER for stage in STAGES for what in ("mean", *PERCENTILES, "max")},
            "throttled": INTEGER,
            "held_back_by": TEXT,
            **dict.fromkeys(_READINGS, NUMBER),
            "governor": TEXT,
            "memory_available_min_bytes": INTEGER,
            "resident_max_bytes": INTEGER,
            "load_mean": NUMBER,
            "coral_max_c": NUMBER,
        },
        _windows,
    ),
    "events": Table({"utc": UTC, "run": TEXT, "kind": TEXT, "detail": JSON}, _events),
    "labels": Table(
        {
            "said_utc": UTC,
            "said_by": TEXT,
            "truth": TEXT,
            "run": TEXT,
            "sequence": INTEGER,
            "from_utc": UTC,
            "to_utc": UTC,
        },
        _labels,
    ),
    "pictures": Table(
        {
            "utc": UTC,
            "run": TEXT,
            "sequence": INTEGER,
            "stratum": TEXT,
            "stands_for": NUMBER,
            "file": TEXT,
            **_TOP_KINDS,
            "truth": TEXT,
            "truth_at_the_time": TEXT,
        },
        _pictures,
    ),
    "runs": Table(
        {
            "run": TEXT,
            "from_utc": UTC,
            "to_utc": UTC,
            "ended_because": TEXT,
            "model": TEXT,
            "model_sha256": TEXT,
            "runtime": TEXT,
            "runtime_version": TEXT,
            "backend": TEXT,
            "threads": INTEGER,
            "camera": TEXT,
            "opened_ms": NUMBER,
            "first_inference_ms": NUMBER,
            "board": JSON,
            "versions": JSON,
            "configuration": JSON,
        },
        _runs,
    ),
}


def _samples(histograms: Histograms, state: str) -> int:
    age = histograms.get(state, {}).get("age")
    return age.samples if age else 0


def _latencies(histograms: Histograms) -> Iterator[Optional[float]]:
    """Mean, percentiles and most of each stage, of the samples of all states but warm-up and fallback."""
    merged: Histograms = {}
    for state, stages in histograms.items():
        if state not in (STATES[WARM_UP], STATES[FALLBACK]):
            merge(merged, {"all": stages})
    for stage in STAGES:
        told = merged.get("all", {}).get(stage, Histogram()).summary()
        yield told.mean
        yield from (getattr(told, name) for name in PERCENTILES)
        yield told.max


def _utc_ns(reader: Reader, run_id: int, monotonic_ns: int) -> int:
    return int(reader.clock(run_id).utc_ns(np.array([monotonic_ns], np.int64))[0])


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _AT_ONCE)):
        yield batch
