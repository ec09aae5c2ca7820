"""Compares two runs or journals: medians of each stage and accuracy, with intervals and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import msgspec

from edge import __version__
from edge.journal.packing import STATES, STEADY
from edge.records import NS_PER_MS
from edge.report.accuracy.sums import SOURCES
from edge.report.backends import INSTEAD, is_stand_in
from edge.report.comparison.conditions import Differs, differing, notes
from edge.report.comparison.correct import Correct
from edge.report.comparison.resampling import Blocks, Interval, difference_of_medians, median_ns
from edge.report.comparison.sides import Side, place_of, read_side
from edge.report.stretches import FEWEST_BLOCKS
from edge.stats import STAGES, in_ms, minimum_samples, newcombe

BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"
_STEADY = STATES[STEADY]
_HOLDS_ZERO = "the interval holds 0"


class Change(msgspec.Struct, frozen=True):
    """B less A, with its 95 % interval."""

    value: float
    low: float
    high: float


class StageComparison(msgspec.Struct, frozen=True):
    """The medians of one stage, of steady samples only."""

    stage: str
    a_ms: Optional[float]
    """None with too few samples."""
    b_ms: Optional[float]
    change_ms: Optional[Change]
    change_percent: Optional[Change]
    """Of A's median."""
    verdict: str
    """Of B: "better" (less), "worse" or "cannot tell"."""
    reason: Optional[str]
    """Why it cannot be told."""


class AccuracyComparison(msgspec.Struct, frozen=True):
    """The shares of right first predictions, where the truth is from one source."""

    source: str
    a: Optional[Correct]
    """None where nothing is known."""
    b: Optional[Correct]
    change_points: Optional[Change]
    verdict: str
    """Of B: "better" (more), "worse" or "cannot tell"."""
    reason: Optional[str]


class SideFigures(msgspec.Struct, frozen=True):
    """What was compared."""

    name: str
    """As it was given."""
    runs: list[str]
    backends: list[str]
    """What the runs are for."""
    seconds: float
    """Time that is recorded."""
    frames: int
    samples: dict[str, int]
    """State -> frames; only the steady ones are compared, none that the CPU answered in another's place (fallback)."""
    basis: str
    """"windows", or "kept frames" where there are too few windows."""
    compared: int
    """Steady samples in the basis."""
    blocks: int
    """Stretches of time that were resampled."""


class Comparison(msgspec.Struct, frozen=True):
    """All that a comparison tells; A is the baseline."""

    edge_runner: str
    """Version that made it."""
    a: SideFigures
    b: SideFigures
    differs: list[Differs]
    """What should be equal for the comparison to mean something, unless it is its purpose."""
    notes: list[str]
    """What a reader should know before trusting a figure, a sentence each."""
    stages: list[StageComparison]
    accuracy: list[AccuracyComparison]


def compare(a: str, b: str, stages: Sequence[str] = STAGES) -> Comparison:
    """Compare two runs or journals.

    Args:
        a: the baseline: `JOURNAL` or `JOURNAL:RUN`, see `edge.report.comparison.sides`.
        b: what is compared with it.
        stages: some of `edge.stats.STAGES`.

    Raises:
        JournalError: a journal cannot be read, or has no such run.
    """
    sides = {name: read_side(place_of(text)) for name, text in (("A", a), ("B", b))}
    first, second = sides["A"], sides["B"]
    return Comparison(
        edge_runner=__version__,
        a=_figures(a, first),
        b=_figures(b, second),
        differs=differing(first, second),
        notes=notes(sides),
        stages=[compare_stage(stage, first, second) for stage in stages],
        accuracy=_accuracies(first, second),
    )


