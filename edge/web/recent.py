"""The last minute of a run in half seconds, for a chart that moves."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Optional

from edge.records import NS_PER_MS, Record

SAMPLES = 120
SAMPLE_S = 0.5
_SAMPLE_NS = 500_000_000
_LATE_NS = 100_000_000
"""A record may come so long after its moment."""


class _Sample:
    __slots__ = (
        "dropped",
        "frames",
        "invoke_ns",
        "number",
        "postprocess_ns",
        "preprocess_ns",
        "temperature_c",
        "wait_ns",
    )

    def __init__(self, number: int, temperature_c: Optional[float]) -> None:
        self.number, self.temperature_c = number, temperature_c
        self.frames = self.dropped = self.wait_ns = self.preprocess_ns = self.invoke_ns = self.postprocess_ns = 0

    def told(self) -> dict[str, Any]:
        def mean_ms(total_ns: int) -> Optional[float]:
            return round(total_ns / self.frames / NS_PER_MS, 3) if self.frames else None

        return {
            "t": self.number * SAMPLE_S,
            "wait": mean_ms(self.wait_ns),
            "preprocess": mean_ms(self.preprocess_ns),
            "invoke": mean_ms(self.invoke_ns),
            "postprocess": mean_ms(self.postprocess_ns),
            "fps": self.frames / SAMPLE_S,
            "temperature_c": self.temperature_c,
            "dropped": self.dropped,
        }


class Recent:
    """Sums each half second's frames on the thread that classifies, for another to read."""

    def __init__(self, began_ns: int, temperature_c: Callable[[], Optional[float]]) -> None:
        """Begin with none.

        Args:
            began_ns: when the run did, on the monotonic clock.
            temperature_c: the board's, known at once; called twice a second.
        """
        self._began_ns, self._temperature_c = began_ns, temperature_c
        self._samples: deque[_Sample] = deque([_Sample(0, None)], SAMPLES + 1)

    def add(self, record: Record) -> None:
        """Take in a frame's record."""
        sample = self._samples[-1]
        number = (record.monotonic_ns - self._began_ns) // _SAMPLE_NS
        if number > sample.number:
            sample = _Sample(number, self._temperature_c())
            self._samples.append(sample)
        timings = record.timings
        sample.frames += 1
        sample.dropped += record.dropped
        sample.wait_ns += timings.wait_ns
        sample.preprocess_ns += timings.preprocess_ns
        sample.invoke_ns += timings.invoke_ns
        sample.postprocess_ns += timings.postprocess_ns

    def over(self, now_ns: int) -> int:
        """The number of the newest half second that is over; -1 where none is."""
        return (now_ns - _LATE_NS - self._began_ns) // _SAMPLE_NS - 1

    def told(self, after: int, until: int) -> list[dict[str, Any]]:
        """The samples after one number and until another, at most `SAMPLES` of them; of those without frames too."""
        found = {sample.number: sample for sample in list(self._samples)}
        first = max(0, after + 1, until + 1 - SAMPLES)
        return [(found.get(number) or _Sample(number, None)).told() for number in range(first, until + 1)]
