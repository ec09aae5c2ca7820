"""Which frames stand for which: in each block of time one of each kind, drawn at random.

Stratified sampling with the reservoir method (Vitter 1985, "Random sampling with a reservoir", Algorithm R with a
reservoir of one): each frame of a kind has the same chance, though nobody knows beforehand how many will come. The
weight of the one that is kept is their number, the inverse of its chance (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.records import Frame, Prediction, Record

STRATA = ("changed", "unsure", "ordinary")
"""A frame belongs to the first that applies: its answer differs from that of the frame before; its best score is low;
any other."""
_NS_PER_DAY = 86_400_000_000_000


class Candidate:
    """A frame that is kept unless another takes its place."""

    __slots__ = ("pixels", "ready", "record")

    def __init__(self, record: Record, pixels: NDArray[np.uint8]) -> None:
        self.record = record
        self.pixels = pixels
        """The frame's own, not copied, until `ready`."""
        self.ready = False
        """True: `pixels` are a small masked copy."""


class Kept(NamedTuple):
    """What is left of a block's frames of one kind."""

    stratum: str
    stands_for: int
    """Frames of this stratum in the block, this one included."""
    candidate: Candidate


def block_ns(max_pictures_per_day: int) -> int:
    """Length of a block, so that one picture of each stratum and block keeps within the day's number."""
    return math.ceil(_NS_PER_DAY * len(STRATA) / max_pictures_per_day)


class Strata:
    """The frames of the block under way. For one thread; another may read `chosen`."""

    def __init__(self, length_ns: int, unsure_below: float, rng: random.Random) -> None:
        """Begin with nothing seen.

        Args:
            length_ns: of a block; the first begins with the first frame, each other with the frame that ends the one
                before.
            unsure_below: a best score below this makes a frame "unsure".
            rng: draws.
        """
        self.chosen: list[Optional[Candidate]] = [None] * len(STRATA)
        self._length_ns = length_ns
        self._unsure_below = unsure_below
        self._rng = rng
        self._seen = [0] * len(STRATA)
        self._over_ns: Optional[int] = None
        self._answer_before: Optional[int] = None

    def is_over(self, now_ns: int) -> bool:
        """Whether the block under way has had its time."""
        return self._over_ns is not None and now_ns >= self._over_ns

    def see(self, frame: Frame, record: Record) -> bool:
        """Count a frame in the block under way; returns whether it was chosen."""
        if self._over_ns is None:
            self._over_ns = record.monotonic_ns + self._length_ns
        stratum = self._stratum(record.predictions[0])
        self._seen[stratum] += 1
        if self._rng.random() * self._seen[stratum] >= 1.0:
            return False
        self.chosen[stratum] = Candidate(record, frame.pixels)
        return True

    def _stratum(self, best: Prediction) -> int:
        """Index into `STRATA`."""
        before, self._answer_before = self._answer_before, best.class_id
        if before is not None and before != best.class_id:
            return 0
        return 1 if best.score < self._unsure_below else 2

    def close(self) -> list[Kept]:
        """End the block under way; its frames are counted no more."""
        kept = [
            Kept(stratum, seen, candidate)
            for stratum, seen, candidate in zip(STRATA, self._seen, self.chosen)
            if candidate is not None
        ]
        self.chosen = [None] * len(STRATA)
        self._seen = [0] * len(STRATA)
        self._over_ns = None
        return kept
