"""What a comparison leaves to read: tables in Markdown and CSV, the whole as JSON, and pictures."""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib.metadata
import io
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec

from deploy import files
from deploy.comparison import figures as comparison_pictures
from deploy.comparison.latency import ROUNDS, WARM_UP_ROUNDS
from deploy.comparison.records import FORMS, TITLES, Comparison, Line, interval, most_half_width
from deploy.training import report as training_report
from deploy.training.fitting import Epoch
from edge.records import in_words

RESULT_FILE = "comparison.json"
NO_WEIGHTS = "no weights here"
_PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "ai-edge-litert", "tflite-runtime")

Cell = Callable[[Line], Any]


def _accuracy(form: str) -> Cell:
    return lambda line: line.top1(form)


def _latency(form: str, name: str) -> Cell:
    return lambda line: getattr(line.latency_ms[form], name)


def _bytes(form: str) -> Cell:
    return lambda line: line.bytes[form]


# Title for the CSV, and what stands there.
COLUMNS: dict[str, Cell] = {
    "model": lambda line: line.name,
    "weights": lambda line: line.weights,
    "parameters": lambda line: line.parameters,
    "macs": lambda line: line.macs,
    **{f"{form}_bytes": _bytes(form) for form in FORMS},
    **{f"{form}_top1": _accuracy(form) for form in FORMS},
    "test_images": lambda line: line.trials[0].images if line.trials else None,
    "seeds": lambda line: len(line.trials) or None,
    **{f"{form}_{name}_ms": _latency(form, name) for form in FORMS for name in ("mean", "p50", "p90")},
    "training_seconds": lambda line: line.training_seconds,
    "features_seconds": lambda line: line.features_seconds,
    "peak_memory_bytes": lambda line: line.peak_memory_bytes,
}


def write(folder: Path, result: Comparison, histories: Mapping[str, Sequence[Epoch]]) -> None:
    """Write table.md, table.csv, the pictures, and comparison.json last.

    Raises:
        ConfigError: the folder cannot be written.
    """
    files.write(folder / "table.md", markdown(result))
    files.write(folder / "table.csv", table(result))
    for name, figure in comparison_pictures.pictures(result, histories).items():
        files.write(folder / name, training_report.png(figure))
    files.write(folder / RESULT_FILE, msgspec.json.format(msgspec.json.encode(result)) + b"\n")


def table(result: Comparison) -> str:
    """The lines as CSV; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(line) for cell in COLUMNS.values()] for line in result.lines)
    return text.getvalue()


def markdown(result: Comparison) -> str:
    """Tables for a person, each with how its numbers came about: accuracy, sizes, latency."""
    titles = [TITLES[form] for form in FORMS]
    used = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    trained = [line for line in result.lines if line.trials]
    parts = [
        f"`{result.data}`, {len(result.classes)} classes. {result.machine}; {used}; {result.date}.",
        _grid(["test top-1", *titles], [[*(_share(line, form) for form in FORMS)] for line in result.lines], result),
    ]
    if trained:
        parts.append(_of_accuracy(result))
    sized = [f"{title}, MB" for title in titles]
    parts += [
        _grid(["model", "parameters", "MACs", *sized, "training, s", "peak memory, MB"], _sizes(result), result),
        "Parameters are those of the float .tflite, BatchNormalization folded away; MACs are those of one picture."
        + (_of_training(result) if trained else ""),
        _grid(["latency, ms", *titles], [[*(_times(line, form) for form in FORMS)] for line in result.lines], result),
        f"Mean of {ROUNDS} runs (p50 / p90) for one picture that is ready to go in, {in_words(result.threads)} each; "
        f"all files took turns in one process, and {WARM_UP_ROUNDS} runs before did not count. Keras by "
        "`predict_on_batch`; `predict` takes longer for a single picture, as it makes a data set of it first.",
    ]
    return "\n\n".join(parts) + "\n"


def _grid(head: list[str], rows: list[list[str]], result: Comparison) -> str:
    """A table with the model in front of each row."""
    body = [[f"`{line.name}`", *row] for line, row in zip(result.lines, rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---", *["--:"] * (len(head) - 1)], *body))


def _share(line: Line, form: str) -> str:
    """An accuracy and how far it can be trusted: its interval, or the range over the seeds."""
    mean = line.top1(form)
    if mean is None:
        return NO_WEIGHTS
    values = [trial.top1[form] for trial in line.trials]
    low, high = interval(values[0], line.trials[0].images) if len(values) == 1 else (min(values), max(values))
    return f"{mean:.2%} ({low:.1%} to {high:.1%})"


def _of_accuracy(result: Comparison) -> str:
    trials = [trial for line in result.lines for trial in line.trials]
    counts = sorted({trial.images for trial in trials})
    images = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    calibrated = f"int8 is calibrated on {result.calibration_images} training pictures at most"
    points = 100 * most_half_width(trials)
    if result.seeds == 1:
        return f"{images} test pictures; in brackets the 95 % interval (Wilson); {calibrated}."
    return (
        f"Means of {result.seeds} seeded splits with {images} test pictures each, in brackets the lowest and the "
        f"highest; the 95 % interval of one of these accuracies is at most ±{points:.1f} points (Wilson); {calibrated}."
    )


def _sizes(result: Comparison) -> list[list[str]]:
    return [
        [
            f"{line.parameters / 1e6:.2f} M",
            f"{line.macs / 1e6:.0f} M",
            *(f"{line.bytes[form] / 1e6:.2f}" for form in FORMS),
            _training(line),
            NO_WEIGHTS if line.peak_memory_bytes is None else f"{line.peak_memory_bytes / 1e6:.0f}",
        ]
        for line in result.lines
    ]


def _training(line: Line) -> str:
    if line.training_seconds is None:
        return NO_WEIGHTS
    return f"{line.training_seconds:.0f} ({line.features_seconds or 0:.0f})"


def _of_training(result: Comparison) -> str:
    first = " on the first split" if result.seeds > 1 else ""
    return (
        f" Training{first} goes from the folder of pictures to the .keras file, in brackets what the features took of "
        "it (next to nothing where they were cached); peak memory is that of its process."
    )


def _times(line: Line, form: str) -> str:
    told = line.latency_ms[form]
    mean, p50, p90 = (_ms(value) for value in (told.mean, told.p50, told.p90))
    return f"{mean} ({p50} / {p90})"


def _ms(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.1f}"


def machine() -> str:
    """The processor in words, and how many of them there are."""
    name = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} processors"


def versions() -> dict[str, str]:
    """Of the packages that decide accuracy and latency, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def today() -> str:
    """The date as in a README."""
    return datetime.date.today().isoformat()
