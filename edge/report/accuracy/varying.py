"""How much the share of right answers varies from one time to another, by source of truth and model."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.stretches import FEWEST_BLOCKS, effective_answers
from edge.stats import effective_samples


class Effective(NamedTuple):
    """How many independent answers would tell as much; None where that is not known."""

    top1: Optional[float] = None
    top5: Optional[float] = None
    stretches: Optional[int] = None
    """Of neighbouring time, from whose differences it is known; None of a sample, whose pictures lie far apart."""


class Varying:
    """Right and all answers of each window."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rows: defaultdict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)
        self._many: defaultdict[tuple[str, int], list[NDArray[np.float64]]] = defaultdict(list)

    def add(
        self, source: str, model_id: int, place: int, right: float, total: float, in_top5: float, of_top5: float
    ) -> None:
        """Count answers of a window, weighted; its `place` is that in the order of time."""
        self._rows[source, model_id].append((place, right, total, in_top5, of_top5))

    def add_many(self, source: str, model_id: int, rows: NDArray[np.float64]) -> None:
        """The same of many windows; shape (windows, 5), the columns in that order."""
        self._many[source, model_id].append(rows)

    def told(self, source: str, model_id: Optional[int] = None) -> Effective:
        """What the differences between stretches of time tell of a source and model, or of all its models."""
        keys = [key for key in {*self._rows, *self._many} if key[0] == source and model_id in (key[1], None)]
        parts = [np.array(self._rows[key], np.float64).reshape(-1, 5) for key in sorted(keys)]
        parts += [part for key in sorted(keys) for part in self._many[key]]
        if not parts:
            return Effective()
        rows = np.concatenate(parts)
        _, which = np.unique(rows[:, 0], return_inverse=True)
        sums = [np.bincount(which.ravel(), column).astype(np.float64) for column in rows[:, 1:].T]
        stretches, top1 = effective_answers(*sums[:2])
        of_few, top5 = effective_answers(*sums[2:])
        return Effective(top1, top5 if of_few >= FEWEST_BLOCKS else None, stretches)


def limited(total: float, squares: float, varying: Optional[float]) -> float:
    """How many independent answers weighted ones are: as many as the weights allow, or fewer where they vary more.

    Args:
        total: sum of the weights.
        squares: sum of their squares.
        varying: how many they are by how much they vary; None where that is not known.
    """
    by_weight = effective_samples(total, squares)
    return by_weight if varying is None else max(1.0, min(by_weight, varying))
