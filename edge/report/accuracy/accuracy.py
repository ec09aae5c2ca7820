"""How often the model was right, from three sources of truth that are never mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from edge.labels import ClassNames
from edge.report.figures import Accuracy, ClassAccuracy, Share
from edge.report.rows import Model
from edge.stats import wilson_weighted

KNOWN, LABELLED, REVIEWED = SOURCES = ("known at the time", "labels", "reviewed pictures")
_TOP = 5
_EPOCH = date(1970, 1, 1)


class Sums(NamedTuple):
    """Of frames or pictures that have something in common."""

    weight: float = 0.0
    in_top5: float = 0.0
    squares: float = 0.0
    """Of their weights."""
    counted: int = 0

    def plus(self, other: Sums) -> Sums:
        """Of these and the others."""
        return Sums(
            self.weight + other.weight,
            self.in_top5 + other.in_top5,
            self.squares + other.squares,
            self.counted + other.counted,
        )


class Key(NamedTuple):
    """What frames or pictures have in common."""

    source: str
    model_id: int
    truth: str
    class_id: int
    """The first prediction."""
    day: int
    """UTC, from 1970-01-01."""


class Merged(NamedTuple):
    """An accuracy and what it takes to merge it with others."""

    accuracy: Accuracy
    squares: float
    """Of the weights of all that `accuracy.top1` counts."""


class Names:
    """Which classes of a model a truth means, looked up once for each name."""

    def __init__(self, model: Model) -> None:
        """Take the model's labels."""
        self.model = model
        self._classes = ClassNames(model.labels)
        self._meant: dict[str, frozenset[int]] = {}

    def meant(self, truth: str) -> frozenset[int]:
        """The classes; none when the truth is no class of the model."""
        if truth not in self._meant:
            self._meant[truth] = self._classes.find(truth)
        return self._meant[truth]

    def called(self, truths: Iterable[str]) -> dict[str, str]:
        """What each truth is called: its class's label, or where it stands for several classes itself."""
        called: dict[frozenset[int], str] = {}
        for truth in sorted(truths):
            meant = self.meant(truth)
            called.setdefault(meant, self.model.label(min(meant)) if len(meant) == 1 else truth)
        return {truth: called[self.meant(truth)] for truth in truths}


def merged(source: str, title: str, names: Names, sums: Mapping[Key, Sums]) -> Merged:
    """The accuracy of one source and model.

    Args:
        source: one of `SOURCES`.
        title: what to call the model.
        names: of its classes.
        sums: of all frames or pictures of this source and model.
    """
    known = {key: each for key, each in sums.items() if names.meant(key.truth)}
    called = names.called({key.truth for key in known})
    classes: defaultdict[str, dict[Key, Sums]] = defaultdict(dict)
    days: defaultdict[int, dict[Key, Sums]] = defaultdict(dict)
    for key, each in known.items():
        classes[called[key.truth]][key] = each
        days[key.day][key] = each
    accuracy = Accuracy(
        source=source,
        model=title,
        top1=_share(names, known),
        top5=_share(names, known, top5=True) if len(names.model.labels) > _TOP else None,
        classes=[
            ClassAccuracy(name, _share(names, mine), _taken_for(names, name, mine))
            for name, mine in sorted(classes.items())
        ],
        days={(_EPOCH + timedelta(day)).isoformat(): _share(names, mine) for day, mine in sorted(days.items())},
        unknown=_tidy(sum(each.weight for key, each in sums.items() if key not in known)),
    )
    return Merged(accuracy, sum(each.squares for each in known.values()))


def _share(names: Names, sums: Mapping[Key, Sums], top5: bool = False) -> Share:
    if top5:
        right = sum(each.in_top5 for each in sums.values())
    else:
        right = sum(each.weight for key, each in sums.items() if key.class_id in names.meant(key.truth))
    total = Sums()
    for each in sums.values():
        total = total.plus(each)
    return share(right, total.weight, total.counted, total.squares)


def share(right: float, total: float, counted: int, squares: float) -> Share:
    """A proportion of weighted frames with its interval.

    Args:
        right: sum of the weights of those that are right.
        total: sum of all weights.
        counted: how many there are.
        squares: sum of the squares of all weights.
    """
    interval = wilson_weighted(right, total, squares)
    low, high = (None, None) if interval is None else (round(interval[0], 6), round(interval[1], 6))
    return Share(_tidy(right), _tidy(total), counted, round(right / total, 6) if total else None, low, high)


def _taken_for(names: Names, called: str, sums: Mapping[Key, Sums]) -> dict[str, float]:
    taken: defaultdict[str, float] = defaultdict(float)
    for key, each in sums.items():
        taken[called if key.class_id in names.meant(key.truth) else names.model.label(key.class_id)] += each.weight
    return {name: _tidy(weight) for name, weight in sorted(taken.items(), key=lambda item: (-item[1], item[0]))}


def _tidy(weight: float) -> float:
    return round(float(weight), 3)
