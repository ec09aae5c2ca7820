"""The table of a comparison: Markdown, CSV, JSON, and pictures of accuracy, latency, sizes and training."""

from __future__ import annotations

import csv
import datetime
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import msgspec

from deploy import files, training_report
from deploy.compare import FORMS, Comparison, Line
from edge.stats import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT_FILE = "comparison.json"
NO_WEIGHTS = "no weights here"
_TITLES = {"keras": ".keras", "float32": "float .tflite", "int8": "int8 .tflite"}
_MARKERS = {"keras": "s", "float32": "o", "int8": "^"}

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
    "peak_memory_bytes": lambda line: line.peak_memory_bytes,
}


def write(folder: Path, result: Comparison, histories: dict[str, Any]) -> None:
    """Write table.md, table.csv, comparison.json and the pictures.

    Raises:
        ConfigError: the folder cannot be written.
    """
    files.write(folder / "table.md", markdown(result))
    files.write(folder / "table.csv", table(result))
    files.write(folder / "accuracy_latency.png", training_report.png(accuracy_latency(result)))
    files.write(folder / "sizes.png", training_report.png(sizes(result)))
    if histories:
        files.write(folder / "curves.png", training_report.png(training_report.curves(histories)))
    files.write(folder / RESULT_FILE, msgspec.json.format(msgspec.json.encode(result)) + b"\n")


def table(result: Comparison) -> str:
    """The lines as CSV; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(line) for cell in COLUMNS.values()] for line in result.lines)
    return text.getvalue()


def markdown(result: Comparison) -> str:
    """Two tables for a person: what each model is and how accurate, and how long it takes."""
    titles = [_TITLES[form] for form in FORMS]
    sized, right = [f"{title}, MB" for title in titles], [f"{title}, top-1" for title in titles]
    what = [["model", "parameters", "MACs", *sized, *right, "training, s", "peak, MB"]]
    times = [["latency, ms: mean (p50 / p90)", *titles]]
    for line in result.lines:
        what.append(
            [
                f"`{line.name}`",
                f"{line.parameters / 1e6:.2f} M",
                f"{line.macs / 1e6:.0f} M",
                *(f"{line.bytes[form] / 1e6:.2f}" for form in FORMS),
                *(_share(line, form) for form in FORMS),
                "-" if line.training_seconds is None else f"{line.training_seconds:.0f}",
                "-" if line.peak_memory_bytes is None else f"{line.peak_memory_bytes / 1e6:.0f}",
            ]
        )
        times.append([f"`{line.name}`", *(_times(line, form) for form in FORMS)])
    images = max((trial.images for line in result.lines for trial in line.trials), default=0)
    each = f"means of {result.seeds} seeded splits, " if result.seeds > 1 else ""
    interval = _widest(result)
    return (
        f"{result.data}: {len(result.classes)} classes; {each}{images} test pictures in each{interval}. "
        f"{result.machine}, {result.threads} threads, {result.date}.\n\n{_grid(what)}\n\n{_grid(times)}\n"
    )


def _share(line: Line, form: str) -> str:
    mean = line.top1(form)
    if mean is None:
        return NO_WEIGHTS
    values = [trial.top1[form] for trial in line.trials]
    spread = f" ({min(values):.1%} to {max(values):.1%})" if len(values) > 1 else ""
    return f"{mean:.2%}{spread}"


def _times(line: Line, form: str) -> str:
    told = line.latency_ms[form]
    p50, p90 = ("-" if value is None else f"{value:.1f}" for value in (told.p50, told.p90))
    return f"{told.mean:.1f} ({p50} / {p90})"


def _widest(result: Comparison) -> str:
    """How sure one accuracy of the table is."""
    trials = [trial for line in result.lines for trial in line.trials]
    widths = [_half_width(trial.top1["int8"], trial.images) for trial in trials]
    return f" (95 %: at most ±{max(widths):.1%} each)" if widths else ""


def _half_width(share: float, images: int) -> float:
    low, high = wilson(round(share * images), images) or (0.0, 1.0)
    return (high - low) / 2


def _grid(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def accuracy_latency(result: Comparison) -> Figure:
    """Accuracy against latency, a colour for each model and a marker for each form."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(result.lines):
        for form in FORMS:
            share: Optional[float] = line.top1(form)
            if share is not None:
                place = (line.latency_ms[form].p50, 100 * share)
                axes.plot(*place, _MARKERS[form], color=f"C{number % 10}", label=f"{line.name}, {_TITLES[form]}")
    axes.set_xscale("log")
    axes.set_xlabel("latency of one picture, median (ms)")
    axes.set_ylabel("test top-1 (%)")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def sizes(result: Comparison) -> Figure:
    """Size of each file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.5 + 0.45 * len(result.lines)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(FORMS)
    for place, form in enumerate(FORMS):
        rows = [number + (place - 1) * height for number in range(len(result.lines))]
        axes.barh(rows, [line.bytes[form] / 1e6 for line in result.lines], height, label=_TITLES[form])
    axes.set_yticks(range(len(result.lines)), [line.name for line in result.lines])
    axes.invert_yaxis()
    axes.set_xlabel("size (MB)")
    axes.legend()
    return figure


def machine() -> str:
    """The processor in words, and how many of them."""
    import platform

    name = platform.machine()
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name}, {os.cpu_count()} processors"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def today() -> str:
    """The date as in a README."""
    return datetime.date.today().isoformat()