def compare_stage(stage: str, a: Side, b: Side) -> StageComparison:
    """Compare the medians of one stage."""
    blocks_a, blocks_b = a.blocks[stage], b.blocks[stage]
    missing = _missing("A", a, blocks_a) or _missing("B", b, blocks_b)
    if missing or blocks_a is None or blocks_b is None:
        medians_ms = _median_ms(a, blocks_a), _median_ms(b, blocks_b)
        return StageComparison(stage, *medians_ms, None, None, CANNOT_TELL, missing)
    told = difference_of_medians(blocks_a, blocks_b)
    change = told.difference_ns
    reason = None
    if abs(change.value) < told.resolution_ns:
        reason = "no difference that this journal can resolve"
    elif change.low <= 0 <= change.high:
        reason = _HOLDS_ZERO
    return StageComparison(
        stage,
        in_ms(told.first_ns),
        in_ms(told.second_ns),
        _change(change, 1 / NS_PER_MS, 4),
        _change(told.ratio, 100, 2) if told.ratio else None,
        CANNOT_TELL if reason else BETTER if change.value < 0 else WORSE,
        reason,
    )


def compare_accuracy(source: str, a: Optional[Correct], b: Optional[Correct]) -> AccuracyComparison:
    """Compare two shares of right answers; their intervals are those of `Correct.effective` answers each."""
    missing = _untold("A", a) or _untold("B", b)
    ends = newcombe(a.value * a.effective, a.effective, b.value * b.effective, b.effective) if a and b else None
    if missing or ends is None or a is None or b is None:
        return AccuracyComparison(source, a, b, None, CANNOT_TELL, missing)
    value = b.value - a.value
    reason = _HOLDS_ZERO if ends[0] <= 0 <= ends[1] else None
    verdict = CANNOT_TELL if reason else BETTER if value > 0 else WORSE
    return AccuracyComparison(source, a, b, _change(Interval(value, *ends), 100, 2), verdict, reason)


def _accuracies(a: Side, b: Side) -> list[AccuracyComparison]:
    known = [source for source in SOURCES if source in a.correct or source in b.correct]
    return [compare_accuracy(source, a.correct.get(source), b.correct.get(source)) for source in known]


def _untold(name: str, side: Optional[Correct]) -> Optional[str]:
    if side is None:
        return f"{name} knows no truth of this kind"
    if side.stretches is not None and side.stretches < FEWEST_BLOCKS:
        return f"the truth is known in {_count(side.stretches, 'minute')} of {name}, of at least {FEWEST_BLOCKS} needed"
    return None


def _missing(name: str, side: Side, blocks: Optional[Blocks]) -> Optional[str]:
    """Why a side's samples are too few."""
    least = minimum_samples(0.5)
    if _mixes(side):
        return f"{name} mixes runs for several backends"
    if any(is_stand_in(run.backend) for run in side.runs):
        return f"{name} ran on a stand-in, whose latency is nobody's"
    if blocks is None or not side.used:
        counted = [(state, count) for state, count in side.samples.items() if count and state != _STEADY]
        aside = ", ".join(f"{count:,} {INSTEAD.get(state, state)}" for state, count in counted)
        return f"{name} has no steady samples" + (f" (only {aside})" if aside else "")
    if side.used < least:
        return f"{name} has {_count(side.used, 'steady sample')}, of at least {least} needed"
    if len(blocks.counts) < FEWEST_BLOCKS:
        return (
            f"{name} has steady samples in {_count(len(blocks.counts), 'minute')}, of at least {FEWEST_BLOCKS} needed"
        )
    return None


def _median_ms(side: Side, blocks: Optional[Blocks]) -> Optional[float]:
    if blocks is None or side.used < minimum_samples(0.5) or _mixes(side):
        return None
    return in_ms(median_ns(blocks))


def _mixes(side: Side) -> bool:
    return len({run.backend for run in side.runs}) > 1


def _figures(name: str, side: Side) -> SideFigures:
    ages = side.blocks["age"]
    return SideFigures(
        name=name,
        runs=[run.run for run in side.runs],
        backends=list(dict.fromkeys(run.backend for run in side.runs)),
        seconds=round(side.seconds, 3),
        frames=side.frames,
        samples=side.samples,
        basis=side.basis,
        compared=side.used,
        blocks=0 if ages is None else len(ages.counts),
    )


def _change(interval: Interval, unit: float, digits: int) -> Change:
    # Adding 0 makes a 0 of what would be printed as -0.
    return Change(*(round(each * unit, digits) + 0.0 for each in interval))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
