"""The shares of right answers of one side, and how many independent answers would tell as much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import msgspec

from edge.report.accuracy.sums import REVIEWED
from edge.report.accuracy.tally import Tally
from edge.report.accuracy.varying import Effective, limited
from edge.report.figures import Accuracy
from edge.stats import wilson


class Correct(msgspec.Struct, frozen=True):
    """A share of right answers, and how many independent answers would tell as much."""

    right: float
    """Weighted count: a frame stands for as many as its sampling says."""
    total: float
    counted: int
    """Frames or pictures that were really looked at."""
    value: float
    low: float
    """Of the 95 % Wilson interval of `effective` answers."""
    high: float
    effective: float
    stretches: Optional[int]
    """Of neighbouring time, whose differences are in `effective`; None of a sample, whose pictures lie far apart."""


def correct_by_source(tally: Tally) -> dict[str, Correct]:
    """The shares of right first predictions by source of truth, those of several models together."""
    accuracies = tally.told()
    told = {}
    for source in dict.fromkeys(each.source for each in accuracies):
        mine = [each for each in accuracies if each.source == source and each.top1.total]
        if mine:
            told[source] = _correct(mine, Effective() if source == REVIEWED else tally.varying.told(source))
    return told


def _correct(accuracies: Sequence[Accuracy], varying: Effective) -> Correct:
    shares = [each.top1 for each in accuracies]
    right, total = sum(each.right for each in shares), sum(each.total for each in shares)
    # The variance of several shares together is that of each by the square of its part of the whole.
    effective = limited(total, sum(each.total**2 / each.effective for each in shares), varying.top1)
    value = min(1.0, right / total)
    low, high = wilson(value * effective, effective) or (0.0, 1.0)
    counted = sum(each.counted for each in shares)
    return Correct(right, total, counted, value, low, high, effective, varying.stretches)
