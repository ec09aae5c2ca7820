"""Reports made by hand: a month of a greenhouse, several boards side by side, and one that knows nearly nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from edge.report.figures import (
    Accuracy,
    ClassAccuracy,
    Event,
    JournalFigures,
    Latencies,
    Latency,
    Moment,
    Report,
    RunFigures,
    Share,
)
from edge.stats import STAGES, insufficient, wilson

BEGAN_S = 1_780_272_000.0
"""2026-06-01 00:00 UTC."""
DAY_S = 86_400.0
MEDIANS_MS = {"wait": 16.0, "preprocess": 1.4, "invoke": 41.0, "postprocess": 0.12, "age": 58.5}
CLASSES = ("tomato, ripe", "tomato, green", "leaf", "hand", "watering can", "empty bed", "cat", "cucumber")


def latency(median_ms: float, samples: int, spread: float = 0.18, seed: int = 1) -> Latency:
    """A log-normal distribution of durations, in buckets of 1 %."""
    generator = np.random.default_rng(seed)
    values = median_ms * np.exp(spread * np.abs(generator.normal(size=min(samples, 20_000))))
    exponents, counts = np.unique(np.ceil(np.log(values) / math.log(1.01)), return_counts=True)
    scale = max(1, samples // max(1, len(values)))
    missing = insufficient(samples)

    def told(name: str, fraction: float) -> Optional[float]:
        return None if name in missing else round(float(np.quantile(values, fraction)), 3)

    return Latency(
        samples=samples,
        mean=round(float(values.mean()), 3),
        min=round(float(values.min()), 3),
        p50=told("p50", 0.5),
        p90=told("p90", 0.9),
        p95=told("p95", 0.95),
        p99=told("p99", 0.99),
        p999=told("p999", 0.999),
        max=round(float(values.max()), 3),
        insufficient=missing,
        distribution=[(float(1.01**exponent), int(count) * scale) for exponent, count in zip(exponents, counts)],
    )


def latencies(scale: float, steady: int, throttled: int = 0, warm_up: int = 0) -> Latencies:
    """All stages of the states that have samples."""
    states = {"steady": (steady, 1.0), "warm-up": (warm_up, 1.7), "throttled": (throttled, 1.6)}
    return {
        state: {
            stage: latency(median * scale * slower, samples, seed=number)
            for number, (stage, median) in enumerate(MEDIANS_MS.items())
        }
        for state, (samples, slower) in states.items()
        if samples
    }


def share(right: float, total: float, counted: Optional[int] = None) -> Share:
    """A proportion with its interval."""
    counted = round(total) if counted is None else counted
    low, high = wilson(round(right), round(total)) or (None, None)
    return Share(right, total, counted, right / total if total else None, low, high, float(counted))


def accuracy(source: str, model: str, days: int, classes: Sequence[str] = CLASSES, level: float = 0.9) -> Accuracy:
    """Truth for some of the frames of each day."""
    counts = [400 // (1 + number) + 5 for number in range(len(classes))]
    by_class = [
        ClassAccuracy(
            name,
            share(round(count * level), count),
            {name: round(count * level), classes[(number + 1) % len(classes)]: count - round(count * level)},
        )
        for number, (name, count) in enumerate(zip(classes, counts))
    ]
    total = sum(counts)
    right = sum(each.top1.right for each in by_class)
    return Accuracy(
        source=source,
        model=model,
        top1=share(right, total),
        top5=share(total - 3, total),
        classes=by_class,
        days={
            f"2026-06-{day + 1:02d}": share(round((20 + 3 * day) * (level - 0.02 * math.sin(day))), 20 + 3 * day)
            for day in range(days)
            if day % 9 != 5
        },
        unknown=12.0,
        stretches=None if source == "reviewed pictures" else 30,
    )


def moments(days: float, count: int = 480, scale: float = 1.0, seed: int = 3) -> list[Moment]:
    """A day's heat that throttles in the afternoon; a night and a half without the board."""
    generator = np.random.default_rng(seed)
    step_s = days * DAY_S / count
    result = []
    for number in range(count):
        from_s = BEGAN_S + number * step_s
        if 0.42 < number / count < 0.47:
            continue
        heat = math.sin((from_s % DAY_S) / DAY_S * 2 * math.pi - 1.9) + 0.6 * math.sin(number / count * 5)
        temperature = 58 + 14 * heat + float(generator.normal(0, 1))
        held = ["frequency capped"] if temperature > 76 else []
        slower = scale * (1.5 if held else 1.0) * (1 + 0.05 * float(generator.random()))
        stages = {
            stage: (median * slower, median * slower * 1.25, median * slower * 1.7)
            for stage, median in MEDIANS_MS.items()
        }
        clock = 1200.0 if held else 1800.0
        drops = {"busy": int(900 * slower), "rate": 120} if number % 7 else {"busy": 3000}
        result.append(
            Moment(
                from_utc_s=from_s,
                to_utc_s=from_s + step_s,
                frames=int(step_s * 9.9),
                fps=9.9 / slower,
                drops=drops,
                stages=stages,
                throttled=held,
                temperature_c=(temperature - 2, temperature, temperature + 3),
                clock_mhz=(min(clock, 1500.0), clock, 1800.0),
                memory_available_min_bytes=1_900_000_000,
                resident_max_bytes=140_000_000,
                load_mean=1.2,
                coral_max_c=None,
            )
        )
    return result


