"""The windows of a journal in time: what labels say of each, and in which one a frame lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.report.accuracy.truths import CUT, Truths
from edge.report.reading import Reader

DAY_NS = 86_400 * 10**9


class Minutes:
    """All windows, by their place in `Reader.window_times`."""

    def __init__(self, reader: Reader, times_ns: NDArray[np.int64], truths: Truths) -> None:
        """Take the reader's `window_times`."""
        run_id, self._began_ns, self._ended_ns = times_ns.T
        last_ns = np.maximum(self._began_ns, self._ended_ns - 1)
        long_ns = last_ns - self._began_ns
        # Where the machine slept within a window, it is two spans of UTC.
        began_utc_ns, last_utc_ns = reader.utc_ns(run_id, self._began_ns), reader.utc_ns(run_id, last_ns)
        at_first = truths.over(began_utc_ns, began_utc_ns + long_ns)
        at_last = truths.over(last_utc_ns - long_ns, last_utc_ns)
        self.said: NDArray[np.intp] = np.where(at_first == at_last, at_first, CUT)
        """What labels say of each, as `Truths.over` tells it."""
        self.days: NDArray[np.int64] = began_utc_ns // DAY_NS
        """UTC, from 1970-01-01."""
        self.cut_ns = times_ns[self.said == CUT, 1:]
        """Begin and end of those of which labels say different things; shape (windows, 2)."""
        order = np.argsort(self._began_ns, kind="stable")
        self._of_run = {each: order[run_id[order] == each] for each in np.unique(run_id).tolist()}

    def __len__(self) -> int:
        return len(self.said)

    def of_frames(
        self, run_id: NDArray[np.int64], monotonic_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The place of each frame's window, and whether it lies in it: a frame may lie in none, only near one."""
        places, inside = np.zeros(len(run_id), np.intp), np.zeros(len(run_id), bool)
        for each in np.unique(run_id).tolist():
            if each not in self._of_run:
                continue
            windows, mine = self._of_run[each], np.flatnonzero(run_id == each)
            numbers = np.searchsorted(self._began_ns[windows], monotonic_ns[mine], side="right") - 1
            places[mine] = windows[np.maximum(numbers, 0)]
            inside[mine] = (numbers >= 0) & (monotonic_ns[mine] <= self._ended_ns[places[mine]])
        return places, inside
