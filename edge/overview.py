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
from edge.privacy import without_passwords
from edge.records import Event, Frame, Ran, Record
from edge.stats import Window
from edge.truth.live import Said, Truth

KEPT_EVENTS = 50
_PACES, _PACE_NS = 10, 1_000_000_000
_SLOWEST_FPS = 1.0
"""Below that ten seconds hold too few frames to tell a rate."""
_SHORTEST_PACE_S = 0.5
"""A frame that came ten milliseconds ago is not a hundred a second."""


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
            camera: as a person would call it; passwords are left out.
            journal: what it is recorded to; None: nothing.
            events: of earlier runs of this process, the newest last; those of this run are put behind them.
        """
        self.run, self.ran, self.labels, self.journal = run, ran, tuple(labels), journal
        self.camera = without_passwords(camera)
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS) if events is None else events
        """The newest, the oldest of them first. To be copied before it is gone through, as others are put in."""
        self.newest: Optional[Record] = None
        self.window = Window()
        self.frames = self.dropped = self.unchanged = 0
        self.truths = Truth(self.labels, self._on_truth)
        """What stands before the camera now, to be told and asked on any thread."""
        self.told_by: list[Callable[[], dict[str, Any]]] = []
        """Each tells what else belongs to `status`."""
        self.on_truth: list[Callable[[Optional[str], str], object]] = []
        """Called as `edge.truth.live.Truth` tells."""
        self.on_reading: list[Callable[[device.Live], object]] = []
        """Called with each reading of the board."""
        self._paces: deque[tuple[int, int]] = deque(maxlen=_PACES)
        """When so many frames had been seen, about once a second."""
        self._monitor: Optional[device.Monitor] = None
        self._camera_knows = False
        self._began_ns = time.monotonic_ns()

    def begin(self, said: Optional[Said] = None, *, watches_board: bool = True) -> None:
        """The run begins, and whoever wants to be told of it has said so.

        Args:
            said: the truth of the run before, which goes on.
            watches_board: else temperature and throttling are not known.
        """
        self.truths.take_over(said)
        if watches_board:
            self._monitor = device.Monitor(on_reading=self._read)

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
        if not self._paces or record.monotonic_ns - self._paces[-1][0] >= _PACE_NS:
            self._paces.append((record.monotonic_ns, self.frames))
        self.frames += 1
        self.dropped += record.dropped
        self.unchanged += record.unchanged
        self.newest = record

    def see(self, frame: Frame, _: Record) -> None:
        """Notice whether the camera tells the truth of its frames itself."""
        self._camera_knows = frame.label is not None

    @property
    def fps(self) -> Optional[float]:
        """Frames a second over the last ten seconds, or over the last ten frames where these take longer.

        None until half a second after the first frame.
        """
        paces, now_ns = tuple(self._paces), time.monotonic_ns()
        if not paces:
            return None
        if len(paces) > 1 and paces[-1][1] - paces[0][1] > _SLOWEST_FPS * (paces[-1][0] - paces[0][0]) / 1e9:
            paces = tuple(each for each in paces if now_ns - each[0] <= _PACES * _PACE_NS)
            if not paces:
                return 0.0
        passed_s = (now_ns - paces[0][0]) / 1e9
        return (self.frames - paces[0][1]) / passed_s if passed_s >= _SHORTEST_PACE_S else None

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
            "fps_now": None if (now := self.fps) is None else round(now, 2),
            "dropped": self.dropped,
            "unchanged": self.unchanged,
            "truth": self.truth if newest is None else newest.truth,
            "newest": None if newest is None else {"utc": newest.utc, "predictions": _told(newest)},
            "latency": {name: {"p50_ms": live.p50, "p90_ms": live.p90} for name, live in self.window.live().items()},
            "board": _known(self.live),
            **{name: value for tell in self.told_by for name, value in tell().items()},
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
        for told in self.on_truth:
            told(name, by)

    def _read(self, live: device.Live) -> None:
        for told in self.on_reading:
            told(live)


def _known(live: Optional[device.Live]) -> Optional[dict[str, Any]]:
    if live is None:
        return None
    return {name: value for name, value in msgspec.to_builtins(live).items() if name != "monotonic_ns"}


def _told(record: Record) -> list[dict[str, Any]]:
    return [{"label": each.label, "score": round(each.score, 4)} for each in record.predictions]
