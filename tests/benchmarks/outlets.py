"""What outlets cost the loop: all of them hung, the page with nobody, one and twenty looking, against none at all.

`python -m tests.benchmarks.outlets [--rounds N] [--seconds S]` prints a Markdown table. One process classifies the
drawn scene as fast as it can, on one thread; its outlets are switched by reloads, each time between two stretches
without any, which are the baseline. Broker, scrapers and browsers are other processes on the same machine, whose work
is in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from edge import device
from edge.config import read
from edge.control.client import ask
from edge.journal import socket_path
from edge.records import Record
from edge.service import Service
from edge.signals import Signals
from tests.benchmarks.lookers import Lookers
from tests.broker import Broker, free_port

ROOT = Path(__file__).resolve().parents[2]
ARMS = {
    "hung": "all outlets on, all hung",
    "nobody": "page on, nobody looks",
    "one": "page on, one looks",
    "twenty": "page on, twenty look",
}
LEAST_FPS = {"hung": 0.95, "nobody": 0.95, "one": 0.95}
MOST_P90 = {"twenty": 1.1}
SETTLE_S = 1.5
HUNG = 20


class Stretch(NamedTuple):
    """Some seconds of the loop."""

    fps: float
    p50_ms: float
    p90_ms: float
    """Of the time from result to result."""
    rss_bytes: int
    cpu_share: float
    """Processors busy with this process."""
    pause_ms: float
    """The longest between two results while the reload before it took over."""
    answers: float = 0
    """A second, to all who look."""


class Witness:
    """The service's output: notes when each result came."""

    wants_board = False

    def __init__(self) -> None:
        self.came_ns: list[int] = []

    def began(self, *_: Any) -> Sequence[Any]:
        return [self]

    def abandoned(self, unwritten: bool) -> None:
        raise AssertionError("the loop was stuck")

    def write(self, record: Record) -> None:
        self.came_ns.append(record.monotonic_ns)

    def close(self) -> None: ...


def serve(path: Path) -> None:
    """Run a service; each line of stdin is a configuration, and is answered by a stretch of it."""
    signals, witness = Signals(), Witness()
    service = Service(lambda: read(path), signals, witness)
    service.open()
    threading.Thread(target=service.run, daemon=True).start()
    while not witness.came_ns:
        time.sleep(0.1)
    for line in sys.stdin:
        asked = json.loads(line)
        path.write_text(json.dumps(asked["config"]))
        witness.came_ns.clear()
        signals.on_reload()
        time.sleep(SETTLE_S)
        pause_ms = float(np.diff(np.array(witness.came_ns)).max()) / 1e6
        print("ready", flush=True)
        sys.stdin.readline()
        witness.came_ns.clear()
        cpu_s, began_s = time.process_time(), time.monotonic()
        time.sleep(asked["seconds"])
        seconds = time.monotonic() - began_s
        came_ns = np.array(witness.came_ns)
        periods_ms = np.diff(came_ns) / 1e6 if len(came_ns) > 1 else np.zeros(1)
        stretch = Stretch(
            len(came_ns) / seconds,
            float(np.percentile(periods_ms, 50)),
            float(np.percentile(periods_ms, 90)),
            rss_bytes(os.getpid()),
            (time.process_time() - cpu_s) / seconds,
            pause_ms,
        )
        print(json.dumps(stretch), flush=True)
    signals.stop.set()
    signals.on_stop()


