"""Recordings for comparisons: minutes of one journal whose speed and answers are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from edge.histogram import Histogram
from edge.journal import schema
from edge.journal.packing import STATES, STEADY, pack_histograms
from edge.stats import STAGES
from tests.journals import BOOTED_NS, LABELS, NS, insert, insert_many

_TYPICAL_MS = {"wait": 2.0, "preprocess": 1.2, "invoke": 12.0, "postprocess": 0.2}


class Minute(NamedTuple):
    """A window."""

    slower: float = 1.0
    """Factor on all durations."""
    state: int = STEADY
    frames: int = 300
    right: Optional[int] = None
    """Of the frames, those that show the robin that is true; None: nothing is known."""


def record(path: Path, runs: Sequence[Sequence[Minute]], seed: int, *, keep_every: int = 0, **columns: Any) -> Path:
    """Write a journal of some runs, called run-1, run-2 and so on.

    Args:
        path: of the new journal.
        runs: the minutes of each.
        seed: another one gives other durations.
        keep_every: one frame of so many has a row; 0: none has.
        columns: of the rows of `runs`.
    """
    random = np.random.default_rng(seed)
    with closing(schema.connect(path)) as connection:
        connection.execute("BEGIN")
        insert(connection, "models", labels=json.dumps(LABELS))
        for number, minutes in enumerate(runs):
            started_ns = BOOTED_NS + number * 86_400 * NS
            run_id = insert(connection, "runs", run=f"run-{number + 1}", started_ns=started_ns, **columns)
            insert(connection, "clocks", run_id=run_id, since_ns=started_ns)
            for place, minute in enumerate(minutes):
                began_ns = started_ns + place * 60 * NS
                stages_ns = _durations_ns(random, minute)
                _add_window(connection, run_id, began_ns, minute, stages_ns)
                if keep_every:
                    _add_frames(connection, run_id, began_ns, minute, stages_ns, keep_every)
        connection.execute("COMMIT")
    return path


def _durations_ns(random: np.random.Generator, minute: Minute) -> dict[str, Any]:
    stages_ns: dict[str, Any] = {
        stage: (random.lognormal(np.log(typical * minute.slower), 0.18, minute.frames) * 1e6).astype(np.int64)
        for stage, typical in _TYPICAL_MS.items()
    }
    return {**stages_ns, "age": sum(stages_ns.values())}


def _add_window(connection: Any, run_id: int, began_ns: int, minute: Minute, stages_ns: dict[str, Any]) -> None:
    histograms = {stage: Histogram() for stage in STAGES}
    for stage, histogram in histograms.items():
        histogram.add(stages_ns[stage])
    known, wrong = minute.right, minute.frames - (minute.right or 0)
    answers = [[None, 1, wrong, 0]] if known is None else [["robin", 1, known, known], ["robin", 3, wrong, 0]]
    insert(
        *(connection, "windows"),
        run_id=run_id,
        began_ns=began_ns,
        ended_ns=began_ns + 60 * NS,
        frames=minute.frames,
        answers=json.dumps([answer for answer in answers if answer[2]]),
        governor="ondemand",
        histograms=pack_histograms({STATES[minute.state]: histograms}),
    )


def _add_frames(
    connection: Any, run_id: int, began_ns: int, minute: Minute, stages_ns: dict[str, Any], keep_every: int
) -> None:
    rows = [
        {
            "run_id": run_id,
            "sequence": index,
            "monotonic_ns": began_ns + index * 60 * NS // minute.frames,
            **{f"{stage}_ns": int(stages_ns[stage][index]) for stage in STAGES if stage != "age"},
            "state": minute.state,
            "stands_for": keep_every,
        }
        for index in range(0, minute.frames, keep_every)
    ]
    insert_many(connection, "frames", rows)


def varied(minutes: int, seed: int, slower: float = 1.0, spread: float = 0.02, **each: Any) -> list[Minute]:
    """Minutes that differ a little from each other, as those of a board do; `each` are fields of `Minute`."""
    random = np.random.default_rng(seed + 10_000)
    return [Minute(slower * (1 + spread * random.standard_normal()), **each) for _ in range(minutes)]


def pair(folder: Path, first: Sequence[Minute], second: Sequence[Minute], **options: Any) -> tuple[str, str]:
    """Journals of a run each, a.db and b.db; `options` are those of `record`."""
    a, b = (
        record(folder / f"{name}.db", [run], 1 + place, **options)
        for place, (name, run) in enumerate(zip("ab", (first, second)))
    )
    return str(a), str(b)
