"""What was true, as it is known today: what people said afterwards counts before what was known at the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edge.report.rows import Label

NO_LABEL, CUT = -1, -2
"""In place of an index into `Truths.said`: no label holds, or one holds only a part, or several different ones do."""


class Truths:
    """The labels of a journal, so resolved that the newest word on a frame, else on its span of time, is found."""

    def __init__(self, labels: Iterable[Label]) -> None:
        """Take all labels, in any order; the newest has the highest id, as the clock may have been wrong."""
        ordered = sorted(labels, key=lambda label: label.id)
        self.frames: dict[tuple[int, int], Optional[str]] = {}
        """Run id and sequence -> truth; None where somebody says that nothing is known."""
        spans: list[tuple[int, int, Optional[str]]] = []
        for label in ordered:
            if label.run_id is not None and label.sequence is not None:
                self.frames[label.run_id, label.sequence] = label.truth
            elif label.from_utc_ns is not None and label.to_utc_ns is not None and label.from_utc_ns < label.to_utc_ns:
                spans.append((label.from_utc_ns, label.to_utc_ns, label.truth))
        self.said = tuple(truth for _, _, truth in spans)
        """The truths of the labels of spans; None takes back what was known."""
        # Between two neighbouring ends of spans the same label is the newest.
        self._ends = np.unique(np.array([end for span in spans for end in span[:2]], np.int64))
        self._newest = np.full(len(self._ends) + 1, NO_LABEL)  # before the first end, after each
        alike: dict[Optional[str], int] = {}
        for number, (from_ns, to_ns, truth) in enumerate(spans):
            first, last = np.searchsorted(self._ends, (from_ns, to_ns)) + 1
            self._newest[first:last] = alike.setdefault(truth, number)
        self._changes = np.concatenate(([0], np.cumsum(np.diff(self._newest) != 0)))

    def of_spans(self, utc_ns: NDArray[np.int64]) -> NDArray[np.intp]:
        """What the newest label says whose span holds each moment, as an index into `said`; else `NO_LABEL`."""
        return self._newest[np.searchsorted(self._ends, utc_ns, side="right")]

    def labelled_ns(self) -> NDArray[np.int64]:
        """The spans of UTC that labels hold, in order; shape (spans, 2), the second not in it any more."""
        holds = np.flatnonzero(self._newest[1:] >= 0)  # after the last end none does
        return np.stack((self._ends[holds], self._ends[np.minimum(holds + 1, len(self._ends) - 1)]), axis=1)

    def over(self, from_utc_ns: NDArray[np.int64], to_utc_ns: NDArray[np.int64]) -> NDArray[np.intp]:
        """What labels say of each whole span from the first to the second, both included.

        Returns:
            An index into `said`, the same for the same truth; `NO_LABEL`; or `CUT`.
        """
        first = np.searchsorted(self._ends, from_utc_ns, side="right")
        last = np.searchsorted(self._ends, to_utc_ns, side="right")
        return np.where(self._changes[first] == self._changes[last], self._newest[first], CUT)

    def now(
        self, run_id: Sequence[int], sequence: Sequence[int], utc_ns: NDArray[np.int64], known: Sequence[Optional[str]]
    ) -> list[Optional[str]]:
        """The truth of frames as it is known today.

        Args:
            run_id: of each frame.
            sequence: of each frame.
            utc_ns: of each frame.
            known: what was known at the time.
        """
        truths = list(known)
        if self.said:
            newest = self.of_spans(utc_ns)
            for index in np.flatnonzero(newest >= 0).tolist():
                truths[index] = self.said[newest[index]]
        for index, truth in self.of_frames(run_id, sequence):
            truths[index] = truth
        return truths

    def of_frames(self, run_id: Sequence[int], sequence: Sequence[int]) -> list[tuple[int, Optional[str]]]:
        """Which of some frames somebody named, and the truth that was said of them."""
        if not self.frames:
            return []
        named: Any = self.frames
        pairs = enumerate(zip(run_id, sequence))
        return [(index, named[pair]) for index, pair in pairs if pair in named]
