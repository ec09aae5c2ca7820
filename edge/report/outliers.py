"""Which of several journals differ from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from edge.report.accuracy.accuracy import share
from edge.report.figures import Accuracy, JournalFigures, Share
from edge.report.stretches import FEWEST_BLOCKS
from edge.report.words import interval, percent
from edge.stats import effective_samples

FEWEST_JOURNALS = 3
_MOST_SCORE = 3.5
_LEAST_SPREAD = 0.01
"""Of the median: of devices that are all but equal none is an outlier."""


def outliers(journals: Sequence[JournalFigures]) -> list[str]:
    """A sentence for each journal whose age of results or accuracy differs from that of the others.

    Age: the modified z-score of the steady median, 0.6745 (x - median) / MAD, is above 3.5 or below -3.5. Source:
    B. Iglewicz and D. C. Hoaglin, "How to detect and handle outliers" (1993). Accuracy: its interval lies wholly
    outside that of all others merged; one that is named counts among the others no more. Where the truth is known for
    too short to tell how much accuracy varies with time, nobody is an outlier.

    Args:
        journals: fewer than `FEWEST_JOURNALS` have no outliers.
    """
    if len(journals) < FEWEST_JOURNALS:
        return []
    return [*_slow_or_fast(journals), *_right_or_wrong(journals)]


def modified_z_scores(values: Sequence[float]) -> list[float]:
    """How far each value lies from the median of all, in units that are standard deviations of normal values."""
    middle = median(values)
    spread = max(median(abs(value - middle) for value in values), abs(middle) * _LEAST_SPREAD)
    return [0.6745 * (value - middle) / spread if spread else 0.0 for value in values]


def _slow_or_fast(journals: Sequence[JournalFigures]) -> list[str]:
    ages_ms = {}
    for place, journal in enumerate(journals):
        age = journal.latency.get("steady", {}).get("age")
        if age and age.p50 is not None:
            ages_ms[place] = age.p50
    if len(ages_ms) < FEWEST_JOURNALS:
        return []
    middle = median(ages_ms.values())
    return [
        f"{journals[place].name}: half of its steady results are older than {age_ms:.3g} ms, "
        f"where the median of all {len(ages_ms)} journals is {middle:.3g} ms (modified z-score {score:.1f})."
        for (place, age_ms), score in zip(ages_ms.items(), modified_z_scores(list(ages_ms.values())))
        if abs(score) > _MOST_SCORE
    ]


def _right_or_wrong(journals: Sequence[JournalFigures]) -> list[str]:
    groups: dict[tuple[str, str], list[tuple[str, Share]]] = {}
    for figures in journals:
        for each in figures.accuracy:
            if each.top1.value is not None and _tells(each):
                groups.setdefault((each.source, each.model), []).append((figures.name, each.top1))
    sentences = []
    for (source, model), told in groups.items():
        rest = dict(enumerate(told))
        # One by one, the furthest first: it would make the others look different from what they are with it.
        while len(rest) >= FEWEST_JOURNALS:
            gaps = {place: _gap(place, rest) for place in rest}
            place = max(gaps, key=lambda each: gaps[each])
            if gaps[place] <= 0:
                break
            name, mine = rest.pop(place)
            sentences.append(
                f"{name}: {model} was right in {_in_words(mine)}, in the others together in "
                f"{_in_words(_together(list(rest.values())))} ({source})."
            )
    return sentences


def _tells(accuracy: Accuracy) -> bool:
    return accuracy.stretches is None or accuracy.stretches >= FEWEST_BLOCKS


def _gap(place: int, journals: Mapping[int, tuple[str, Share]]) -> float:
    """What lies between the interval of one journal and that of all others; not above 0 where they overlap."""
    mine = journals[place][1]
    others = _together([told for other, told in journals.items() if other != place])
    if mine.low is None or mine.high is None or others.low is None or others.high is None:
        return 0.0
    return max(others.low - mine.high, mine.low - others.high)


def _in_words(told: Share) -> str:
    return f"{percent(told.value)} (95 % interval {interval(told)})"


def _together(others: Sequence[tuple[str, Share]]) -> Share:
    tops = [top for _, top in others]
    total = sum(top.total for top in tops)
    # The variance of several shares together is that of each by the square of its part of the whole.
    effective = effective_samples(total, sum(top.total**2 / top.effective for top in tops))
    return share(sum(top.right for top in tops), total, sum(top.counted for top in tops), effective)
