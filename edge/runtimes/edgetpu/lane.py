"""One Edge TPU in the course of time: opened, used, lost, opened again."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from typing import Callable, NamedTuple, Optional, Union

import numpy as np
from numpy.typing import NDArray

from edge.runtimes.edgetpu.process import Child, Over
from edge.runtimes.edgetpu.words import Cause, Failure, Opened
from edge.runtimes.settings import RuntimeSettings

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0
"""Before a failed Edge TPU is opened again: twice as long after each failure without an answer in between."""


class Job(NamedTuple):
    """An input that waits for its output."""

    ticket: int
    tensor: NDArray[np.generic]


class Lane:
    """An Edge TPU with the process that holds it."""

    def __init__(self, device: str, start: Callable[[], Child], settings: RuntimeSettings) -> None:
        """Begin without a process.

        Args:
            device: as the user calls it.
            start: starts the process.
            settings: deadlines and restarts.
        """
        self.device = device
        self._start, self._settings = start, settings
        self._left: list[subprocess.Popen[bytes]] = []
        self._failures: deque[float] = deque()
        self._in_a_row = 0
        self.child: Optional[Child] = None
        self.opened: Optional[Opened] = None
        """What it said when it had opened; None while it is not open."""
        self.job: Optional[Job] = None
        self.sent_ns = 0
        self.lost_s: Optional[float] = time.monotonic()
        """Since when it does not work; None while it does."""
        self.told: set[str] = set()
        """The causes of the present loss that were told."""
        self.used_up = False
        """It failed too often or for too long, and is left alone for a while."""
        self.due_s = 0.0
        """When the present state ends by itself: an answer is overdue, or it is to be opened again."""

    @property
    def free(self) -> bool:
        """Whether it could take a job."""
        return self.opened is not None and self.job is None

    def open(self) -> None:
        """Start its process."""
        self._left = [process for process in self._left if process.poll() is None]
        self.child, self.due_s = self._start(), time.monotonic() + self._settings.open_s

    def hear(self) -> Union[Failure, Over, Opened, None]:
        """What the process has to say; that it is stuck, where it says nothing for too long."""
        heard = self.child.hear() if self.child else None
        if heard is None:
            return self._overdue()
        if isinstance(heard, Opened):
            self.opened = heard
            if self.used_up:
                self.used_up = False
                self._failures.clear()
        elif isinstance(heard, Over):
            self._in_a_row = 0
        return heard

    def give(self, job: Job) -> None:
        """Have it run a job."""
        assert self.child is not None
        self.job, self.sent_ns = job, time.monotonic_ns()
        self.due_s = time.monotonic() + self._settings.invoke_s
        self.child.give(job.ticket, job.tensor)

    def fail(self, cause: Cause) -> None:
        """End its process, and set the time at which it is opened again.

        One that is not there is looked for as long as `restarts_within_s`; one that crashes has `restarts`.
        """
        now_s = time.monotonic()
        self.close(at_once=True)
        self.job = None
        if self.lost_s is None:
            self.lost_s = now_s
        if cause != "refused":
            self._failures.append(now_s)
        since_s = now_s - self._settings.restarts_within_s
        while self._failures and self._failures[0] < since_s:
            self._failures.popleft()
        self.used_up = self.used_up or self.lost_s < since_s or len(self._failures) > self._settings.restarts
        pause_s = min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2.0 ** min(self._in_a_row, 20))
        self.due_s = now_s + (self._settings.retry_s if self.used_up else pause_s)
        self._in_a_row += 1

    def found(self) -> float:
        """It works again; the seconds for which it did not."""
        lost_s, self.lost_s = self.lost_s, None
        self.told.clear()
        return 0.0 if lost_s is None else time.monotonic() - lost_s

    def _overdue(self) -> Optional[Failure]:
        if self.child is None or self.free or time.monotonic() < self.due_s:
            return None
        limit_s = self._settings.invoke_s if self.opened else self._settings.open_s
        return Failure(self.child.stage, "stalled", f"no answer in {limit_s:g} s")

    def close(self, at_once: bool = False) -> None:
        """End its process."""
        child, self.child, self.opened = self.child, None, None
        left = child.end(at_once) if child else None
        if left:
            self._left.append(left)
