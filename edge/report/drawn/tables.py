"""The tables of a page, as rows of text: latency, events, runs and machines, and journals side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import msgspec

from edge.report import backends
from edge.report.drawn.head import is_trouble, temperature, throttled_share
from edge.report.figures import Accuracy, Event, JournalFigures, Latencies, Latency, RunFigures, Share
from edge.report.words import (
    NOT_KNOWN,
    count,
    device,
    interval,
    listed,
    ms,
    number,
    of,
    percent,
    short,
    size,
    span,
    utc,
)
from edge.stats import PERCENTILES, STAGES

MOST_EVENTS = 300
LATENCY_COLUMNS = {"mean": "mean", **{name: name for name in PERCENTILES}, "p999": "p99.9", "min": "min", "max": "max"}
_STATES = ("steady", "throttled", "fallback", "warm-up")
_CALLED = {"fallback": "fallback: the CPU answered"}
_DETAIL = 240
# Of the board at one moment: the time line has them.
_LIVE = frozenset(
    (
        *(
            "memory_available_bytes",
            "load_1min",
            "temperature_c",
            "clock_mhz",
            "governor",
            "throttled",
            "throttled_now",
        ),
        *("throttled_since_boot", "monotonic_ns", "resident_bytes", "coral_temperature_c"),
    )
)
_BOARD = {"model": "board", "cpu": "processor", "machine": "architecture", "os": "OS", "python": "Python"}


class Cell(NamedTuple):
    """Text, and whether it is a figure or the reason why there is none."""

    text: str
    known: bool = True


class LatencyRow(NamedTuple):
    """One stage in one state."""

    stage: str
    samples: str
    cells: list[Cell]
    """In the order of `LATENCY_COLUMNS`."""


class Facts(NamedTuple):
    """The machine and model of runs that have them in common."""

    runs: list[str]
    facts: list[tuple[str, str]]
    configuration: str


def latency(latencies: Latencies) -> dict[str, list[LatencyRow]]:
    """State, with what answered where that differs -> a row for each stage."""
    ordered = [name for state in _STATES for name in latencies if backends.state_of(name) == state]
    ordered += [name for name in latencies if name not in ordered]
    return {
        _CALLED.get(name, name): [
            _latency_row(stage, latencies[name][stage]) for stage in STAGES if stage in latencies[name]
        ]
        for name in ordered
    }


def _latency_row(stage: str, told: Latency) -> LatencyRow:
    cells = []
    for name in LATENCY_COLUMNS:
        value: Optional[float] = getattr(told, name)
        cells.append(Cell(_why(told, name), False) if value is None else Cell(ms(value)))
    return LatencyRow(stage, number(told.samples), cells)


def _why(told: Latency, name: str) -> str:
    """Why there is no such percentile; that it is about samples, the column says."""
    return told.insufficient.get(name, NOT_KNOWN).replace(" samples)", ")")


def events(journal: JournalFigures) -> list[tuple[str, str, bool, str]]:
    """The newest events in their order: when, kind, whether it is trouble, and details."""
    return [
        (utc(event.utc_s, to_seconds=True), event.kind, is_trouble(event.kind), _details(event))
        for event in journal.events[-MOST_EVENTS:]
    ]


def _details(event: Event) -> str:
    detail = event.detail
    if event.kind in (backends.LOST, backends.FOUND) and "backend" in detail:
        where = f"{_plain(detail['backend'])} on {_plain(detail.get('device', NOT_KNOWN))}"
        after_s = detail.get("after")
        back = f", after {span(after_s)}" if isinstance(after_s, (int, float)) else ""
        why = f": {_plain(detail['why'])}" if detail.get("why") else ""
        cause = f" ({_plain(detail['cause'])})" if detail.get("cause") else ""
        return short(f"{where}{cause}{why}{back}", _DETAIL)
    if event.kind == backends.FELL_BACK and "to" in detail:
        return short(f"to {_plain(detail['to'])}: {_plain(detail.get('why', NOT_KNOWN))}", _DETAIL)
    return short("; ".join(f"{name}: {_plain(value)}" for name, value in event.detail.items()), _DETAIL)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(each) for each in value)
    return msgspec.json.encode(value).decode()


def runs(journal: JournalFigures) -> list[list[str]]:
    """For each run: name, from, to, length, why it ended, model, what it ran on, opening, first inference."""
    return [
        [
            run.run,
            utc(run.from_utc_s),
            utc(run.to_utc_s),
            span(run.to_utc_s - run.from_utc_s),
            run.ended_because or "not told",
            run.model,
            _ran_on(run),
            NOT_KNOWN if run.opened_ms is None else f"{ms(run.opened_ms)} ms",
            NOT_KNOWN if run.first_inference_ms is None else f"{ms(run.first_inference_ms)} ms",
        ]
        for run in journal.runs
    ]


def _ran_on(run: RunFigures) -> str:
    """The backend, and how much another one answered in its place."""
    fallen, whole = backends.fallbacks([run])
    instead = f"; the CPU for {percent(of(fallen, whole))} of the frames" if fallen else ""
    return f"{backends.spoken(run.backend)}, {count(run.threads, 'thread')}{instead}"


def machines(journal: JournalFigures) -> list[Facts]:
    """What ran, once for all runs that have it in common."""
    found: dict[tuple[tuple[tuple[str, str], ...], str], list[str]] = {}
    for run in journal.runs:
        configuration = msgspec.json.format(msgspec.json.encode(run.configuration)).decode()
        found.setdefault((tuple(_facts(run)), configuration), []).append(run.run)
    return [Facts(names, list(facts), configuration) for (facts, configuration), names in found.items()]


def _facts(run: RunFigures) -> list[tuple[str, str]]:
    board = {name: value for name, value in run.board.items() if name not in _LIVE and value is not None}
    facts = [("board", NOT_KNOWN)] if "model" not in board else []
    facts += [(_BOARD.get(name, _spaced(name)), _board_value(name, value)) for name, value in board.items()]
    facts += [
        ("camera", run.camera),
        ("AI model", run.model),
        ("its sha256", run.model_sha256),
        ("runtime", run.runtime),
        ("backend", f"{backends.spoken(run.backend)}, {count(run.threads, 'thread')}"),
    ]
    return facts + [(f"version of {name}", version) for name, version in run.versions.items()]


def _board_value(name: str, value: Any) -> str:
    return size(value) if name.endswith("_bytes") and isinstance(value, (int, float)) else _plain(value)


def _spaced(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def side_by_side(journals: Sequence[JournalFigures]) -> list[list[str]]:
    """A row for each journal, of its main figures: what `SIDE_BY_SIDE` heads."""
    return [
        [
            journal.name,
            span(journal.seconds),
            number(journal.frames),
            *_medians(journal),
            _heat(journal),
            percent(throttled_share(journal)),
            _right(journal.accuracy),
            percent(of(sum(journal.drops.values()), sum(journal.drops.values()) + journal.frames)),
        ]
        for journal in journals
    ]


SIDE_BY_SIDE = (
    *("journal", "recorded", "frames", "age p50", "age p90", "invoke p50", "mean °C", "throttled"),
    *("right (95 % interval)", "not classified"),
)


def _medians(journal: JournalFigures) -> list[str]:
    """Of the steady state; of several backends that of most samples, with its name."""
    latencies, several = journal.latency, len({run.backend for run in journal.runs}) > 1
    wanted = (("age", "p50"), ("age", "p90"), ("invoke", "p50"))
    found = []
    for stage, name in wanted:
        main = backends.main_state(latencies, stage)
        if main is None or backends.state_of(main) != "steady":
            found.append(NOT_KNOWN)
            continue
        told = latencies[main][stage]
        value: Optional[float] = getattr(told, name)
        whose = f" ({backends.backend_of(main)})" if several else ""
        found.append((_why(told, name) if value is None else ms(value)) + whose)
    return found


def machine(journal: JournalFigures) -> str:
    """The board, and what the runs are for and how much of that the CPU did."""
    fallen, whole = backends.fallbacks(journal.runs)
    named = listed(list(dict.fromkeys(run.backend for run in journal.runs))) or NOT_KNOWN
    return f"{device(journal)}; {named}" + (f"; {percent(of(fallen, whole))} by the CPU instead" if fallen else "")


def _heat(journal: JournalFigures) -> str:
    told = temperature(journal)
    return NOT_KNOWN if told is None else f"{told[1]:.0f}"


def _right(accuracies: Sequence[Accuracy]) -> str:
    shares: list[Share] = [each.top1 for each in accuracies if each.top1.value is not None]
    return f"{percent(shares[0].value)} ({interval(shares[0])})" if shares else NOT_KNOWN
