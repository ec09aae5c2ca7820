"""How often the model was right, from three sources of truth that are never mixed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Optional

from edge.labels import ClassNames
from edge.report.accuracy.sums import Key, Sums, total
from edge.report.accuracy.varying import Effective
from edge.report.figures import Accuracy, ClassAccuracy, Share
from edge.report.rows import Model
from edge.stats import effective_samples, wilson

TOP = 5
_EPOCH = date(1970, 1, 1)


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


def merged(source: str, title: str, names: Names, sums: Mapping[Key, Sums], effective: Effective) -> Accuracy:
    """The accuracy of one source and model.

    Args:
        source: one of `edge.report.accuracy.sums.SOURCES`.
        title: what to call the model.
        names: of its classes.
        sums: of all frames or pictures of this source and model.
        effective: how much they tell; where it is not known, as much as their weights allow. Classes and days tell as
            much for their weights as the whole: most are too few, or seen too seldom, to be told of by themselves.
    """
    known = {key: each for key, each in sums.items() if each.weight > 0 and names.meant(key.truth)}
    called = names.called({key.truth for key in known})
    classes: defaultdict[str, dict[Key, Sums]] = defaultdict(dict)
    days: defaultdict[int, dict[Key, Sums]] = defaultdict(dict)
    for key, each in known.items():
        classes[called[key.truth]][key] = each
        days[key.day][key] = each
    whole = total(known)
    by_weight = effective_samples(whole.weight, whole.squares)
    less = 1.0 if effective.top1 is None or not by_weight else effective.top1 / by_weight
    of_part = min(1.0, less)
    top5 = total({key: each for key, each in sums.items() if names.meant(key.truth)})
    tells_top5 = len(names.model.labels) > TOP and (top5.of_top5 > 0 or not whole.weight)
    return Accuracy(
        source=source,
        model=title,
        top1=_share(names, known, less),
        top5=_top5(top5, effective.top5) if tells_top5 else None,
        classes=[
            ClassAccuracy(name, _share(names, mine, of_part), _taken_for(names, name, mine))
            for name, mine in sorted(classes.items())
        ],
        days={
            (_EPOCH + timedelta(day)).isoformat(): _share(names, mine, of_part) for day, mine in sorted(days.items())
        },
        unknown=_tidy(sum(each.weight for key, each in sums.items() if not names.meant(key.truth))),
        stretches=effective.stretches,
    )


def _share(names: Names, sums: Mapping[Key, Sums], less: float) -> Share:
    right = sum(each.weight for key, each in sums.items() if key.class_id in names.meant(key.truth))
    whole = total(sums)
    effective = effective_samples(whole.weight, whole.squares) * less
    return share(right, whole.weight, whole.counted, max(1.0, effective) if whole.weight else 0.0)


def _top5(whole: Sums, effective: Optional[float]) -> Share:
    if effective is None:
        effective = effective_samples(whole.of_top5, whole.squares_of_top5)
    return share(whole.in_top5, whole.of_top5, whole.counted_of_top5, effective)


def share(right: float, total: float, counted: float, effective: float) -> Share:
    """A proportion of weighted frames with its interval.

    Args:
        right: sum of the weights of those that are right.
        total: sum of all weights.
        counted: how many there are.
        effective: how many independent ones would tell as much, at least 1; 0 of none.
    """
    if not total:
        return Share(0.0, 0.0, round(counted), None, None, None, 0.0)
    # Where all are right, the two sums may have been rounded differently.
    value = 1.0 if math.isclose(right, total) else min(1.0, right / total)
    low, high = wilson(value * effective, effective) or (0.0, 1.0)
    ends = round(value, 6), round(low, 6), round(high, 6)
    return Share(_tidy(right), _tidy(total), round(counted), *ends, _tidy(effective))


def _taken_for(names: Names, called: str, sums: Mapping[Key, Sums]) -> dict[str, float]:
    taken: defaultdict[str, float] = defaultdict(float)
    for key, each in sums.items():
        taken[called if key.class_id in names.meant(key.truth) else names.model.label(key.class_id)] += each.weight
    return {name: _tidy(weight) for name, weight in sorted(taken.items(), key=lambda item: (-item[1], item[0]))}


def _tidy(weight: float) -> float:
    return round(float(weight), 3)
