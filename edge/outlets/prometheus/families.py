"""All metrics at one moment. What is not known is left out, never 0."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from edge import __version__, device
from edge.outlets.prometheus.counts import BOUNDS_NS, Counts, Histogram, tellable
from edge.overview import Overview

if TYPE_CHECKING:
    from prometheus_client import Metric

Values = Union[Mapping[str, Optional[float]], Optional[float]]
"""By the value of a label, or without any; None: not known."""

_KINDS = device.throttled_now(0b1111)
_UNITS = ("seconds", "bytes", "celsius", "hertz")
_HZ_PER_MHZ = 1e6


class Families:
    """Tells the metrics; for one thread."""

    def __init__(self, counts: Counts) -> None:
        """Tell these counts, and what a run's overview has beside them.

        Raises:
            ImportError: prometheus-client is not installed.
        """
        from prometheus_client import ProcessCollector

        self._counts = counts
        self._rising = _Rising()
        self._process = ProcessCollector(registry=None)

    def collect(self, overview: Optional[Overview]) -> list[Metric]:
        """The families, of the present run where there is one. Takes up to some milliseconds."""
        found = [*_counted(self._counts), *self._process.collect()]
        if overview:
            status = overview.status()
            found += [*_run(overview, status), *_board(overview.live), *self._equipment(overview, status)]
            found += [*self._journal(overview.run, status), *self._outlets(status)]
        return found

    def _equipment(self, overview: Overview, status: Mapping[str, Any]) -> Iterator[Metric]:
        asleep = status.get("asleep") is not None
        camera_up = None
        if status.get("camera_lost") is not None:
            camera_up = 0.0
        elif overview.newest and not asleep:
            camera_up = 1.0
        yield from _gauge(
            "edge_camera_up", "Whether the camera works; not told before a picture, or asleep.", camera_up
        )
        faults = self._rising("camera", status.get("camera_faults"))
        yield from _counter("edge_camera_faults", "Losses of the camera.", faults)
        if overview.ran.backend != "cpu" and "backend_lost" in status:
            up = float(status["backend_lost"] is None)
            yield from _gauge("edge_accelerator_up", "Whether all accelerators of the run work.", up)
            faults = self._rising("accelerator", status.get("backend_faults"))
            yield from _counter("edge_accelerator_faults", "Failures of accelerators.", faults)
        if "asleep" in status:
            yield from _gauge("edge_asleep", "Whether the schedule says that there is nothing to do.", float(asleep))

    def _journal(self, run: str, status: Mapping[str, Any]) -> Iterator[Metric]:
        journal = status.get("journal")
        if not journal:
            return
        lost = self._rising("journal lost", journal["unrecorded"], run)
        written_bytes = self._rising("journal written", journal["written_bytes"], run)
        yield from _gauge("edge_journal_recording", "Whether the journal is written.", float(journal["recording"]))
        yield from _counter("edge_journal_lost_frames", "Frames, or their rows, that the journal lost.", lost)
        yield from _counter("edge_journal_written_bytes", "Written to the medium for the journal.", written_bytes)
        yield from _gauge("edge_journal_file_bytes", "Size of the journal's file.", float(journal["file_bytes"]))

    def _outlets(self, status: Mapping[str, Any]) -> Iterator[Metric]:
        outlets: dict[str, dict[str, Any]] = status.get("outlets") or {}
        label = "outlet"
        for key, said in (
            ("delivered", "Messages, or answers to requests."),
            ("dropped", "What was to be delivered and was not."),
        ):
            rising = {name: self._rising(f"{name} {key}", told[key]) for name, told in outlets.items()}
            yield from _counter(f"edge_outlet_{key}", said, rising, label)
        waiting = {name: float(told["waiting"]) for name, told in outlets.items()}
        yield from _gauge("edge_outlet_waiting", "Not delivered yet.", waiting, label)
        up = {name: float(told["trouble"] is None) for name, told in outlets.items()}
        yield from _gauge("edge_outlet_up", "Whether the outlet works at present.", up, label)


class _Rising:
    """Makes counts that begin anew, such as with another run or another camera, go on."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._last: dict[str, tuple[str, float]] = {}

    def __call__(self, name: str, value: Optional[float], begun: str = "") -> Optional[float]:
        """The sum of all; None where the present one is not known.

        Args:
            name: what is counted.
            value: its present count.
            begun: what it begins anew with, such as a run's id; it also does where it is less than before.
        """
        if value is None:
            return None
        last_begun, last = self._last.get(name, (begun, 0.0))
        if begun != last_begun or value < last:
            self._before[name] = self._before.get(name, 0.0) + last
        self._last[name] = begun, value
        return self._before.get(name, 0.0) + value


