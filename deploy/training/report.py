"""What a training leaves to read: metrics, the history of its epochs, curves and the confusion matrix."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import platform
import resource
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import msgspec
import numpy as np

from deploy import files
from deploy.pictures.datasets import Dataset, Report
from deploy.training.fitting import Epoch
from edge import __version__
from edge.errors import ConfigError
from edge.stats import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS_FILE = "metrics.json"
LABELS_FILE = "labels.txt"
HISTORY_FILE = "history.csv"
_PACKAGES = ("ai-edge-litert", "tflite-runtime")
_DIGITS = 6


class ClassMetrics(msgspec.Struct, frozen=True):
    """One class of the test pictures."""

    images: int
    recall: Optional[float]
    """Share of its pictures that were taken for it; None when there are none."""
    precision: Optional[float]
    """Share of what was taken for it that was it; None when nothing was."""


class Metrics(msgspec.Struct, frozen=True):
    """What a training came to. Accuracies are shares of pictures in [0, 1]."""

    backbone: str
    weights: str
    weights_sha256: Optional[str]
    classes: tuple[str, ...]
    pictures: dict[str, int]
    """In each part."""
    test_accuracy: float
    test_interval95: tuple[float, float]
    """Wilson score interval."""
    validation_accuracy: float
    head_validation_accuracy: float
    """Before fine-tuning; without it the same as `validation_accuracy`."""
    per_class: dict[str, ClassMetrics]
    confusion: tuple[tuple[int, ...], ...]
    """Rows are the truth, columns the answers, in the order of `classes`."""
    interrupted: bool
    settings: dict[str, Any]
    data: Report
    """What was found in the folders of pictures."""
    seconds: dict[str, float]
    """Of "pictures" (reading and dividing them), "features", the epochs of "head" and "finetune", and "all". An
    interrupted run that was gone on with counts all its epochs, and of the rest what came after the interruption."""
    peak_memory_bytes: int
    """Of the whole process."""
    machine: str
    versions: dict[str, str]


def measure(dataset: Dataset, answers: Sequence[int], **facts: Any) -> Metrics:
    """Compare the answers for the test pictures with the truth.

    Args:
        dataset: whose test pictures were classified.
        answers: the class index for each of them, in their order.
        facts: the fields of `Metrics` that do not come from these.
    """
    truth = np.array([picture.class_id for picture in dataset.part("test")])
    confusion = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    np.add.at(confusion, (truth, np.asarray(answers)), 1)
    right, total = int(np.trace(confusion)), int(confusion.sum())
    low, high = wilson(right, total) or (0.0, 1.0)
    return Metrics(
        classes=dataset.classes,
        pictures={part: len(dataset.part(part)) for part in ("train", "validation", "test")},
        test_accuracy=round(right / total, _DIGITS),
        test_interval95=(round(low, _DIGITS), round(high, _DIGITS)),
        per_class={
            name: ClassMetrics(
                images=int(confusion[index].sum()),
                recall=_share(confusion[index, index], confusion[index].sum()),
                precision=_share(confusion[index, index], confusion[:, index].sum()),
            )
            for index, name in enumerate(dataset.classes)
        },
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        data=dataset.report(),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        versions={"edge-runner": __version__, **_versions()},
        **facts,
    )


def _share(part: int, whole: int) -> Optional[float]:
    return round(float(part / whole), _DIGITS) if whole else None


def _versions() -> dict[str, str]:
    import cv2
    import keras
    import tensorflow as tf

    versions = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def read(folder: Path) -> Metrics:
    """The metrics of a training.

    Raises:
        ConfigError: they cannot be read.
    """
    path = folder / METRICS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Metrics)
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror or error}; give the --out of a training.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not what a training writes ({error}): delete {folder} and train anew.") from None


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a training that came to its end."""
    return (folder / METRICS_FILE).is_file() and not read(folder).interrupted


def write(folder: Path, metrics: Metrics, history: Sequence[Epoch]) -> None:
    """Write all that is there to read, metrics.json last.

    Raises:
        ConfigError: the folder cannot be written.
    """
    files.write(folder / LABELS_FILE, "".join(f"{name}\n" for name in metrics.classes))
    files.write(folder / HISTORY_FILE, history_text(history))
    files.write(folder / "curves.png", png(curves({metrics.backbone: history})))
    files.write(folder / "confusion.png", png(confusion(metrics)))
    files.write(folder / METRICS_FILE, msgspec.json.format(msgspec.json.encode(metrics)) + b"\n")


def history_text(history: Sequence[Epoch]) -> str:
    """The epochs as CSV; what was not measured is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Epoch.__struct_fields__)
    writer.writerows([getattr(epoch, name) for name in Epoch.__struct_fields__] for epoch in history)
    return text.getvalue()


def read_history(folder: Path) -> list[Epoch]:
    """The epochs of a finished training."""
    with (folder / HISTORY_FILE).open(newline="") as file:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    return msgspec.convert(rows, list[Epoch], strict=False)


def curves(histories: dict[str, Sequence[Epoch]]) -> Figure:
    """Accuracy and loss over the epochs of one or more trainings, fine-tuning behind the head."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        for number, (name, history) in enumerate(histories.items()):
            shown = [epoch for place, epoch in enumerate(history) if place == 0 or epoch.epoch > 0]
            for part, style in (("validation", "-"), ("train", "--")):
                values = [getattr(epoch, f"{part}_{what}") for epoch in shown]
                points = np.array([(place, value) for place, value in enumerate(values) if value is not None])
                if points.size:
                    axes.plot(*points.T, style, color=f"C{number}", label=f"{name}, {part}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy" if what == "accuracy" else "loss (nats)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def confusion(metrics: Metrics) -> Figure:
    """The confusion matrix: each row a class, each cell its share and, where there is room, the count."""
    from matplotlib.figure import Figure

    counts = np.array(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = min(20.0, 3 + 0.5 * len(counts))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(picture, label="share of the class")
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in metrics.classes]
    if len(names) <= 60:
        axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
    if len(names) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, str(count), ha="center", va="center", color=_ink(shares[row, column]))
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    axes.set_title(f"{metrics.backbone}: {metrics.test_accuracy:.1%} of {counts.sum()} test pictures")
    return figure


def _ink(share: float) -> str:
    return "white" if share > 0.5 else "black"


def png(figure: Figure) -> bytes:
    """The picture, the same bytes for the same content."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of scripts that the font lacks: they become boxes
        figure.savefig(data, format="png", dpi=110, metadata={"Software": None})
    return data.getvalue()
