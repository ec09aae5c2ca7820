"""Which backend answered: its name for a person, and latencies of several backends kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from edge.journal.packing import CPU, FALLBACK, STATES, STEADY, Histograms
from edge.report.figures import Event, Latencies, RunFigures

INSTEAD = {STATES[FALLBACK]: "answered by the CPU instead"}
"""How a state is told of whose name alone says too little."""
LOST, FOUND, FELL_BACK = "backend lost", "backend found", "fell back"
"""Kinds of events; they are told of with what `edge.runtimes` says."""
_STAND_IN = "-standin"
_ON = " on "


def is_stand_in(backend: str) -> bool:
    """Whether it only takes an accelerator's place in a test."""
    return backend.endswith(_STAND_IN)


def spoken(backend: str) -> str:
    """The backend's name, and that it is none where it is a stand-in."""
    return f"{backend}, a stand-in whose latency is no Edge TPU's" if is_stand_in(backend) else backend


def warning(runs: Iterable[RunFigures], name: str) -> str:
    """A sentence, with a space before it, where some of the runs are of a stand-in; else nothing."""
    return (
        f" {name} ran on a stand-in: its latency is no Edge TPU's." if any(is_stand_in(r.backend) for r in runs) else ""
    )


def answered_by(backend: Optional[str], state: Optional[int]) -> Optional[str]:
    """What answered a frame.

    Args:
        backend: that its run is for; None where the run is not known.
        state: of the frame, as the journal has it.
    """
    return CPU if state == FALLBACK else backend


def apart(by_backend: Mapping[str, Histograms]) -> Histograms:
    """One set of histograms, in which no two backends share one.

    States are called as they are where all runs are for one backend, else "steady on cpu", "steady on edgetpu". Those
    of a stand-in always tell its name. What the CPU answered in another's place is the CPU's: "fallback".
    """
    several = len(by_backend) > 1
    together: Histograms = {}
    for backend, histograms in by_backend.items():
        for state, stages in histograms.items():
            named = state != STATES[FALLBACK] and (several or is_stand_in(backend))
            mine = together.setdefault(f"{state}{_ON}{backend}" if named else state, {})
            for stage, histogram in stages.items():
                if stage in mine:
                    mine[stage].merge(histogram)
                else:
                    mine[stage] = histogram
    return together


def state_of(name: str) -> str:
    """The state of "steady on cpu", or of "steady"."""
    return name.partition(_ON)[0]


def backend_of(name: str) -> Optional[str]:
    """The backend of "steady on cpu"; None of "steady"."""
    return name.partition(_ON)[2] or None


def main_state(latencies: Latencies, stage: str) -> Optional[str]:
    """The steady state, that of most samples where there are several; without any, whichever has most."""
    states = [name for name, stages in latencies.items() if stage in stages]
    steady = [name for name in states if state_of(name) == STATES[STEADY]]
    return max(steady or states, key=lambda name: latencies[name][stage].samples, default=None)


def samples(latencies: Latencies) -> dict[str, int]:
    """State -> answers of whatever backend."""
    told: dict[str, int] = {}
    for name, stages in latencies.items():
        if "age" in stages:
            told[state_of(name)] = told.get(state_of(name), 0) + stages["age"].samples
    return told


def accelerators(runs: Iterable[RunFigures]) -> list[str]:
    """What the runs are for that are for something else than the CPU."""
    return list(dict.fromkeys(run.backend for run in runs if run.backend != CPU))


def fallbacks(runs: Sequence[RunFigures]) -> tuple[int, int]:
    """Of the answers in runs for accelerators: how many were the CPU's, and how many there were."""
    states = [run.states for run in runs if run.backend != CPU]
    return sum(each.get(STATES[FALLBACK], 0) for each in states), sum(sum(each.values()) for each in states)


def times_lost(events: Iterable[Event]) -> int:
    """How often an accelerator was lost: what else went wrong before it was found again is of the same loss."""
    away: set[tuple[str, str]] = set()
    times = 0
    for event in events:
        which = event.run, str(event.detail.get("device"))
        if event.kind == LOST:
            times += which not in away
            away.add(which)
        elif event.kind == FOUND:
            away.discard(which)
    return times
