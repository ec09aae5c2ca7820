"""Steps that are timed one after the other, while somebody looks at the board's sensors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable, Optional

from edge import device as devices

# TensorFlow Lite `benchmark_model`'s longest run.
CAP_S = 150.0
_POLL_S = 2.0  # between looks at the sensors; where they need a process, it runs between samples
_NS_PER_S = 1_000_000_000


class Watch:
    """What the sensors say in the course of a run."""

    def __init__(self, root: Path) -> None:
        """Look for the first time; `root` is where the sensors are found."""
        self._root = root
        self._seen = [devices.read_live(root)]
        self._next_ns = time.monotonic_ns() + int(_POLL_S * _NS_PER_S)

    def due(self) -> bool:
        """Whether it is time to look again."""
        return time.monotonic_ns() >= self._next_ns

    def look(self) -> None:
        """Look again."""
        self._seen.append(devices.read_live(self._root))
        self._next_ns = time.monotonic_ns() + int(_POLL_S * _NS_PER_S)

    def during(self) -> dict[str, Any]:
        """Extremes of what was read, and the words of all throttling seen; sensors that are not there are left out."""
        found: dict[str, Any] = {}
        for name in ("temperature_c", "clock_mhz"):
            values = [value for live in self._seen if (value := getattr(live, name)) is not None]
            if values:
                found[name] = {"min": min(values), "max": max(values)}
        bits = [live.throttled for live in self._seen if live.throttled is not None]
        if bits:
            found["throttled"] = devices.throttled_during(bits)
        return found


def timed(run: Callable[[], None], samples_ns: list[int]) -> Callable[[], None]:
    """A step that runs `run` once and appends how long it took."""
    clock_ns = time.monotonic_ns

    def step() -> None:
        begin_ns = clock_ns()
        run()
        samples_ns.append(clock_ns() - begin_ns)

    return step


def repeat(step: Callable[[], None], seconds: float, least: int, watch: Optional[Watch] = None) -> float:
    """Repeat a step at least `least` times and `seconds` long, at most `CAP_S`; the seconds it took."""
    started_ns = time.monotonic_ns()
    enough_ns, cap_ns = started_ns + int(seconds * _NS_PER_S), started_ns + int(CAP_S * _NS_PER_S)
    runs = 0
    while (now_ns := time.monotonic_ns()) < enough_ns or (runs < least and now_ns < cap_ns):
        step()
        runs += 1
        if watch and watch.due():
            watch.look()
    return (time.monotonic_ns() - started_ns) / _NS_PER_S
