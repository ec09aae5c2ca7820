"""Weighted counts of answers that have something in common."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add
from typing import NamedTuple

KNOWN, LABELLED, REVIEWED = SOURCES = ("known at the time", "labels", "reviewed pictures")


class Key(NamedTuple):
    """What frames or pictures have in common."""

    source: str
    model_id: int
    truth: str
    class_id: int
    """The first prediction."""
    day: int
    """UTC, from 1970-01-01."""


class Sums(NamedTuple):
    """Of frames or pictures that have something in common."""

    weight: float = 0.0
    squares: float = 0.0
    """Of their weights."""
    counted: float = 0
    in_top5: float = 0.0
    """Weight of those with the truth among the first five predictions."""
    of_top5: float = 0.0
    """Weight of those of which that is known."""
    squares_of_top5: float = 0.0
    counted_of_top5: float = 0

    def plus(self, other: Sums) -> Sums:
        """Of these and the others."""
        return Sums(*map(add, self, other))


def one(weight: float, in_top5: bool, tells_top5: bool = True) -> Sums:
    """Of a single frame or picture."""
    top5 = weight if tells_top5 else 0.0
    return Sums(weight, weight**2, 1, top5 * in_top5, top5, top5**2, int(tells_top5))


def all_of(frames: int, in_top5: int, of_top5: int) -> Sums:
    """Of frames that were counted one by one; the last two may be less, where less is known."""
    return Sums(frames, frames, frames, in_top5, of_top5, of_top5, of_top5)


def moved(sums: Sums, in_top5: bool) -> tuple[Sums, float, float]:
    """Take one frame away, or as much of it as there is.

    Args:
        sums: where it was counted; what is left of them is returned.
        in_top5: whether it was counted among them.

    Returns:
        What is left, the weight that was taken, and the weight of those with known top 5 that was.
    """
    taken = min(1.0, max(0.0, sums.weight))
    of_top5 = min(1.0, max(0.0, sums.of_top5))
    left = Sums(
        sums.weight - taken,
        max(0.0, sums.squares - taken),
        max(0.0, sums.counted - taken),
        max(0.0, sums.in_top5 - of_top5 * in_top5),
        sums.of_top5 - of_top5,
        max(0.0, sums.squares_of_top5 - of_top5),
        max(0.0, sums.counted_of_top5 - of_top5),
    )
    return left, taken, of_top5


def total(sums: Mapping[Key, Sums]) -> Sums:
    """Of all of them."""
    whole = Sums()
    for each in sums.values():
        whole = whole.plus(each)
    return whole
