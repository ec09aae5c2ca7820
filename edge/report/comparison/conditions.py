"""What should be equal for two recordings to be compared, and what a reader should know of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional

import msgspec

from edge.journal.packing import CPU, FALLBACK, STATES, STEADY, THROTTLED
from edge.report.backends import is_stand_in, spoken
from edge.report.comparison.sides import KEPT_FRAMES, Side
from edge.report.rows import Run
from edge.report.stretches import FEWEST_BLOCKS
from edge.report.words import listed, percent

NOTHING = "not known"
_SHORT_S = 60
"""Source: MLPerf Mobile, which measures for at least so long."""


class Differs(msgspec.Struct, frozen=True):
    """Something that the two sides do not have in common."""

    what: str
    a: str
    b: str


def differing(a: Side, b: Side) -> list[Differs]:
    """What is different: the machine, the model, what ran it, the camera, and what the board went through."""
    pairs = {what: (_of_runs(a, what), _of_runs(b, what)) for what in _OF_RUNS}
    pairs["versions"] = _versions(a), _versions(b)
    pairs["governor"] = _joined(a.governors), _joined(b.governors)
    found = [Differs(what, *both) for what, both in pairs.items() if both[0] != both[1]]
    for what, measure, least, form in _MEASURED:
        first, second = measure(a), measure(b)
        if first is not None and second is not None and abs(first - second) <= least(first):
            continue
        if first is not second:
            found.append(Differs(what, *(NOTHING if each is None else form(each) for each in (first, second))))
    return found


def notes(sides: Mapping[str, Side]) -> list[str]:
    """What a reader should know of the sides before trusting a figure, a sentence each."""
    told = []
    for name, side in sides.items():
        models = {run.model.id for run in side.runs}
        if len(models) > 1:
            told.append(f"{name} mixes runs of {len(models)} models: compare single runs, as in JOURNAL:1.")
        told += _of_backends(name, side)
        if side.damaged:
            told.append(f"{name} has damaged windows, {side.damaged} in all; what of them could be read is counted.")
        if side.samples[STATES[STEADY]] and side.seconds < _SHORT_S:
            told.append(f"{name} is {side.seconds:.0f} s long, too short for a board to grow warm.")
        if side.basis == KEPT_FRAMES and side.used:
            told.append(
                f"{name} has fewer than {FEWEST_BLOCKS} minutes of steady samples: shorter stretches of kept frames "
                "are taken, which may be too much alike for the intervals to be wide enough."
            )
    alone = [name for name, side in sides.items() if len(side.runs) == 1]
    if alone:
        which = f"{alone[0]} is" if len(alone) == 1 else "Each side is"
        told.append(f"{which} one run: what may differ from one start of the program to the next is in no interval.")
    return told


def _of_backends(name: str, side: Side) -> list[str]:
    """What is to be said of a side that is not of one backend that really is one, and answered all."""
    told = []
    used = list(dict.fromkeys(run.backend for run in side.runs))
    if len(used) > 1:
        told.append(f"{name} mixes runs for several backends ({listed(used)}): compare single runs, as in JOURNAL:1.")
    told += [f"{name} ran on {spoken(backend)}." for backend in used if is_stand_in(backend)]
    share = _fallen(side)
    if share:
        meant = listed([backend for backend in used if backend != CPU])
        told.append(
            f"In {name} the CPU answered {percent(share)} of the frames in place of {meant}: their latency is left "
            "aside, their answers count in its accuracy."
        )
    return told


def _fallen(side: Side) -> Optional[float]:
    whole = sum(side.samples.values())
    return side.samples[STATES[FALLBACK]] / whole if whole else None


def _versions(side: Side) -> str:
    return _joined(
        ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())) for run in side.runs
    )


def _rate(side: Side) -> Optional[float]:
    return side.frames / side.seconds if side.seconds else None


def _throttled(side: Side) -> Optional[float]:
    warm = side.samples[STATES[STEADY]] + side.samples[STATES[THROTTLED]]
    return side.samples[STATES[THROTTLED]] / warm if warm else None


def _size(run: Run) -> Optional[str]:
    camera: Any = run.configuration.get("camera")
    if not isinstance(camera, dict) or "width_px" not in camera:
        return None
    return f"{camera['width_px']}x{camera.get('height_px')}"


_OF_RUNS: dict[str, Callable[[Run], object]] = {
    "board": lambda run: run.board.get("model") or run.board.get("cpu"),
    "system": lambda run: " ".join(str(run.board[key]) for key in ("os", "kernel") if key in run.board),
    "model": lambda run: f"{run.model.name} ({run.model.sha256[:8]})",
    "runtime": lambda run: f"{run.runtime} {run.runtime_version}",
    "backend": lambda run: run.backend,
    "threads": lambda run: run.threads,
    "camera": lambda run: run.camera,
    "camera size": _size,
}


_MEASURED: tuple[
    tuple[str, Callable[[Side], Optional[float]], Callable[[float], float], Callable[[float], str]], ...
] = (
    ("frames a second", _rate, lambda rate: 0.05 * rate, "{:.1f}".format),
    ("throttled frames", _throttled, lambda _: 0.01, percent),
    ("answered by the CPU instead", _fallen, lambda _: 0.01, percent),
    ("mean temperature", lambda side: side.temperature_c, lambda _: 3.0, "{:.1f} °C".format),
)
"""What is measured, how, by how much it must differ to be told, and how it is written."""


def _of_runs(side: Side, what: str) -> str:
    return _joined(str(_OF_RUNS[what](run) or NOTHING) for run in side.runs)


def _joined(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts)) or NOTHING
