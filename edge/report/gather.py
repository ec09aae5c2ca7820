"""Gathers journals into the figures of a report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.errors import JournalError
from edge.histogram import Histogram
from edge.journal.packing import Histograms
from edge.records import NS_PER_MS
from edge.report.accuracy.tally import Tally
from edge.report.backends import apart
from edge.report.counts import Counts
from edge.report.figures import Event, JournalFigures, Latencies, Latency, Report, RunFigures
from edge.report.moments import Moments, merge
from edge.report.notes import notes
from edge.report.outliers import outliers
from edge.report.reading import Reader
from edge.report.rows import Run
from edge.stats import STAGES, in_ms, insufficient

_NS = 1e9


class Gathered(NamedTuple):
    """A journal's figures and what it takes to merge them with those of others."""

    figures: JournalFigures
    histograms: dict[str, Histograms]
    """By backend."""


def gather(paths: Sequence[Path], bins: int = 300) -> Report:
    """The figures of one or several journals.

    Args:
        paths: of the journals, also of ones that are being written.
        bins: the most spans that each journal's time line is cut into.

    Raises:
        JournalError: one cannot be read, or is given twice.
    """
    twice = [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if twice:
        raise JournalError(f"The journal {twice[0]} is given twice: give each one once.")
    journals = [_gathered(path, name, bins) for path, name in zip(paths, names(paths))]
    merged: dict[str, Histograms] = {}
    for journal in journals:
        for backend, histograms in journal.histograms.items():
            merge(merged.setdefault(backend, {}), histograms)
    return Report(
        edge_runner=__version__,
        made_utc_s=round(time.time(), 3),
        journals=[journal.figures for journal in journals],
        latency=latencies(apart(merged)),
        outliers=outliers([each.figures for each in journals]),
    )


def names(paths: Sequence[Path]) -> list[str]:
    """What to call journals: the file without suffix, with its folder before it where several are called alike."""
    stems = [path.stem for path in paths]
    given = Counter(stems)
    longer = [f"{path.resolve().parent.name}/{stem}" if given[stem] > 1 else stem for path, stem in zip(paths, stems)]
    again = Counter(longer)
    return [str(path) if again[name] > 1 else name for path, name in zip(paths, longer)]


def latencies(histograms: Histograms) -> Latencies:
    """What merged histograms tell, the stages in their usual order."""
    return {
        state: {stage: latency(histograms[state][stage]) for stage in STAGES if stage in histograms[state]}
        for state in sorted(histograms)
    }


def latency(histogram: Histogram) -> Latency:
    """What one histogram tells, in milliseconds."""
    told = histogram.summary()
    return Latency(
        samples=histogram.samples,
        mean=told.mean,
        min=told.min,
        p50=told.p50,
        p90=told.p90,
        p95=told.p95,
        p99=told.p99,
        p999=told.p999,
        max=told.max,
        insufficient=insufficient(histogram.samples),
        distribution=[(round(upper_ns / NS_PER_MS, 6), count) for upper_ns, count in histogram.buckets()],
    )


def _gathered(path: Path, name: str, bins: int) -> Gathered:
    with Reader(path) as reader:
        times_ns = reader.window_times()
        tally, moments, counts = Tally(reader, times_ns), Moments(reader, times_ns, bins), Counts(reader)
        for place, (window, histograms) in enumerate(reader.windows_with_histograms()):
            counts.add(window, histograms)
            tally.add_window(place, window)
            moments.add(place, window, histograms)
        tally.add_frames()
        tally.add_pictures()
        merged, accuracy = moments.histograms(), tally.told()
        latency = latencies(apart(merged))
        events = _events(reader)
        runs = _runs(reader, times_ns, counts)
        figures = JournalFigures(
            name=name,
            path=str(path),
            runs=runs,
            from_utc_s=min((run.from_utc_s for run in runs), default=None),
            to_utc_s=max((run.to_utc_s for run in runs), default=None),
            seconds=round(counts.long_ns / _NS, 3),
            frames=counts.frames,
            kept=reader.kept(),
            unrecorded=counts.unrecorded,
            drops=dict(counts.drops.most_common()),
            governors=list(counts.governors),
            latency=latency,
            predicted=counts.predicted(),
            accuracy=accuracy,
            moments=moments.told(),
            events=events,
            notes=[*notes(reader, counts, runs, latency, accuracy, events), *tally.notes],
            unchanged=counts.unchanged,
        )
        return Gathered(figures, merged)


def _runs(reader: Reader, times_ns: NDArray[np.int64], counts: Counts) -> list[RunFigures]:
    last_ns = {run.id: run.started_ns if run.ended_ns is None else run.ended_ns for run in reader.runs.values()}
    for run_id, _, ended_ns in times_ns.tolist():
        last_ns[run_id] = max(ended_ns, last_ns.get(run_id, ended_ns))
    return [_run(reader, run, last_ns[run.id], dict(counts.states[run.id])) for run in reader.runs.values()]


def _run(reader: Reader, run: Run, last_ns: int, states: dict[str, int]) -> RunFigures:
    clock = reader.clock(run.id)
    return RunFigures(
        run=run.run,
        from_utc_s=round(clock.utc_s(run.started_ns), 3),
        to_utc_s=round(clock.utc_s(last_ns), 3),
        ended_because=run.ended_because,
        model=run.model.name,
        model_sha256=run.model.sha256,
        runtime=f"{run.runtime} {run.runtime_version}",
        backend=run.backend,
        threads=run.threads,
        camera=run.camera,
        board=run.board,
        versions=run.versions,
        configuration=run.configuration,
        opened_ms=in_ms(run.opened_ns),
        first_inference_ms=in_ms(run.first_invoke_ns),
        states=states,
    )


def _events(reader: Reader) -> list[Event]:
    """What happened, in the order of UTC."""
    clocks = {run_id: reader.clock(run_id) for run_id in reader.runs}
    told = []
    for event in reader.events():
        run = reader.runs.get(event.run_id)
        clock = clocks.get(event.run_id) or reader.clock(event.run_id)
        utc_s = round(clock.utc_s(event.monotonic_ns), 3)
        told.append(Event(utc_s, run.run if run else f"run {event.run_id}", event.kind, event.detail))
    return sorted(told, key=lambda event: event.utc_s)
