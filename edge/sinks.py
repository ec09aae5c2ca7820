"""Where records go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Optional, Protocol, TextIO

import msgspec

from edge.records import Record
from edge.stats import STAGES, Window

_LINE_EVERY_NS = 1_000_000_000
_LINES_A_PAGE = 20
_SHORT = {"preprocess": "pre", "postprocess": "post"}


class Sink(Protocol):
    """Takes records."""

    def write(self, record: Record) -> None:
        """Take one record. May be slow only as long as the loop may wait."""

    def close(self) -> None:
        """Write out what is still held."""


class JsonLines:
    """One JSON object a line, for every record."""

    def __init__(self, stream: TextIO, top: Optional[int] = None) -> None:
        """Write at most `top` predictions of each record; None: all that it has."""
        self._stream = stream
        self._top = top
        self._encoder = msgspec.json.Encoder()

    def write(self, record: Record) -> None:
        if self._top is not None and len(record.predictions) > self._top:
            record = msgspec.structs.replace(record, predictions=record.predictions[: self._top])
        self._stream.write(self._encoder.encode(record.as_json()).decode() + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class Lines:
    """A line a second for a person: the answer, the rate, p50/p90 in ms of each stage over the last frames, drops."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._window = Window()
        self._lines = 0
        self._due_ns = 0
        self._since_ns = time.monotonic_ns()
        self._frames = 0
        self._dropped = 0

    def write(self, record: Record) -> None:
        self._window.add(record.timings, record.backend)
        self._frames += 1
        self._dropped += record.dropped
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            return
        seconds = (now_ns - self._since_ns) / 1e9
        rate = f"{self._frames / seconds:.1f}" if self._due_ns else "-"
        best = record.predictions[0]
        if self._lines % _LINES_A_PAGE == 0:
            self._stream.write(_row("p50/p90 in ms:", "fps", [_SHORT.get(name, name) for name in STAGES], "dropped"))
        self._stream.write(
            _row(f"{time.strftime('%H:%M:%S')} {best.score:.2f} {best.label}", rate, self._stages(), str(self._dropped))
        )
        self._stream.flush()
        self._lines += 1
        self._due_ns, self._since_ns, self._frames = now_ns + _LINE_EVERY_NS, now_ns, 0

    def _stages(self) -> list[str]:
        return [f"{_ms(live.p50)}/{_ms(live.p90)}" for live in self._window.live().values()]

    def close(self) -> None:
        """Tell the stages once more, over the last frames."""
        parts = [f"{name} {figures}" for name, figures in zip(STAGES, self._stages())]
        self._stream.write(f"p50/p90 in ms of the last {len(self._window)} frames: {', '.join(parts)}\n")
        self._stream.flush()


def _row(answer: str, rate: str, stages: Sequence[str], dropped: str) -> str:
    cells = "".join(f"{stage:>10}" for stage in stages)
    return f"{answer:<29.29} {rate:>5}{cells} {dropped:>8}\n"


def _ms(value: Optional[float]) -> str:
    """A dash where there are too few samples to tell."""
    return "-" if value is None else f"{value:.1f}"
