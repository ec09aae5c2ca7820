"""Which of several journals differ from the others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edge.report.accuracy import Merged, share
from edge.report.figures import JournalFigures, Share

FEWEST_JOURNALS = 3
_MOST_SCORE = 3.5
_LEAST_SPREAD = 0.01
"""Of the median: of devices that are all but equal none is an outlier."""


def outliers(journals: Sequence[tuple[JournalFigures, Sequence[Merged]]]) -> list[str]:
    """A sentence for each journal whose age of results or accuracy differs from that of the others.

    Age: the modified z-score of the steady median, 0.6745 (x - median) / MAD, is above 3.5 or below -3.5. Source:
    B. Iglewicz and D. C. Hoaglin, "How to detect and handle outliers" (1993). Accuracy: its interval lies wholly
    outside that of all others merged.

    Args:
        journals: with their accuracies; fewer than `FEWEST_JOURNALS` have no outliers.
    """
    if len(journals) < FEWEST_JOURNALS:
        return []
    return [*_slow_or_fast([figures for figures, _ in journals]), *_right_or_wrong(journals)]


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


def _right_or_wrong(journals: Sequence[tuple[JournalFigures, Sequence[Merged]]]) -> list[str]:
    groups: dict[tuple[str, str], list[tuple[str, Merged]]] = {}
    for figures, accuracies in journals:
        for merged in accuracies:
            if merged.accuracy.top1.value is not None:
                key = (merged.accuracy.source, merged.accuracy.model)
                groups.setdefault(key, []).append((figures.name, merged))
    sentences = []
    for (source, model), told in groups.items():
        if len(told) < FEWEST_JOURNALS:
            continue
        for name, merged in told:
            mine = merged.accuracy.top1
            rest = _merged([other for other_name, other in told if other_name != name])
            if mine.low is None or mine.high is None or rest.low is None or rest.high is None:
                continue
            if mine.high < rest.low or mine.low > rest.high:
                sentences.append(
                    f"{name}: {model} was right in {mine.value:.1%} ({mine.low:.1%} to {mine.high:.1%}; {source}), "
                    f"in all other journals together in {rest.value:.1%} ({rest.low:.1%} to {rest.high:.1%})."
                )
    return sentences


def _merged(others: Sequence[Merged]) -> Share:
    tops = [other.accuracy.top1 for other in others]
    return share(
        sum(top.right for top in tops),
        sum(top.total for top in tops),
        sum(top.counted for top in tops),
        sum(other.squares for other in others),
    )
