"""What test_camera.py does with the guest and the service in it: break, look, mend, and tell how long it took."""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Optional

from tests.vm.uml import Machine
from tests.vm.uml_service import JOURNAL, Event, Look, Result, configure, logs, look, now_ns, run_at, until

FROZEN_S, STALL_S, FPS = 6.0, 3.0, 5.0
LATE_S = 1.0
"""What the camera had given when it failed is still classified for so long."""


class Case(NamedTuple):
    """A line of the table."""

    fault: str
    happens: str
    noticed_s: Optional[float]
    recovered_s: Optional[float]


class Bench(NamedTuple):
    """The guest with the service in it, and what was found so far."""

    machine: Machine
    cases: list[Case]

    def say(self, *words: object) -> None:
        print("   ", *words, flush=True)


def settings(source: str = "camera", **camera: Any) -> dict[str, Any]:
    camera = {"source": source, "stall_s": STALL_S, "frozen_s": FROZEN_S, **camera}
    return {"camera": camera, "journal": {"path": JOURNAL, "commit_s": 1.0}, "fps": FPS}


def begin(bench: Bench, configuration: dict[str, Any]) -> Look:
    """Start the service anew, so that it has no fault behind it, and wait for its first results."""
    before = look(bench.machine)
    configure(bench.machine, configuration)
    return until(
        bench.machine,
        before.now_ns,
        "first results",
        lambda seen: seen.pid != before.pid and seen.state == "active/running" and len(seen.frames) >= 3,
    )


def survives(bench: Bench, fault: str, breaks: str, mends: Optional[str], *causes: str, late_s: float = LATE_S) -> Look:
    """Break the camera, see that the service tells of it, mend it, and see that it goes on by itself.

    Args:
        bench: with the service at work.
        fault: for the table.
        breaks: a command in the guest.
        mends: another; None for a fault that is over at once.
        causes: that the first losses must have, in their order.
        late_s: what was captured so long after the fault may still be recorded.
    """
    machine = bench.machine
    print(f"\n{fault}: {breaks}", flush=True)
    before = look(machine, now_ns(machine))
    breaking_ns = run_at(machine, breaks)
    mending_ns = broken_ns = now_ns(machine)
    seen = until(machine, before.now_ns, "the loss is told", lambda seen: len(losses(seen)) >= len(causes))
    for loss in losses(seen):
        bench.say(f"{loss.detail['cause']}: {loss.detail['why']}")
    if mends:
        time.sleep(LATE_S + 2.0)
        bench.say(f"mended: {mends}")
        mending_ns = run_at(machine, mends)
    until(machine, mending_ns, "it goes on", lambda seen: seen.event("camera found") and fresh(seen.frames, mending_ns))
    seen = look(machine, before.now_ns)
    lost, found, first = losses(seen)[0], seen.event("camera found"), fresh(seen.frames, mending_ns)
    assert found
    assert first
    bench.say(f"found after {found.detail['after']} s: {found.detail['camera']}")
    assert (seen.pid, seen.restarts) == (before.pid, before.restarts), logs(machine)
    # An attempt to open it before it is mended may add another.
    assert tuple(loss.detail["cause"] for loss in losses(seen))[: len(causes)] == causes
    stale = [each for each in seen.frames if broken_ns + late_s * 1e9 < each.captured_ns < mending_ns]
    between = [each for each in seen.frames if lost.at_ns < each.done_ns < found.at_ns]
    assert stale == between == []
    every_frame_is_new(seen.frames)
    noticed_s, recovered_s = (lost.at_ns - breaking_ns) / 1e9, (first.done_ns - mending_ns) / 1e9
    bench.say(f"noticed after {noticed_s:.1f} s, recovered after {recovered_s:.1f} s, the process is the same")
    told = ", then ".join(f"`{cause}`" for cause in causes)
    bench.cases.append(Case(fault, f"lost ({told}), opened again in the same process", noticed_s, recovered_s))
    return seen


def losses(seen: Look) -> list[Event]:
    return [each for each in seen.events if each.kind == "camera lost"]


def started_ns(seen: Look) -> int:
    """When a new run of the service began; in the far future where none did."""
    started = seen.event("started")
    return started.at_ns if started else 1 << 62


def fresh(frames: list[Result], since_ns: int) -> Optional[Result]:
    return next((each for each in frames if each.captured_ns > since_ns), None)


def every_frame_is_new(frames: list[Result]) -> None:
    for name in ("captured_ns", "sequence"):
        numbers = [getattr(each, name) for each in frames]
        assert numbers == sorted(set(numbers)), f"{name} goes back or stands still"
    assert all(each.stands_for == 1 for each in frames), "frames without a row: nothing is known of them"
