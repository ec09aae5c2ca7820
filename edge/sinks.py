"""Where records go."""

from __future__ import annotations

import time
from typing import Optional, Protocol, TextIO

import msgspec

from edge.records import Record
from edge.stats import Window

_LINE_EVERY_NS = 1_000_000_000
_SHORT = {"preprocess": "pre", "postprocess": "post"}


class Sink(Protocol):
    """Takes records."""

    def write(self, record: Record) -> None:
        """Take one record. May be slow only as long as the loop may wait."""

    def close(self) -> None:
        """Write out what is still held."""


class JsonLines:
    """One JSON object a line, for every record."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoder = msgspec.json.Encoder()

    def write(self, record: Record) -> None:
        self._stream.write(self._encoder.encode(record.as_json()).decode() + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class Lines:
    """One line a second for a person: the answer, the rate, p50/p90 of each stage over the last frames, drops."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._window = Window()
        self._due_ns = 0
        self._since_ns = time.monotonic_ns()
        self._frames = 0
        self._dropped = 0

    def write(self, record: Record) -> None:
        self._window.add(record.timings)
        self._frames += 1
        self._dropped += record.dropped
        now_ns = time.monotonic_ns()
        if now_ns < self._due_ns:
            return
        best = record.predictions[0]
        seconds = (now_ns - self._since_ns) / 1e9
        rate = f"{self._frames / seconds:5.1f} fps" if self._due_ns else "    - fps"
        self._stream.write(
            f"{time.strftime('%H:%M:%S')} {best.score:5.2f} {best.label:<18.18} {rate}  {self._stages()}  "
            f"dropped {self._dropped}\n"
        )
        self._stream.flush()
        self._due_ns, self._since_ns, self._frames = now_ns + _LINE_EVERY_NS, now_ns, 0

    def _stages(self) -> str:
        parts = [
            f"{_SHORT.get(stage, stage)} {_ms(live.p50)}/{_ms(live.p90)}" for stage, live in self._window.live().items()
        ]
        return " ".join(parts) + " ms"

    def close(self) -> None:
        """Tell the stages once more, over the last frames."""
        self._stream.write(f"p50/p90 of the last {len(self._window)} frames: {self._stages()}\n")
        self._stream.flush()


def _ms(value: Optional[float]) -> str:
    """A dash where there are too few samples to tell."""
    return "-" if value is None else f"{value:.1f}"