def _counted(counts: Counts) -> Iterator[Metric]:
    from prometheus_client.core import InfoMetricFamily

    about = {"version": __version__, "python": platform.python_version()}
    yield InfoMetricFamily("edge_build", "The program.", value=about)
    yield from _counter("edge_runs", "Runs begun; a reload that changes something begins another.", counts.runs)
    yield from _counter("edge_frames", "Frames classified.", counts.frames)
    yield from _counter("edge_frames_dropped", "Frames that nobody classified.", counts.dropped.told(), "reason")
    yield from _counter("edge_frames_unchanged", "Frames that a gate kept back.", counts.unchanged)
    yield from _counter("edge_answers", "Frames by their best label.", counts.answers.told(), "label")
    yield from _counter("edge_truth_known", "Frames whose truth is a class of the model.", counts.known)
    yield from _counter("edge_truth_right", "Of those, with the truth as the best answer.", counts.right)
    yield from _counter("edge_events", "What happened beside the frames.", counts.events.told(), "kind")
    by_backend = counts.stages()
    stages: dict[tuple[str, ...], Histogram] = {
        (stage, backend): histogram
        for backend, each in by_backend.items()
        for stage, histogram in each.by_name().items()
    }
    yield from _histogram("edge_stage_seconds", "How long each stage of a frame took.", stages, ("stage", "backend"))
    ages: dict[tuple[str, ...], Histogram] = {(backend,): each.age for backend, each in by_backend.items()}
    yield from _histogram("edge_age_seconds", "From capture to result: the sum of the stages.", ages, ("backend",))


def _run(overview: Overview, status: Mapping[str, Any]) -> Iterator[Metric]:
    from prometheus_client.core import InfoMetricFamily

    ran, newest = overview.ran, overview.newest
    about = {
        "run": overview.run,
        "model": ran.model,
        "model_sha256": ran.model_sha256,
        "runtime": ran.runtime,
        "runtime_version": ran.runtime_version,
        "backend": ran.backend,
        "threads": str(ran.threads),
        "camera": status["camera"],
    }
    told = {name: tellable(value) for name, value in about.items()}
    yield InfoMetricFamily("edge_run", "The present run.", value=told)
    yield from _gauge("edge_frames_per_second", "Frames classified lately.", overview.fps)
    age_s = None if newest is None else (time.monotonic_ns() - newest.monotonic_ns) / 1e9
    yield from _gauge("edge_newest_frame_age_seconds", "Since the run's newest result.", age_s)


def _board(live: Optional[device.Live]) -> Iterator[Metric]:
    if live is None:
        return
    temperatures_c = {"cpu": live.temperature_c, "edgetpu": live.coral_temperature_c}
    yield from _gauge("edge_temperature_celsius", "Of the processor and the Edge TPU.", temperatures_c, "sensor")
    clock_hz = None if live.clock_mhz is None else live.clock_mhz * _HZ_PER_MHZ
    yield from _gauge("edge_cpu_frequency_hertz", "Clock of processor 0, as its governor asked for it.", clock_hz)
    available_bytes = live.memory_available_bytes
    yield from _gauge("edge_memory_available_bytes", "Memory of the machine that is available.", available_bytes)
    if live.throttled is None:
        return
    now = _by_kind(device.throttled_now(live.throttled))
    yield from _gauge("edge_throttled", "What holds a Raspberry Pi back now.", now, "kind")
    if not live.throttled_lately:
        before = _by_kind(device.throttled_since_boot(live.throttled))
        yield from _gauge("edge_throttled_since_boot", "What held it back since it started.", before, "kind")


def _by_kind(words: Sequence[str]) -> Values:
    return {kind.replace("-", "_").replace(" ", "_"): float(kind in words) for kind in _KINDS}


def _gauge(name: str, said: str, values: Values, label: str = "") -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, said, labels=[label] if label else [], unit=_unit(name))
    yield from _filled(family, family.add_metric, values)


def _counter(name: str, said: str, values: Values, label: str = "") -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, said, labels=[label] if label else [], unit=_unit(name))
    yield from _filled(family, family.add_metric, values)


def _filled(family: Metric, add: Callable[[Sequence[str], float], None], values: Values) -> Iterator[Metric]:
    if isinstance(values, Mapping):
        known = [([name], value) for name, value in values.items() if value is not None]
    else:
        known = [] if values is None else [([], values)]
    for names, value in known:
        add(names, value)
    if known:
        yield family


def _histogram(
    name: str, said: str, histograms: Mapping[tuple[str, ...], Histogram], labels: Sequence[str]
) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    if not histograms:
        return
    family = HistogramMetricFamily(name, said, labels=labels, unit=_unit(name))
    ends = [floatToGoString(end_ns / 1e9) for end_ns in (*BOUNDS_NS, math.inf)]  # type: ignore[no-untyped-call]
    for names, histogram in histograms.items():
        family.add_metric(names, list(zip(ends, histogram.cumulative())), histogram.sum_ns / 1e9)
    yield family


def _unit(name: str) -> str:
    """The base unit that a name ends with, as OpenMetrics wants it apart."""
    end: str = name.rpartition("_")[2]
    return end if end in _UNITS else ""
