"""How a run goes at this moment: what `edge status` and the outlets tell."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from edge import device
from edge.records import Event, Frame, Ran, Record
from edge.stats import Window
from edge.truth.live import Said, Truth

KEPT_EVENTS = 50


class Overview:
    """A run from its beginning to `close`; a sink and a watch of the daemon's loop, and for other threads to read."""

    def __init__(
        self,
        run: str,
        ran: Ran,
        labels: Sequence[str],
        camera: str,
        journal: Optional[Path] = None,
        events: Optional[deque[Event]] = None,
    ) -> None:
        """Take what is known of a run before it begins.

        Args:
            run: its id.
            ran: the model and what runs it.
            labels: of the model, by output index.
            camera: as a person would call it, without passwords.
            journal: what it is recorded to; None: nothing.
            events: of earlier runs of this process, the newest last; those of this run are put behind them.
        """
        self.run, self.ran, self.labels, self.camera, self.journal = run, ran, tuple(labels), camera, journal
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS) if events is None else events
        """The newest, the oldest of them first. To be copied before it is gone through, as others are put in."""
        self.newest: Optional[Record] = None
        self.window = Window()
        self.frames = self.dropped = self.unchanged = 0
        self.truths = Truth(self.labels, self._on_truth)
        """What stands before the camera now, to be told and asked on any thread."""
        self._more: Callable[[], dict[str, Any]] = dict
        self._on_said: Callable[[Optional[str], str], object] = lambda _name, _by: None
        self._monitor: Optional[device.Monitor] = None
        self._camera_knows = False
        self._began_ns = time.monotonic_ns()

    def begin(
        self,
        said: Optional[Said] = None,
        more: Callable[[], dict[str, Any]] = dict,
        on_truth: Callable[[Optional[str], str], object] = lambda _name, _by: None,
        on_reading: Optional[Callable[[device.Live], object]] = None,
    ) -> None:
        """The run begins.

        Args:
            said: the truth of the run before, which goes on.
            more: what else `status` tells.
            on_truth: see `edge.truth.live.Truth`.
            on_reading: gets the board's readings; None: the board is not looked at.
        """
        self._more, self._on_said = more, on_truth
        self.truths.take_over(said)
        if on_reading:
            self._monitor = device.Monitor(on_reading=on_reading)

    @property
    def truth(self) -> Optional[str]:
        return self.truths.current

    @property
    def throttled(self) -> Optional[int]:
        return self._monitor.latest.throttled if self._monitor else None

    @property
    def live(self) -> Optional[device.Live]:
        """The newest reading of the board; None where it is not looked at."""
        return self._monitor.latest if self._monitor else None

    @cached_property
    def board(self) -> device.Device:
        """What the board is."""
        return device.read()

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        self.window.add(record.timings, record.backend)
        self.frames += 1
        self.dropped += record.dropped
        self.unchanged += record.unchanged
        self.newest = record

    def see(self, frame: Frame, _: Record) -> None:
        """Notice whether the camera tells the truth of its frames itself."""
        self._camera_knows = frame.label is not None

    def status(self) -> dict[str, Any]:
        """How it goes."""
        seconds = (time.monotonic_ns() - self._began_ns) / 1e9
        newest, frames = self.newest, self.frames
        since = datetime.now(timezone.utc) - timedelta(seconds=seconds)
        return {
            "run": self.run,
            "since_utc": since.isoformat(timespec="seconds"),
            "running_s": round(seconds, 1),
            **msgspec.to_builtins(self.ran),
            **({} if newest is None else {"backend": newest.backend}),
            "camera": self.camera,
            "frames": frames,
            "fps": round(frames / seconds, 2) if seconds else None,
            "dropped": self.dropped,
            "unchanged": self.unchanged,
            "truth": self.truth if newest is None else newest.truth,
            "newest": None if newest is None else {"utc": newest.utc, "predictions": _told(newest)},
            "latency": {name: {"p50_ms": live.p50, "p90_ms": live.p90} for name, live in self.window.live().items()},
            "board": _known(self.live),
            **self._more(),
        }

    def answer_truth(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the request "truth" of `edge.control`.

        Raises:
            ControlError, LabelError: see `edge.truth.live.Truth.answer`.
        """
        answer = self.truths.answer(request)
        if self._camera_knows:
            answer["note"] = "the camera tells the truth of its frames itself, and that comes first"
        return answer

    def close(self) -> None:
        """The run is over."""
        if self._monitor:
            self._monitor.close()

    def _on_truth(self, name: Optional[str], by: str) -> None:
        self._on_said(name, by)


def _known(live: Optional[device.Live]) -> Optional[dict[str, Any]]:
    if live is None:
        return None
    return {name: value for name, value in msgspec.to_builtins(live).items() if name != "monotonic_ns"}


def _told(record: Record) -> list[dict[str, Any]]:
    return [{"label": each.label, "score": round(each.score, 4)} for each in record.predictions]
