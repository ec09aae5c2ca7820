"""How often answers were right, and how much that says when answers that follow each other resemble each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Optional

import msgspec
import numpy as np

from edge.report.accuracy.accuracy import KNOWN, LABELLED, Merged, Names
from edge.report.accuracy.truths import Truths
from edge.report.comparison.resampling import CONFIDENCE, blocks_for, student
from edge.report.reading import Reader
from edge.report.rows import Window
from edge.stats import effective_samples, wilson


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


class Stretches:
    """How much the share of right answers varies from one time to another, by source of truth.

    A camera sees one thing for long, and the model then errs for long: a thousand frames of a minute say little more
    than a few.
    """

    def __init__(self, reader: Reader, truths: Truths) -> None:
        """Begin with none."""
        self._reader = reader
        self._truths = truths
        self._names = {run.id: Names(run.model) for run in reader.runs.values()}
        self._counts: dict[str, list[tuple[int, int]]] = {KNOWN: [], LABELLED: []}

    def add_window(self, window: Window) -> None:
        """Take in the next window; where labels cut through it, roughly."""
        names = self._names[window.run_id]
        source, truth = KNOWN, None
        if self._truths.said:
            middle_ns = np.array([(window.began_ns + window.ended_ns) // 2], np.int64)
            newest = int(self._truths.of_spans(self._reader.clock(window.run_id).utc_ns(middle_ns))[0])
            if newest >= 0:
                source, truth = LABELLED, self._truths.said[newest]
                if truth is None:
                    return
        right = total = 0
        for answer in window.answers:
            true = truth or answer.truth
            if true and (meant := names.meant(true)):
                total += answer.frames
                right += answer.frames if answer.class_id in meant else 0
        if total:
            self._counts[source].append((right, total))

    def effective(self, source: str) -> Optional[tuple[int, float]]:
        """The number of stretches, and of independent answers that would vary as much as they do.

        Windows in time order are gathered into stretches. The variance of a ratio over them (W. G. Cochran, "Sampling
        techniques" (1977), 2.11 and 9A) is that of so many independent answers. As few stretches know their own
        variance badly, Student's t stands in place of z: E. L. Korn and B. I. Graubard, "Confidence intervals for
        proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24
        (1998). Where all are right, or none, nothing varies and each stretch counts as one answer.

        Returns:
            None where windows tell nothing of this source.
        """
        if source not in self._counts:
            return None
        counts = self._counts[source]
        parts = np.array_split(np.array(counts, np.float64).reshape(-1, 2), max(1, blocks_for(len(counts))))
        right, total = np.array([part.sum(axis=0) for part in parts]).T
        if not counts:
            return 0, 0.0
        stretches, share = len(total), float(right.sum() / total.sum())
        if stretches < 2 or not 0 < share < 1:
            return stretches, float(stretches)
        apart = right - share * total
        variance = stretches / (stretches - 1) * float(apart @ apart) / float(total.sum()) ** 2
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        smaller = (z / student(stretches - 1)) ** 2
        return stretches, max(1.0, share * (1 - share) / variance * smaller) if variance else math.inf


def correct_by_source(merged: Sequence[Merged], stretches: Stretches) -> dict[str, Correct]:
    """The shares of right first predictions by source of truth, those of several models together."""
    told = {}
    for source in dict.fromkeys(each.accuracy.source for each in merged):
        mine = [each for each in merged if each.accuracy.source == source]
        share = _correct(mine, stretches.effective(source))
        if share:
            told[source] = share
    return told


def _correct(merged: Iterable[Merged], varying: Optional[tuple[int, float]]) -> Optional[Correct]:
    shares = [(each.accuracy.top1, each.squares) for each in merged]
    right, total = (sum(part) for part in zip(*((share.right, share.total) for share, _ in shares)))
    if not total:
        return None
    effective = effective_samples(total, sum(squares for _, squares in shares))
    if varying:
        effective = max(1.0, min(effective, varying[1]))
    value = min(1.0, right / total)
    ends = wilson(value * effective, effective)
    assert ends is not None  # effective is at least 1
    counted = sum(share.counted for share, _ in shares)
    return Correct(right, total, counted, value, *ends, effective, varying[0] if varying else None)
