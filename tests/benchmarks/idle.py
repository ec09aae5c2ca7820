"""What the service costs beside its work: CPU time at one frame a second, with the journal on.

`python -m tests.benchmarks.idle [--rounds N] [--seconds S]` prints a Markdown table. The baseline, `bare_idle.py`,
reads the same drawn scene at the same rate and does nothing with a frame but preprocess and invoke.
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
from contextlib import closing
from pathlib import Path

from edge import device
from tests.notices import Notices

ROOT = Path(__file__).resolve().parents[2]
MODEL = "efficientnet_lite0_int8"
MOST = 1.15
CYCLE_S = 16
"""The scene shows four things in turn, of which each is drawn when its turn begins."""
_SETTLE_S = 3.0
_CPUCLOCK_SCHED = 2


def cpu_s(process_id: int) -> float:
    """CPU time of all threads of a process, those that have ended included, in seconds.

    Source: clock_getcpuclockid(3), as glibc makes the clock's number from the process's.
    """
    return time.clock_gettime_ns((~process_id << 3) | _CPUCLOCK_SCHED) / 1e9


def measured_ms(process: subprocess.Popen[str], seconds: int) -> float:
    """CPU time in milliseconds for each second of a process that is ready, which is ended then."""
    try:
        time.sleep(_SETTLE_S)
        before_s, began_s = cpu_s(process.pid), time.monotonic()
        time.sleep(seconds)
        spent_s, long_s = cpu_s(process.pid) - before_s, time.monotonic() - began_s
    finally:
        process.terminate()
        process.communicate()
    return spent_s / long_s * 1e3


def service_ms(threads: int, seconds: int) -> float:
    """Of the daemon as systemd runs it, watchdog included, with a journal and its defaults."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sections = {"camera": {"source": "scene"}, "model": {"path": MODEL}, "runtime": {"threads": threads}, "fps": 1}
        config = folder / "config.yaml"
        config.write_text(json.dumps({**sections, "journal": {"path": str(folder / "field.db")}}))
        with closing(Notices(folder / "notify")) as notices:
            environment = {**os.environ, "NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "30000000"}
            command = [sys.executable, "-m", "edge", "run", "--service", "--config", str(config)]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment)
            notices.wait_for("READY")
            threading.Thread(target=_read_all, args=(notices, process), daemon=True).start()
            return measured_ms(process, seconds)


def _read_all(notices: Notices, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        notices.drain()
        time.sleep(1)


def bare_ms(threads: int, seconds: int) -> float:
    """Of the baseline.

    Raises:
        SystemExit: it ended.
    """
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "bare_idle.py"), MODEL, str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        sys.exit(f"{' '.join(command)} ended: run it to see why.")
    return measured_ms(process, seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2 * CYCLE_S, help=f"of a round; best a multiple of {CYCLE_S}")
    options = parser.parse_args()
    print("| CPU time of a frame, at 1 frame a second | edge run --service | bare | ratio | bar | holds |")
    print("|---|---|---|---|---|---|")
    for threads in (1, os.cpu_count() or 1):
        pairs = []
        for number in range(options.rounds):
            told = {}
            for measure in (service_ms, bare_ms) if number % 2 else (bare_ms, service_ms):
                told[measure] = measure(threads, options.seconds)
            pairs.append((told[service_ms], told[bare_ms]))
        mine, base = (statistics.median(each) for each in zip(*pairs))
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        named = "1 thread" if threads == 1 else f"{threads} threads"
        bar = f"≤ {MOST} | {'yes' if ratio <= MOST else 'no'}"
        print(f"| {named} | {mine:.2f} ms | {base:.2f} ms | {ratio:.3f} | {bar} |", flush=True)
    told = device.read()
    machine = f"{told.cpu or told.model}, {told.processors} processors, Python {sys.version.split()[0]}"
    print(f"\n{machine}; medians of {options.rounds} rounds of {options.seconds} s each.")


if __name__ == "__main__":
    main()
