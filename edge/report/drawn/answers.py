"""The tables of what the model answered: accuracy by source and by class, confusion, and what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from edge.report.figures import Accuracy, ClassAccuracy, JournalFigures
from edge.report.words import interval, number, of, percent, short

MOST_CLASSES = 20
"""Of a confusion matrix; the others are one."""
MOST_ROWS = 60
"""Of a table of classes."""
OTHERS = "others"


class Counted(NamedTuple):
    """One place of a confusion matrix."""

    text: str
    shade: float
    """Share of the row, in [0, 1]."""
    right: bool


class Confusion(NamedTuple):
    """What was taken for what: rows are the truth, columns the answers."""

    columns: list[str]
    rows: list[tuple[str, str, list[Counted]]]
    """Truth, its frames, and the counts."""
    folded: int
    """Classes that are among the others."""


def accuracy(accuracies: Sequence[Accuracy]) -> list[list[str]]:
    """For each source and model: both, top-1, interval, top-5, interval, looked at, effective, standing, unknown."""
    return [
        [
            each.source,
            each.model,
            percent(each.top1.value),
            interval(each.top1),
            "not told" if each.top5 is None else percent(each.top5.value),
            "" if each.top5 is None else interval(each.top5),
            number(each.top1.counted),
            number(round(each.top1.effective)),
            number(round(each.top1.total)),
            number(round(each.unknown)),
        ]
        for each in accuracies
    ]


def classes(told: Accuracy) -> list[list[str]]:
    """For the most frequent classes: name, share right, interval, frames looked at, and the main mistakes."""
    ordered = sorted(told.classes, key=lambda each: -each.top1.total)
    return [
        [each.truth, percent(each.top1.value), interval(each.top1), number(each.top1.counted), _mistakes(each)]
        for each in ordered[:MOST_ROWS]
    ]


def _mistakes(told: ClassAccuracy) -> str:
    wrong = [
        f"{short(name, 40)} ({percent(of(weight, told.top1.total))})"
        for name, weight in told.taken_for.items()
        if name != told.truth and weight
    ]
    return ", ".join(wrong[:3]) or "nothing else"


def confusion(told: Accuracy) -> Confusion:
    """What was taken for what, with at most `MOST_CLASSES` classes; the least frequent ones are folded into one."""
    weights: dict[str, float] = {}
    for each in told.classes:
        for name, weight in ((each.truth, each.top1.total), *each.taken_for.items()):
            weights[name] = weights.get(name, 0.0) + weight
    ordered = sorted(weights, key=lambda name: (-weights[name], name))
    # One class alone is not folded: its name takes no more room.
    named = ordered if len(ordered) <= MOST_CLASSES + 1 else ordered[:MOST_CLASSES]
    folded = len(ordered) - len(named)
    columns = [*named, *[None] * bool(folded)]
    counts: dict[tuple[Optional[str], Optional[str]], float] = {}
    for each in told.classes:
        for name, weight in each.taken_for.items():
            place = (each.truth if each.truth in named else None, name if name in named else None)
            counts[place] = counts.get(place, 0.0) + weight
    rows = []
    for truth in columns:
        whole = sum(counts.get((truth, answer), 0.0) for answer in columns)
        if whole:
            cells = [
                _counted(counts.get((truth, answer), 0.0), whole, truth == answer and truth is not None)
                for answer in columns
            ]
            rows.append((OTHERS if truth is None else truth, number(round(whole)), cells))
    return Confusion([OTHERS if name is None else name for name in columns], rows, folded)


def _counted(weight: float, whole: float, right: bool) -> Counted:
    text = "" if not weight else number(round(weight)) if weight >= 0.5 else "<1"
    return Counted(text, round(weight / whole, 3), right)


def predicted(journal: JournalFigures) -> list[tuple[str, str, str, float]]:
    """The most frequent answers: name, frames, share in words, and share of the most frequent one."""
    rows = list(journal.predicted.items())
    named = rows if len(rows) <= MOST_CLASSES + 1 else rows[:MOST_CLASSES]
    rest = rows[len(named) :]
    if rest:
        named = [*named, (f"{number(len(rest))} {OTHERS}", sum(frames for _, frames in rest))]
    whole = sum(frames for _, frames in rows)
    most = max((frames for _, frames in named), default=0)
    return [(name, number(frames), percent(of(frames, whole)), round(frames / most, 4)) for name, frames in named]
