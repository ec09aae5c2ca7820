"""What it costs to have an Edge TPU in a process of its own, and what a second one brings; on stand-ins for one.

`python -m tests.benchmarks.edgetpu [--rounds N] [--frames N]` prints a Markdown table. The stand-in for libedgetpu runs
the shipped model on the CPU: no figure here says anything about an Edge TPU's own speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

from edge.runtimes import require
from edge.runtimes.edgetpu.pool import EdgeTpu
from edge.runtimes.settings import RuntimeSettings
from tests.edgetpu import Library, Standin, compiled

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "efficientnet_lite0_int8" / "model.tflite"
MOST_MS = 0.3
LEAST_RATE = 1.9
_SLEEP_MS = 20
_WARM_UP = 20


def median_ms(run: Callable[[], object], frames: int) -> float:
    """Of so many runs, after some that do not count."""
    samples_ns = []
    for _ in range(_WARM_UP + frames):
        began_ns = time.perf_counter_ns()
        run()
        samples_ns.append(time.perf_counter_ns() - began_ns)
    return statistics.median(samples_ns[_WARM_UP:]) / 1e6


def transport_ms(model: Path, standin: Standin, rounds: int, frames: int) -> list[tuple[float, float]]:
    """Medians of a frame through `EdgeTpu`, and through the same interpreter and library in this process; by round."""
    interpreters = require("litert")
    delegate = interpreters.require().load_delegate(standin.library, {"device": "usb:0"})  # type: ignore[attr-defined]
    inside = interpreters(model, 1, delegate)  # type: ignore[call-arg]
    outside = EdgeTpu(model, 1, RuntimeSettings(name="edgetpu", library=standin.library, device="usb:1"))
    tensor = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)

    def here() -> None:
        inside.input()[...] = tensor
        inside.invoke()
        inside.output().copy()

    def apart() -> None:
        outside.begin(0, tensor)
        assert outside.finished(5.0)

    try:
        found = []
        for number in range(rounds):
            first, second = (apart, here) if number % 2 else (here, apart)
            pair = {run: median_ms(run, frames) for run in (first, second)}
            found.append((pair[apart], pair[here]))
        return found
    finally:
        outside.close()
        inside.close()


def rate_fps(model: Path, video: Path, library: str, devices: tuple[str, ...]) -> float:
    """Frames in a second of `edge run` on a video, after the first ones."""
    command = [sys.executable, "-m", "edge", "run", "--json", "--camera", str(video), "--model", str(model)]
    options = ["--runtime", "edgetpu", "--set", f"runtime.library={library}", "--threads", "1"]
    labels = ["--labels", str(MODEL.parent / "labels.txt"), "--activation", "softmax"]
    for device in devices:
        options += ["--device", device]
    done = subprocess.run([*command, *options, *labels], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, check=True)
    times_ns = [json.loads(line)["monotonic_ns"] for line in done.stdout.splitlines()][_WARM_UP:]
    return (len(times_ns) - 1) / (times_ns[-1] - times_ns[0]) * 1e9


def write_video(path: Path, frames: int) -> None:
    """Noise that is quick to decode."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (320, 240))
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for _ in range(frames):
        writer.write(picture)
    writer.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        standin = Standin(Library.build(folder / "library"), folder / "standin")
        os.environ.update(standin.environment)
        standin.set(devices="usb,usb")
        model = folder / "model_edgetpu.tflite"
        model.write_bytes(compiled(MODEL.read_bytes()))
        pairs = transport_ms(model, standin, given.rounds, given.frames)
        video = folder / "noise.avi"
        write_video(video, given.frames + _WARM_UP)
        standin.set(invoke_ms=_SLEEP_MS)
        rates = [
            (
                rate_fps(model, video, standin.library, ("usb:0", "usb:1")),
                rate_fps(model, video, standin.library, ("usb:0",)),
            )
            for _ in range(max(1, given.rounds // 3))
        ]
    print("| what | edge-runner | baseline | difference or ratio | bar | holds |\n|---|---|---|---|---|---|")
    apart_ms, here_ms = (statistics.median(side) for side in zip(*pairs))
    cost_ms = statistics.median(apart - here for apart, here in pairs)
    two, one = (statistics.median(side) for side in zip(*rates))
    ratio = statistics.median(both / single for both, single in rates)
    row(
        "a 224x224x3 frame, on a stand-in in its own process",
        f"{apart_ms:.2f} ms",
        f"the same in this process: {here_ms:.2f} ms",
        f"{cost_ms:+.3f} ms",
        f"≤ {MOST_MS} ms",
        cost_ms <= MOST_MS,
    )
    row(
        f"`edge run` of a video on two stand-ins, each {_SLEEP_MS} ms slower",
        f"{two:.1f} fps",
        f"on one: {one:.1f} fps",
        f"{ratio:.2f}",
        f"≥ {LEAST_RATE}",
        ratio >= LEAST_RATE,
    )


def row(what: str, ours: str, baseline: str, compared: str, bar: str, holds: bool) -> None:
    print(f"| {what} | {ours} | {baseline} | {compared} | {bar} | {'yes' if holds else 'no'} |")


if __name__ == "__main__":
    main()
