"""How much is written: when the medium's daily budget runs short, batches become rarer, and fewer frames get a row."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import NamedTuple, Optional

DAY_S = 86_400
_HOLDS_S = 3_600
"""So much of a day's budget may be saved up: a start, or a burst, is recorded more closely than the average."""
_LOOK_S, _AVERAGE_S = 60.0, 600.0
_HASTE = 16.0
"""Times the pace at which nothing is waited for."""
_MOST_EVERY = 1 << 20
_MOST_STEPS = 3
"""Doublings at once: rows cost less than in proportion, as every commit has a cost of its own."""
_AIM = 0.9
_SPARE = 1.6
"""Twice the rows cost up to twice the bytes: only well below the pace is there room for them."""
_LONGEST_S = 300.0
_STRETCH = 4
"""Times at once. Rarer batches come first: each dirties some whole blocks of the file system, however little it holds,
and measured in blocks a day of them costs far more than the rows."""
_LEAST_PER_S = 1 / 60
"""Rows that are kept in any case: fewer would spare hardly anything, as a minute's window is written anyway."""


class Kept(NamedTuple):
    """What one run leaves the next of its budget."""

    looked_s_ago: float
    """When it was last decided how much is written."""
    left_bytes: float
    """Saved up, or owed, then."""
    written_bytes: int
    """Since then."""
    keep_every: int
    batch_s: float


class Budget:
    """Decides how often is written, and which frames get a row: one of `keep_every`, chosen at random among them.

    A bucket that gains `bytes_per_day` evenly through the day and loses what was written. Below half and losing,
    batches become rarer, up to `_LONGEST_S`, and then fewer rows are kept; above half and hardly losing, the other way
    round. One row a minute is kept in any case.
    """

    def __init__(self, bytes_per_day: int, batch_s: float, now_ns: int, seed: Optional[int] = None) -> None:
        """Begin with a full bucket.

        Args:
            bytes_per_day: what may be written.
            batch_s: from one batch to the next, when there is no need to spare.
            now_ns: on the monotonic clock.
            seed: of the choice of frames.
        """
        self.keep_every = 1
        self.batch_s = batch_s
        """From one batch to the next, at present."""
        self._least_s, self._most_s = batch_s, max(batch_s, _LONGEST_S)
        self._pace = bytes_per_day / DAY_S
        self._holds = self._pace * _HOLDS_S
        self._left = self._holds
        self._looked_ns = now_ns
        self._written = self._frames = 0
        self._random = random.Random(seed)
        self._place, self._chosen, self._block = 0, 0, 1

    def kept(self, now_ns: int) -> Kept:
        """What the next run goes on with."""
        return Kept((now_ns - self._looked_ns) / 1e9, self._left, self._written, self.keep_every, self.batch_s)

    def resume(self, kept: Kept, now_ns: int) -> None:
        """Go on where an earlier run ended: a program that is started again and again has one budget."""
        if kept.looked_s_ago >= _HOLDS_S:
            return
        self._looked_ns = now_ns - round(kept.looked_s_ago * 1e9)
        self._left = max(-self._holds, min(self._holds, kept.left_bytes))
        self._written += kept.written_bytes
        self.batch_s = min(self._most_s, max(self._least_s, kept.batch_s))
        self._keep_one_of(max(1, min(kept.keep_every, _MOST_EVERY)))

    def keeps(self) -> bool:
        """Whether the next frame gets a row; it then stands for `keep_every` frames as they were at that time."""
        if self._place == self._block:  # the next block begins
            self._place, self._block = 0, self.keep_every
            self._chosen = self._random.randrange(self._block)
        self._place += 1
        self._frames += 1
        return self._place - 1 == self._chosen

    @property
    def stands_for(self) -> int:
        """How many frames the row of the last frame that was kept stands for."""
        return self._block

    def spend(self, written_bytes: int, now_ns: int) -> None:
        """Count what was written, and decide how many frames are kept from now on."""
        self._written += written_bytes
        seconds = (now_ns - self._looked_ns) / 1e9
        if seconds < _LOOK_S:
            return
        rate = self._written / seconds / self._pace
        # What waits in SQLite's log goes into the file at once: a single look may be far off the average.
        if seconds < _AVERAGE_S and rate < _HASTE:
            return
        self._left = max(-self._holds, min(self._holds, self._left + (1 - rate) * self._pace * seconds))
        half_full = self._left > self._holds / 2
        every = self.keep_every
        if not half_full and rate > _AIM:
            if self.batch_s == self._most_s or rate > _HASTE / 2:
                every <<= min(_MOST_STEPS, max(1, round(math.log2(rate))))
            self.batch_s = min(self._most_s, self.batch_s * _STRETCH)
        elif half_full and rate * _SPARE < 1:
            if every == 1:
                self.batch_s = max(self._least_s, self.batch_s / 2)
            every >>= 1
        self._keep_one_of(max(1, min(every, _MOST_EVERY, int(self._frames / seconds / _LEAST_PER_S))))
        self._looked_ns, self._written, self._frames = now_ns, 0, 0

    def _keep_one_of(self, every: int) -> None:
        if every < self.keep_every:
            # The block ends early: its row stands for too many, or there is none for some. At any place in the block
            # both weigh the same, so that on average the rows stand for the frames that there were.
            self._place = self._block
        self.keep_every = every


class Written:
    """What this thread has had written so far, as the kernel counts it."""

    def __init__(self) -> None:
        self._last = _thread_bytes()

    def since(self) -> int:
        """Bytes since the last time that this was asked; 0 where the kernel does not count."""
        now = _thread_bytes()
        spent, self._last = max(0, now - self._last), now
        return spent


def _thread_bytes() -> int:
    """The larger of what write calls were given and what the page cache has to write, for this thread."""
    try:
        text = Path("/proc/thread-self/io").read_text()
    except OSError:
        return 0
    counts = dict(line.split(": ") for line in text.splitlines())
    return max(int(counts.get("wchar", 0)), int(counts.get("write_bytes", 0)))
