"""A thread that reads the board while something else works."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Callable, Optional

from edge.device.reading import ROOT, Live, Sensors

# Starting vcgencmd costs some milliseconds of a core, which the model needs.
_PERIOD_S, _PERIOD_OF_PROCESSES_S = 1.0, 5.0
_CLOSE_S = 0.9


class Monitor:
    """Reads the live sensors every so often and hands each reading on."""

    latest: Live
    """The newest reading; its `monotonic_ns` tells its age."""

    def __init__(
        self, root: Path = ROOT, period_s: Optional[float] = None, *, on_reading: Callable[[Live], object]
    ) -> None:
        """Read once, then start the thread.

        Args:
            root: see `edge.device.read`.
            period_s: from reading to reading; None for 1 s, or 5 s where each starts a process (vcgencmd).
            on_reading: called with each reading, the first included, on the thread; what it raises is logged.
        """
        self._sensors = Sensors(root)
        own_s = _PERIOD_OF_PROCESSES_S if self._sensors.starts_a_process else _PERIOD_S
        self.period_s = own_s if period_s is None else period_s
        self._on_reading = on_reading
        self._closing = threading.Event()
        self._said: Optional[str] = None
        self.latest = self._sensors.read()
        # A daemon: a driver that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="device monitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; returns within a second, also when a driver hangs. Safe to call twice."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        self._hand_on()
        next_s = time.monotonic() + self.period_s
        while not self._closing.wait(max(0.0, next_s - time.monotonic())):
            # From now on, not from when it was due: after a suspension or a hang there is nothing to catch up with.
            next_s = time.monotonic() + self.period_s
            try:
                self.latest = self._sensors.read()
            except Exception as error:  # nobody waits for this thread; the next reading may work
                self._say("The board cannot be read", error)
            else:
                self._hand_on()

    def _hand_on(self) -> None:
        if self._closing.is_set():
            return
        try:
            self._on_reading(self.latest)
        except Exception as error:  # as above: its owner's trouble must not end the readings
            self._say("A reading of the board was not taken", error)

    def _say(self, what: str, error: Exception) -> None:
        """Warn, once for what comes with every reading."""
        sentence = f"{what}: {type(error).__name__}: {error}"
        if sentence != self._said:
            logging.getLogger(__name__).warning("%s", sentence)
        self._said = sentence
