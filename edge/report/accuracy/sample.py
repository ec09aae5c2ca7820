"""Counts the pictures that a person looked at: a sample of all frames, weighted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

import numpy as np

from edge.report.accuracy.accuracy import Names
from edge.report.accuracy.varying import Effective
from edge.report.rows import Picture, top_ids
from edge.report.words import count
from edge.stats import effective_samples

_FEWEST = 2
"""From fewer pictures of a stratum, nobody knows how much they differ."""


class Seen(NamedTuple):
    """A picture that somebody looked at."""

    picture: Picture
    truth: str
    weight: float
    """Frames that it stands for, with those of pictures that nobody looked at."""
    right: bool
    in_top5: bool


def seen(pictures: Iterable[tuple[Picture, Optional[str]]], names: Names) -> list[list[Seen]]:
    """The pictures of one model that somebody looked at, by stratum.

    Each stands for its share of all frames; within a stratum those that were looked at stand for those that were not,
    so that it does no harm to look at some strata more than at others.

    Args:
        pictures: all that were kept, with what somebody said of each.
        names: of the model's classes.
    """
    strata: defaultdict[str, list[tuple[Picture, Optional[str]]]] = defaultdict(list)
    for picture, said in pictures:
        strata[picture.stratum].append((picture, said))
    found = []
    for stratum in strata.values():
        whole = sum(picture.stands_for for picture, _ in stratum)
        part = sum(picture.stands_for for picture, said in stratum if said is not None)
        of_stratum = []
        for picture, said in stratum:
            if said is not None:
                ids, meant = top_ids([picture.class_id], [picture.others])[0].tolist(), names.meant(said)
                weight = picture.stands_for * whole / part if part > 0 else 0.0
                of_stratum.append(Seen(picture, said, weight, ids[0] in meant, not meant.isdisjoint(ids)))
        found.append(of_stratum)
    return [each for each in found if each]


def effective(strata: Sequence[Sequence[Seen]], names: Names) -> Effective:
    """How many independent pictures would tell as much as those of several strata."""
    known = [[each for each in stratum if names.meant(each.truth)] for stratum in strata]
    known = [stratum for stratum in known if stratum]
    return Effective(
        _effective(known, [[each.right for each in stratum] for stratum in known]),
        _effective(known, [[each.in_top5 for each in stratum] for stratum in known]),
    )


def _effective(strata: Sequence[Sequence[Seen]], right: Sequence[Sequence[bool]]) -> Optional[float]:
    """The variance of a stratified mean, as the number of independent pictures of the same variance.

    The sum of W^2 s^2 / n over strata (W. G. Cochran, "Sampling techniques" (1977), 5.9), where W is the stratum's
    share of all weight. Where all of a stratum are right, or none, its s^2 is that of one more of each kind: pictures
    that happen to be alike do not make a share certain.

    Returns:
        None where the weights alone are to tell: a stratum has fewer than 2 pictures, or all are right, or none.
    """
    if not strata or min(len(stratum) for stratum in strata) < _FEWEST:
        return None
    weights = [np.array([each.weight for each in stratum]) for stratum in strata]
    hits = [np.array(stratum, np.float64) for stratum in right]
    whole = sum(float(each.sum()) for each in weights)
    share = sum(float(each @ hit) for each, hit in zip(weights, hits)) / whole if whole else 0.0
    if share <= 0 or share >= 1 or math.isclose(share, 1):
        return None
    variance = 0.0
    for each, hit in zip(weights, hits):
        total, number = float(each.sum()), effective_samples(float(each.sum()), float(each @ each))
        own = float(each @ hit) / total if total else 0.0
        mixed = own if 1e-9 < own < 1 - 1e-9 else (own * number + 1) / (number + 2)
        variance += (total / whole) ** 2 * mixed * (1 - mixed) / max(1.0, number - 1)
    return max(1.0, share * (1 - share) / variance)


def notes(pictures: Sequence[tuple[Picture, Optional[str]]]) -> list[str]:
    """What a reader should know of the pictures of one model."""
    if all(said is None for _, said in pictures):
        return []
    strata: defaultdict[str, list[tuple[Picture, Optional[str]]]] = defaultdict(list)
    for picture, said in pictures:
        strata[picture.stratum].append((picture, said))
    told, gone = [], 0
    for stratum, mine in strata.items():
        if all(said is None for _, said in mine):
            any_of = "the 1 picture" if len(mine) == 1 else f"any of the {count(len(mine), 'picture')}"
            told.append(
                f"Nobody looked at {any_of} kept as {stratum!r}: the accuracy of reviewed "
                "pictures leaves out the frames that they stand for."
            )
        else:
            gone += sum(not picture.file and said is None for picture, said in mine)
    if gone:
        told.append(
            f"{count(gone, 'picture was', 'pictures were')} deleted before anyone looked: "
            "those that were looked at stand for their times too, as if the model had been right as often then."
        )
    return told