def events(days: float, run: str = "r1") -> list[Event]:
    """What happens to a board that stands outside."""
    listed = [
        (0.0, "started", {}),
        (0.31, "camera lost", {"camera": "imx708", "error": "no frame for 5 s"}),
        (0.312, "camera found", {"camera": "imx708", "seconds": 41}),
        (0.42, "stopped", {"because": "SIGTERM"}),
        (0.47, "started", {}),
        (0.471, "clock jumped", {"seconds": 51_840.2}),
        (0.7, "disk low", {"free_bytes": 91_000_000}),
    ]
    listed += [(0.05 + 0.033 * number, "throttled", {"bits": ["frequency capped"]}) for number in range(25)]
    return [Event(BEGAN_S + part * days * DAY_S, run, kind, detail) for part, kind, detail in sorted(listed, key=_when)]


def _when(row: tuple[float, str, Mapping[str, Any]]) -> float:
    return row[0]


def run(name: str, from_s: float, to_s: float, **changes: Any) -> RunFigures:
    """A run on a Pi 4."""
    facts: dict[str, Any] = {
        "ended_because": "SIGTERM",
        "model": "efficientnet_lite0_greenhouse",
        "model_sha256": "9f2c" * 16,
        "runtime": "ai-edge-litert 2.3.0",
        "backend": "cpu",
        "threads": 4,
        "camera": "imx708, 1536x864 at 30 fps",
        "board": {
            "model": "Raspberry Pi 4 Model B Rev 1.2",
            "processors": 4,
            "machine": "aarch64",
            "kernel": "6.12.25+rpt-rpi-v8",
            "os": "Debian GNU/Linux 12 (bookworm)",
            "python": "3.11.2",
            "memory_total_bytes": 3_981_000_000,
            "temperature_c": 51.2,
        },
        "versions": {"edge-runner": "0.4.0", "numpy": "2.3.1", "opencv": "4.11.0"},
        "configuration": {"model": "efficientnet_lite0_greenhouse", "threads": 4, "journal": {"path": "month.db"}},
        "opened_ms": 212.0,
        "first_inference_ms": 96.3,
        **changes,
    }
    return RunFigures(run=name, from_utc_s=from_s, to_utc_s=to_s, **facts)


def journal(name: str = "greenhouse", *, days: float = 30, count: int = 480, scale: float = 1.0, **changes: Any) -> Any:
    """A month in a greenhouse."""
    to_s = BEGAN_S + days * DAY_S
    frames = int(days * DAY_S * 9.9)
    facts: dict[str, Any] = {
        "name": name,
        "path": f"/var/lib/edge/{name}.db",
        "runs": [
            run("r1", BEGAN_S, BEGAN_S + 0.42 * days * DAY_S),
            run("r2", BEGAN_S + 0.47 * days * DAY_S, to_s, ended_because=None),
        ],
        "from_utc_s": BEGAN_S,
        "to_utc_s": to_s,
        "seconds": 0.95 * days * DAY_S,
        "frames": frames,
        "kept": frames // 12,
        "unrecorded": 0,
        "drops": {"busy": 412_331, "rate": 51_120},
        "governors": ["ondemand"],
        "latency": latencies(scale, steady=frames, throttled=frames // 20, warm_up=40),
        "predicted": {name: frames // (2**number + 1) for number, name in enumerate(CLASSES)},
        "accuracy": [
            accuracy("reviewed pictures", "efficientnet_lite0_greenhouse", math.ceil(days), level=0.91),
            accuracy("labels", "efficientnet_lite0_greenhouse", math.ceil(days), level=0.88),
        ],
        "moments": moments(days, count, scale),
        "events": events(days),
        "notes": ["The clock was wrong until 2026-06-15 02:24 UTC; times before it were corrected backwards."],
        **changes,
    }
    return JournalFigures(**facts)


def report(*journals: JournalFigures, outliers: Sequence[str] = ()) -> Report:
    """All of them in one report."""
    merged = journals[0].latency if journals else {}
    return Report("0.4.0", BEGAN_S + 31 * DAY_S, list(journals), merged, list(outliers))


def month() -> Report:
    """One journal of 30 days."""
    return report(journal())


def three() -> Report:
    """Three boards, one of them too hot."""
    return report(
        journal("greenhouse", days=9, count=200),
        journal("gate-north", days=9, count=200, scale=0.62),
        journal("roof", days=7, count=150, scale=1.5, notes=["The record has 2 gaps."]),
        outliers=["roof: the median age is 88 ms, 1.5 times the others' 58 ms."],
    )


def scarce() -> Report:
    """A journal of minutes on a board without sensors, and without any truth."""
    some = [
        Moment(BEGAN_S + 60 * n, BEGAN_S + 60 * n + 60, 40, 0.66, {}, stages, None, None, None, None, None, None, None)
        for n, stages in enumerate([{stage: (value, None, None) for stage, value in MEDIANS_MS.items()}, {}])
    ]
    return report(
        journal(
            "bench-test",
            days=120 / DAY_S,
            runs=[run("r1", BEGAN_S, BEGAN_S + 120, board={}, versions={}, first_inference_ms=None, opened_ms=None)],
            frames=80,
            kept=80,
            drops={},
            governors=[],
            latency=latencies(1.0, steady=80),
            predicted={},
            accuracy=[],
            moments=some,
            events=[],
            notes=[],
        )
    )


def nothing() -> Report:
    """A journal in which nothing was ever written."""
    return report(JournalFigures("empty", "empty.db", [], None, None, 0.0, 0, 0, 0, {}, [], {}, {}, [], [], [], []))


assert set(MEDIANS_MS) == set(STAGES)
