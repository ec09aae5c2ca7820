"""Prints each figure as a ratio to its baseline, measured in turn, as a Markdown table.

Only the standard library is imported here: Linux counts a parent's memory into the peak of a child that it starts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
EDGE = [sys.executable, "-m", "edge"]
Measure = Callable[[], tuple[float, ...]]
WARM_UP = 60
PEAK_FRAMES = 200
SOAK_FRAMES, SOAK_SETTLED, SOAK_EVERY = 100_000, 5_000, 250
SOAK_MOST_BYTES_PER_FRAME = 1.0


class Ended(NamedTuple):
    """A child process that has ended."""

    seconds: float
    peak_bytes: int
    stdout: str


class Row(NamedTuple):
    """One line of the table; each pair is (edge-runner, baseline) of one round."""

    what: str
    baseline: str
    unit: str
    least: float
    most: float
    pairs: list[tuple[float, float]]


def child(command: Sequence[str], output: Path) -> Ended:
    """Run a command with its stdout in a file.

    Raises:
        SystemExit: it failed.
    """
    with output.open("wb") as stdout, output.with_suffix(".err").open("wb") as stderr:
        started_s = time.monotonic()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=HERE.parents[1])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output.with_suffix('.err').read_text(errors='replace')}")
    return Ended(seconds, usage.ru_maxrss * 1024, output.read_text())


def in_turn(ours_first: bool, ours: Measure, theirs: Measure, *rows: Row) -> None:
    """Measure both, and add a pair to each row."""
    if ours_first:
        mine, other = ours(), theirs()
    else:
        other, mine = theirs(), ours()
    for row, pair in zip(rows, zip(mine, other)):
        row.pairs.append(pair)


class Bench:
    """The rounds: everything is measured once in each, edge-runner first in every second one."""

    def __init__(self, model: str, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames
        told = child([sys.executable, str(HERE / "material.py"), model, str(folder)], folder / "material")
        self.told: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
        self.model, self.name = self.told["model"]["path"], model
        self.missing: list[str] = []
        video, pictures = "`edge run` on a 640x480 video, unpaced", "`edge run` on a folder of pictures"
        self.answer = Row("frame in memory (640x480) to top 5, 1 thread", "MediaPipe Tasks", "ms", 0, 1.0, [])
        self.period = Row(f"{video}: time for each frame, 1 thread", "bare invoke()", "ms", 0, 1.05, [])
        self.agree = Row("`edge bench` p50, 1 thread", "litert-benchmark's median", "ms", 0.97, 1.03, [])
        self.memory = Row(f"{pictures}: peak memory", "bare script", "MB", 0, 1.15, [])
        self.video = Row(f"{video}: peak memory", "bare script that decodes the video too", "MB", 0, 1.15, [])
        self.process = Row("`edge classify` of one picture, whole process", "bare script", "ms", 0, 1.3, [])

    def rows(self) -> list[Row]:
        """Those that were measured."""
        rows = (self.answer, self.period, self.agree, self.memory, self.video, self.process)
        return [row for row in rows if row.pairs]

    def round(self, number: int) -> None:
        """Measure everything once."""
        ours_first = number % 2 == 0
        if not self.missing:
            self._answer()
        in_turn(ours_first, self._run_video, self._bare_invoke, self.period)
        in_turn(ours_first, self._run_pictures, self._bare_once_peak, self.memory)
        in_turn(ours_first, self._run_video_peak, self._bare_video_peak, self.video)
        in_turn(ours_first, self._edge_bench, self._litert_benchmark, self.agree)
        for _ in range(3):
            in_turn(ours_first, self._classify, self._bare_once, self.process)

    def _answer(self) -> None:
        command = [sys.executable, str(HERE / "frame_to_answer.py"), self.name, str(self.frames // 3)]
        told = json.loads(child(command, self.folder / "answer").stdout.splitlines()[-1])
        if "missing" in told:
            self.missing.append(told["missing"])
        else:
            self.answer.pairs.append((told["edge"] / 1e6, told["mediapipe"] / 1e6))

    def _run(self, source: str, frames: int) -> Ended:
        command = [*EDGE, "run", "--camera", str(self.folder / source), "--loop", "--model", self.name]
        return child([*command, "--threads", "1", "--frames", str(frames), "--json"], self.folder / "run")

    def _run_video(self) -> tuple[float]:
        """Milliseconds between results, after the warm-up."""
        lines = self._run("video.mp4", WARM_UP + self.frames).stdout.splitlines()
        begin, end = (datetime.datetime.fromisoformat(json.loads(lines[index])["utc"]) for index in (WARM_UP - 1, -1))
        return ((end - begin).total_seconds() * 1000 / (len(lines) - WARM_UP),)

    def _run_video_peak(self) -> tuple[float]:
        return (self._run("video.mp4", PEAK_FRAMES).peak_bytes / 1e6,)

    def _run_pictures(self) -> tuple[float]:
        return (self._run("pictures", PEAK_FRAMES).peak_bytes / 1e6,)

    def _bare(self, *arguments: object) -> Ended:
        command = [sys.executable, str(HERE / "bare.py"), self.model, *(str(argument) for argument in arguments)]
        return child(command, self.folder / "bare")

    def _bare_invoke(self) -> tuple[float]:
        return (float(self._bare(1, self.frames, WARM_UP).stdout) / 1e6,)

    def _bare_once_peak(self) -> tuple[float]:
        return (self._bare(1, PEAK_FRAMES).peak_bytes / 1e6,)

    def _bare_video_peak(self) -> tuple[float]:
        return (self._bare(1, 1, PEAK_FRAMES, self.folder / "video.mp4").peak_bytes / 1e6,)

    def _bare_once(self) -> tuple[float]:
        return (self._bare(1, 1).seconds * 1000,)

    def _classify(self) -> tuple[float]:
        command = [
            *EDGE,
            "classify",
            "--model",
            self.name,
            "--threads",
            "1",
            str(self.folder / "pictures" / "picture.jpg"),
        ]
        return (child(command, self.folder / "classify").seconds * 1000,)

    def _edge_bench(self) -> tuple[float]:
        command = [*EDGE, "bench", "--model", self.name, "--threads", "1", "--seconds", "5", "--json"]
        told = json.loads(child(command, self.folder / "bench").stdout)
        if not told["valid"]:
            self.missing.append(f"edge bench: {'; '.join(told['why_invalid'])}")
        return (told["invoke_ms"]["p50"],)

    def _litert_benchmark(self) -> tuple[float]:
        told = self.folder / "litert.json"
        command = [str(BIN / "litert-benchmark"), "--model", self.model, "--num_threads", "1"]
        command += ["--warmup_runs", str(WARM_UP), "--num_runs", str(self.frames), "--result_json", str(told)]
        child(command, self.folder / "litert")
        return (json.loads(told.read_text())["latency"]["median_ms"],)

    def soak(self, frames: int) -> tuple[float, int]:
        """Bytes by which the memory grows with each frame after the first 5,000 (least squares), and frames seen."""
        command = [*EDGE, "run", "--camera", str(self.folder / "video.mp4"), "--loop", "--model", self.name]
        command += ["--threads", "1", "--frames", str(frames), "--json"]
        points: list[tuple[int, int]] = []
        seen, due = 0, SOAK_SETTLED
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=HERE.parents[1]
        ) as process:
            assert process.stdout is not None
            while chunk := os.read(process.stdout.fileno(), 1 << 16):
                seen += chunk.count(b"\n")
                if seen >= due and (resident := resident_bytes(process.pid)):
                    points.append((seen, resident))
                    due = seen + SOAK_EVERY
        if process.returncode or len(points) < 3:
            sys.exit(f"The soak ended after {seen} frames with exit code {process.returncode}.")
        slope, _ = linear_regression([x for x, _ in points], [y for _, y in points])
        return slope, seen


def resident_bytes(pid: int) -> Optional[int]:
    """VmRSS of a process, None once it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def linear_regression(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept by least squares; `statistics.linear_regression` came with Python 3.10."""
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((value - mean_x) ** 2 for value in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / spread
    return slope, mean_y - slope * mean_x


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown: medians over the rounds, and the median of the rounds' ratios."""
    lines = ["| what | edge-runner | baseline | ratio | bar | holds |", "|---|---|---|---|---|---|"]
    for row in rows:
        mine, other = (statistics.median(values) for values in zip(*row.pairs))
        ratio = statistics.median(ours / theirs for ours, theirs in row.pairs)
        bar = f"≤ {row.most:g}" if not row.least else f"{row.least:g} to {row.most:g}"
        holds = "yes" if row.least <= ratio <= row.most else "NO"
        lines.append(
            f"| {row.what} | {mine:.2f} {row.unit} | {row.baseline}: {other:.2f} {row.unit} "
            f"| {ratio:.3f} | {bar} | {holds} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--model", default="efficientnet_lite0_int8", help="a bundle's name or folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=600, help="of each measurement in each round")
    parser.add_argument("--soak", action="store_true", help="also run 100,000 frames and print how memory grows")
    parser.add_argument("--soak-frames", type=int, default=SOAK_FRAMES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.model, Path(folder), options.frames)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            bench.round(number)
        lines = [table(bench.rows())]
        if options.soak:
            slope, frames = bench.soak(options.soak_frames)
            holds = "yes" if slope <= SOAK_MOST_BYTES_PER_FRAME else "NO"
            lines.append(
                f"| growth of memory over {frames:,} frames, after the first {SOAK_SETTLED:,} "
                f"| {slope:.3f} bytes a frame | none | - | ≤ {SOAK_MOST_BYTES_PER_FRAME:g} | {holds} |"
            )
        print("\n".join(lines))
        board, versions = bench.told["device"], bench.told["versions"]
        named = ", ".join(f"{name} {number}" for name, number in versions.items())
        print(
            f"\n{datetime.date.today()}, {board.get('model') or board.get('cpu')}, {os.cpu_count()} processors, "
            f"{board.get('machine')}, {board.get('os')}; {named}; model {bench.told['model']['name']} "
            f"(sha256 {bench.told['model']['sha256'][:12]}); medians of {options.rounds} rounds of "
            f"{options.frames} frames."
        )
        for reason in bench.missing:
            print(f"Not measured or not valid: {reason}")


if __name__ == "__main__":
    main()
