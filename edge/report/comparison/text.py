"""A comparison for a person, the verdict last."""

from __future__ import annotations

from typing import Optional

from edge.report.backends import INSTEAD, spoken
from edge.report.comparison.compare import (
    BETTER,
    CANNOT_TELL,
    AccuracyComparison,
    Change,
    Comparison,
    SideFigures,
    StageComparison,
)
from edge.report.comparison.correct import Correct
from edge.report.comparison.sides import KEPT_FRAMES
from edge.report.words import count, listed, percent, span

_ROW = "{:12s}{:>10s}{:>10s}{:>10s}{:>22s}{:>10s}{:>20s}   {}"


def text_of(comparison: Comparison) -> str:
    """What was compared, what differs besides, medians, accuracy, notes, and the verdict on the last line."""
    lines = [_side("A", comparison.a), _side("B", comparison.b), ""]
    if comparison.differs:
        lines.append("Not the same in A and B (which may be the purpose):")
        lines += [f"  {each.what}: {each.a} in A, {each.b} in B" for each in comparison.differs]
        lines.append("")
    lines.append(_ROW.format("median, ms", "A", "B", "B - A", "95 % interval", "%", "95 % interval", "B is").rstrip())
    lines += [_stage(each) for each in comparison.stages]
    for each in comparison.accuracy:
        lines += ["", *_accuracy(each)]
    lines += ["", *comparison.notes, *([""] if comparison.notes else []), verdict(comparison)]
    return "\n".join(lines)


def verdict(comparison: Comparison) -> str:
    """The verdict on the age, or on the only stage, and on accuracy, in one line.

    Such as "B is faster: age 3.1 ms less (-12.0 %, 95 % interval -14.0 to -10.2 %); accuracy: cannot tell (+0.4 points,
    -1.2 to +2.0)."
    """
    told = [_speed(next((each for each in comparison.stages if each.stage == "age"), comparison.stages[0]))]
    comparable = [each for each in comparison.accuracy if each.change_points]
    for each in comparable or comparison.accuracy[:1]:
        what = f"accuracy ({each.source})" if len(comparable) > 1 else "accuracy"
        told.append(f"{what}: {each.verdict}{_in_brackets(each.change_points, each.reason)}")
    return "; ".join(told if comparison.accuracy else [*told, f"accuracy: {CANNOT_TELL} (no truth is known)"]) + "."


def _speed(told: StageComparison) -> str:
    change, percent = told.change_ms, told.change_percent
    if change is None:
        return f"Speed: {CANNOT_TELL} ({told.reason})"
    how = f"{told.stage} {_ms(abs(change.value))} ms {'less' if change.value < 0 else 'more'}"
    if not change.value:
        how = f"{told.stage} the same"
    if percent:
        how += f" ({percent.value:+.1f} %, 95 % interval {_ends(percent)} %)"
    if told.verdict == CANNOT_TELL:
        return f"Speed: {CANNOT_TELL} ({told.reason}): {how}"
    return f"B is {'faster' if told.verdict == BETTER else 'slower'}: {how}"


def _side(name: str, side: SideFigures) -> str:
    runs = f"run {side.runs[0]}" if len(side.runs) == 1 else count(len(side.runs), "run")
    used = listed([spoken(each) for each in side.backends])
    aside = [
        f"{number:,} {INSTEAD.get(state, state)}"
        for state, number in side.samples.items()
        if state != "steady" and number
    ]
    left = f"; left aside: {', '.join(aside)}" if aside else ""
    basis = f" by {count(side.compared, 'kept frame')}" if side.basis == KEPT_FRAMES and side.compared else ""
    return (
        f"{name}: {side.name}, {runs} on {used}, {span(side.seconds)}, {count(side.frames, 'frame')}: "
        f"{side.samples['steady']:,} steady ones compared{basis}{left}."
    )


def _stage(told: StageComparison) -> str:
    change, percent = told.change_ms, told.change_percent
    return _ROW.format(
        told.stage,
        _ms(told.a_ms),
        _ms(told.b_ms),
        f"{change.value:+.3f}" if change else "-",
        f"{change.low:+.3f} to {change.high:+.3f}" if change else "-",
        f"{percent.value:+.1f}" if percent else "-",
        _ends(percent) if percent else "-",
        told.verdict + (f" ({told.reason})" if told.reason else ""),
    )


def _accuracy(told: AccuracyComparison) -> list[str]:
    lines = [f"top-1, truth from: {told.source}"]
    lines += [_correct(name, side) for name, side in (("A", told.a), ("B", told.b)) if side]
    return [*lines, f"  B is: {told.verdict}{_in_brackets(told.change_points, told.reason)}"]


def _correct(name: str, side: Correct) -> str:
    told = f"{percent(side.value)} (95 % interval {100 * side.low:.1f} to {100 * side.high:.1f} %)"
    alike = f"which tell as much as {count(round(side.effective), 'independent one')}"
    return f"  {name}: {told} of {count(side.counted, 'frame')}, {alike}"


def _in_brackets(points: Optional[Change], reason: Optional[str]) -> str:
    if points is None:
        return f" ({reason})" if reason else ""
    return f" ({points.value:+.1f} points, {_ends(points)})"


def _ends(change: Change) -> str:
    return f"{change.low:+.1f} to {change.high:+.1f}"


def _ms(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.3f}"