def rss_bytes(process_id: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Measured:
    """The process that classifies, and whoever looks at it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._base = {
            "camera": {"source": "scene", "fps": 200.0},
            "runtime": {"threads": 1},
            "journal": {"path": str(folder / "field.db")},
        }
        self._journal = folder / "field.db"
        self._broker = stack.enter_context(Broker(folder))
        self._ports = {"prometheus": free_port(), "web": free_port()}
        config = folder / "config.yaml"
        config.write_text(json.dumps(self._base))
        command = [sys.executable, "-m", "tests.benchmarks.outlets", "--serve", str(config)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, stderr=subprocess.DEVNULL
        )
        stack.callback(self._process.terminate)

    def stretch(self, arm: str, seconds: float) -> Stretch:
        """Some seconds of one of the arms."""
        self._begin(arm, seconds)
        with ExitStack() as stack:
            lookers = self._look(arm, stack)
            self._say({})
            told = Stretch(*json.loads(self._hear()))
            return told._replace(answers=lookers.leave() / seconds) if lookers else told

    def _begin(self, arm: str, seconds: float) -> None:
        web = {"web": {"enabled": True, "port": self._ports["web"]}}
        more: dict[str, Any] = {}
        if arm in ("nobody", "one", "twenty"):
            more = web
        elif arm == "hung":
            mqtt = {"enabled": True, "host": "127.0.0.1", "port": self._broker.port, "every_frame": True}
            more = {**web, "mqtt": mqtt, "prometheus": {"enabled": True, "port": self._ports["prometheus"]}}
        self._say({"config": {**self._base, **more}, "seconds": seconds})
        assert self._hear() == "ready"

    def _look(self, arm: str, stack: ExitStack) -> Optional[Lookers]:
        """Whoever belongs to an arm; those who get answers are given back."""
        if arm == "hung":
            self._broker.hang()
            stack.callback(self._broker.go_on)
            stack.enter_context(Lookers(self._ports["prometheus"], HUNG, "scrapes, never reads"))
            stack.enter_context(Lookers(self._ports["web"], HUNG, "never reads"))
        if arm in ("one", "twenty"):
            return stack.enter_context(Lookers(self._ports["web"], 20 if arm == "twenty" else 1, "looks"))
        return None

    def hang(self, seconds: int) -> tuple[list[int], dict[str, dict[str, Any]]]:
        """All hung for so long: resident memory every tenth of it, and how each outlet does at the end."""
        self._begin("hung", 0)
        with ExitStack() as stack:
            self._look("hung", stack)
            found = []
            for _ in range(10):
                time.sleep(seconds / 10)
                found.append(rss_bytes(self._process.pid))
            outlets = self._outlets()
            self._say({})
            self._hear()
        return found, outlets

    def _outlets(self) -> dict[str, dict[str, Any]]:
        """How each does, as `edge status` tells it."""
        return dict(ask(socket_path(self._journal), {"do": "status"}).get("outlets", {}))

    def _say(self, what: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(what), file=self._process.stdin, flush=True)

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--hang", type=int, default=60, help="seconds with all hung, for memory and drops")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    off: list[Stretch] = []
    told: dict[str, list[tuple[Stretch, Stretch]]] = {arm: [] for arm in ARMS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured = Measured(folder, stack)
        for _ in range(options.rounds):
            for arm, pairs in told.items():
                before = measured.stretch("off", options.seconds)
                during = measured.stretch(arm, options.seconds)
                after = measured.stretch("off", options.seconds)
                off += [before, after]
                pairs.append((during, _between(before, after)))
        rss, hung = measured.hang(options.hang)
    fps, p90_ms, cpu = (
        statistics.median(getattr(each, name) for each in off) for name in ("fps", "p90_ms", "cpu_share")
    )
    print("| outlets | frames/s | ratio | p90 from result to result | ratio | processors | answers/s | bar | holds |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(f"| none | {fps:.1f} | 1 | {p90_ms:.2f} ms | 1 | {cpu:.2f} | | | |")
    for arm, pairs in told.items():
        print(_row(arm, pairs))
    pauses = [each.pause_ms for pairs in told.values() for each, _ in pairs] + [each.pause_ms for each in off]
    print(f"\nReloads that switched outlets: longest pause of the loop, median {statistics.median(pauses):.0f} ms.")
    print(f"All hung for {options.hang} s: resident memory {', '.join(f'{each / 1e6:.1f}' for each in rss)} MB.")
    for name, status in hung.items():
        print(f"{name}: dropped {status['dropped']}, waiting {status['waiting']}, trouble: {status['trouble']}")
    board = device.read()
    machine = f"{board.cpu or board.model}, {board.processors} processors, Python {sys.version.split()[0]}"
    print(f"\n{machine}; medians of {options.rounds} rounds of {options.seconds:g} s each.")


def _between(before: Stretch, after: Stretch) -> Stretch:
    """The baseline at the time of a stretch between these two."""
    return Stretch(*((one + other) / 2 for one, other in zip(before, after)))


def _row(arm: str, pairs: list[tuple[Stretch, Stretch]]) -> str:
    fps, p90 = (
        statistics.median(getattr(during, name) / getattr(base, name) for during, base in pairs)
        for name in ("fps", "p90_ms")
    )
    names = ("fps", "p90_ms", "cpu_share", "answers")
    mine = [statistics.median(getattr(during, name) for during, _ in pairs) for name in names]
    bars, holds = [], True
    if arm in LEAST_FPS:
        bars.append(f"rate ≥ {LEAST_FPS[arm]}")
        holds = fps >= LEAST_FPS[arm]
    if arm in MOST_P90:
        bars.append(f"p90 ≤ {MOST_P90[arm]}")
        holds = holds and p90 <= MOST_P90[arm]
    rate, cost = f"{mine[0]:.1f} | {fps:.3f}", f"{mine[1]:.2f} ms | {p90:.3f} | {mine[2]:.2f} | {mine[3]:.0f}"
    return f"| {ARMS[arm]} | {rate} | {cost} | {', '.join(bars)} | {'yes' if holds else 'no'} |"


if __name__ == "__main__":
    main()
