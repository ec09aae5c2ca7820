"""What systemd is told while a service runs: that it is ready, that it lives, and how it does."""

from __future__ import annotations

import time
from typing import Callable, Optional

from edge.notify import Notifier
from edge.records import Record
from edge.stats import Window

_SIGN_EVERY_S = 1.0
"""Signs of life are no more frequent, as each wakes systemd."""
_WORDS_EVERY_S = 10.0
_PATIENCE_S = 30.0
"""So much more time to start is asked for again and again while a camera or an accelerator is waited for."""
_PERIODS, _STALLS = 3, 1.2
"""The watchdog waits for so many frames at a slow rate, and so many times as long as a camera may give nothing."""


class Pulse:
    """Gives signs of life for new results only, or while it is known why there are none.

    Called on the thread that classifies: one that is stuck gives no sign, and is killed by the watchdog.
    """

    def __init__(self, notifier: Notifier, on_first: Callable[[], object], check: Callable[[], object]) -> None:
        """Begin without a result.

        Args:
            notifier: tells systemd.
            on_first: called when the first frame has been classified.
            check: called about once a second, whatever happens.
        """
        self._notifier, self._on_first, self._check = notifier, on_first, check
        self._window = Window()
        self._ready = False
        self._sign_due_s = self._words_due_s = 0.0
        self._began_s = time.monotonic()
        self._frames = self._dropped = 0
        self._said: Optional[str] = None
        self.camera = self.backend = ""
        self.last_fault: Optional[str] = None
        """What went wrong last with the camera or an accelerator."""
        self.trouble: Callable[[], Optional[str]] = lambda: None
        """Tells why the journal is not being written."""

    def expect(self, period_s: float, stall_s: float) -> None:
        """Tell how much time lies between two results when all is well, and after how much more something is lost."""
        self._notifier.watch_for(_PERIODS * period_s + _STALLS * stall_s)

    def opening(self, what: str, at_most_s: float) -> None:
        """Something that may take long begins."""
        self._say(f"opening {what}")
        self._notifier.extend(at_most_s)

    def classified(self, record: Record) -> None:
        """A new frame has been classified."""
        self._window.add(record.timings, record.backend)
        self._frames += 1
        self._dropped += record.dropped
        if record.backend != self.backend:
            self.backend, self._words_due_s = record.backend, 0.0
        now_s = time.monotonic()
        if not self._ready:
            self.ready()
            self._on_first()
        if now_s >= self._sign_due_s:
            self._sign(now_s)
        if now_s >= self._words_due_s:
            self._tell(now_s)

    def waits(self, lost: Optional[str], what: str = "camera") -> None:
        """No frame came, or none is due, or nobody can classify one.

        Args:
            lost: why there is no camera, or no accelerator, at present, while it is being opened again.
            what: which of the two that is.
        """
        now_s = time.monotonic()
        if now_s < self._sign_due_s:
            return
        if lost is None:
            self._check()
            return
        self._sign(now_s)
        self._pause(f"no {what}: {lost}")
        if not self._ready:
            self._notifier.extend(_PATIENCE_S)

    def asleep(self, words: str) -> None:
        """Nothing is to be classified now, by the schedule."""
        if not self._ready:
            self.ready()
        self._sign(time.monotonic())
        self._pause(words)

    def ready(self) -> None:
        """The service does its work."""
        self._ready = True
        self._notifier.ready()

    def reloading(self) -> None:
        """A new configuration is being taken over, until `reloaded`."""
        if self._ready:
            self._notifier.reloading()

    def reloaded(self) -> None:
        """That is over, however it went."""
        if self._ready:
            self._notifier.ready()

    def stopping(self, why: str) -> None:
        """The service ends."""
        self._notifier.stopping()
        self._say(f"ending: {why}")

    def _sign(self, now_s: float) -> None:
        self._sign_due_s = now_s + min(_SIGN_EVERY_S, (self._notifier.watches_s or _SIGN_EVERY_S) / 4)
        self._notifier.alive()
        self._check()

    def _tell(self, now_s: float) -> None:
        seconds = now_s - self._began_s
        p50_ms = self._window.live()["age"].p50
        rate = f"{self._frames / seconds:.2g} fps, " if self._words_due_s else ""
        age = "" if p50_ms is None else f"p50 {p50_ms:.1f} ms, "
        fault = f"; last fault: {self.last_fault}" if self.last_fault else ""
        trouble = self.trouble()
        unwritten = f"; not recording: {trouble}" if trouble else ""
        self._say(f"{self.camera}: {self.backend}, {rate}{age}{self._dropped} dropped{unwritten}{fault}")
        self._began_s, self._words_due_s, self._frames = now_s, now_s + _WORDS_EVERY_S, 0

    def _pause(self, words: str) -> None:
        """Tell why there are no results; the next one is told at once, and the rate is counted from it on."""
        self._words_due_s, self._frames = 0.0, 0
        self._say(words)

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._notifier.status(words)
