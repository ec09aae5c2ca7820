"""Times `edge-deploy train` on cached features against Keras' own fit, as whole processes in turn. Prints a table."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.heavy import HOW_TO_INSTALL

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BACKBONE = "efficientnet_lite0"
PICTURES = 120
LEAST_TIMES_FASTER = 8.0
MOST_POINTS_APART = 1.0


def run(*command: object) -> str:
    """What a command prints.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return done.stdout


def subset(flowers: Path, folder: Path) -> None:
    """The first pictures of each class."""
    for source in sorted(path for path in flowers.iterdir() if path.is_dir()):
        (folder / source.name).mkdir(parents=True)
        for path in sorted(source.iterdir())[:PICTURES]:
            shutil.copy(path, folder / source.name)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    if importlib.util.find_spec("keras") is None:
        print(f"Training was not measured: it needs TensorFlow; {HOW_TO_INSTALL}.")
        return
    flowers = Path(os.environ.get("EDGE_TEST_DATA", ROOT.parent / "shared" / "data")) / "flowers"
    if not flowers.is_dir():
        print(f"Training was not measured: no pictures at {flowers} (set EDGE_TEST_DATA).")
        return
    totals, features, apart = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subset(flowers, folder / "data")
        split = folder / "split.csv"
        run("-m", "deploy.cli", "split", folder / "data", "--out", split, "--shares", "50,40,10")
        for number in range(options.rounds):
            print(f"training, round {number + 1} of {options.rounds}", file=sys.stderr)
            out = folder / f"out{number}"
            started_s = time.monotonic()
            run(
                *("-m", "deploy.cli", "train", folder / "data", "--split", split, "--backbone", BACKBONE),
                *("--epochs", options.epochs, "--patience", options.epochs, "--out", out),
                *("--cache", folder / f"cache{number}"),
            )
            mine_s = time.monotonic() - started_s
            metrics = json.loads((out / "metrics.json").read_text())
            told = json.loads(run(HERE / "plain_keras.py", folder / "data", split, BACKBONE, options.epochs))
            totals.append((mine_s, told["seconds"]))
            each_s = metrics["seconds"]["features"] / sum(metrics["pictures"].values())
            features.append((1000 * each_s, 1000 * told["features_s"]))
            apart.append(100 * (metrics["validation_accuracy"] - told["accuracy"]))
    print("| what | edge-deploy | baseline | times faster | bar | holds |\n|---|---|---|---|---|---|")
    faster = row(f"`edge-deploy train`, {5 * PICTURES} pictures, {options.epochs} epochs", "Keras' fit", "s", totals)
    holds = faster >= LEAST_TIMES_FASTER and statistics.median(apart) >= -MOST_POINTS_APART
    print(f" {LEAST_TIMES_FASTER:g} | {'yes' if holds else 'NO'} |")
    row("features of a picture, reading it and making the model ready counted", "Keras' predict", "ms", features)
    print(" - | - |")
    print(f"\nBest validation accuracy: {statistics.median(apart):+.2f} points against the baseline's.")


def row(what: str, baseline: str, unit: str, pairs: list[tuple[float, float]]) -> float:
    """Print the beginning of a line of the table; gives the median of the rounds' ratios."""
    mine, other = (statistics.median(values) for values in zip(*pairs))
    faster = statistics.median(theirs / ours for ours, theirs in pairs)
    print(f"| {what} | {mine:.1f} {unit} | {baseline}: {other:.1f} {unit} | {faster:.1f} |", end="")
    return faster


if __name__ == "__main__":
    main()
