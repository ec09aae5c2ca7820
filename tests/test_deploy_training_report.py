"""What a training leaves to read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Optional

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.pictures.datasets import Dataset, Picture
from deploy.training import report as training_report
from deploy.training.fitting import Epoch
from deploy.training.report import Metrics
from edge.errors import ConfigError
from edge.stats import wilson

CLASSES = ("rose, red", "Ünïcode 玫瑰 🌹", "$x^2_{$", "a rather long name of a class that nobody can read")
FACTS = {
    "backbone": "efficientnet_lite0",
    "weights": "none",
    "weights_sha256": None,
    "validation_accuracy": 0.5,
    "head_validation_accuracy": 0.5,
    "interrupted": False,
    "settings": {},
    "seconds": {"all": 1.0},
}
HISTORY = [
    Epoch("head", 0, None, None, 1.4, 0.25, 0.0, 0.0),
    Epoch("head", 1, 1.2, 0.4, 1.1, 0.5, 1e-3, 0.123),
    Epoch("finetune", 0, None, None, 1.1, 0.5, 0.0, 0.0),
    Epoch("finetune", 1, 1 / 3, 0.7, 0.9, 0.75, 2e-4, 1.5),
]


def dataset(truth: list[int], classes: tuple[str, ...] = CLASSES) -> Dataset:
    root = Path("data")
    pictures = [
        Picture(root / str(number), class_id, "test", f"{number:064x}", 1, str(number))
        for number, class_id in enumerate(truth)
    ]
    return Dataset(root, classes, tuple(pictures))


@pytest.fixture(scope="module", autouse=True)
def _needs_tensorflow(tensorflow: None) -> None:
    """Its version is among what is told."""


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_metrics_count_what_was_right(pairs: list[tuple[int, int]]) -> None:
    truth, answers = [one for one, _ in pairs], [other for _, other in pairs]
    metrics = training_report.measure(dataset(truth), answers, **FACTS)
    right = sum(one == other for one, other in pairs)
    assert metrics.test_accuracy == pytest.approx(right / len(pairs), abs=1e-6)
    assert metrics.test_interval95 == pytest.approx(wilson(right, len(pairs)), abs=1e-6)
    assert np.sum(metrics.confusion) == len(pairs)
    assert metrics.pictures == {"train": 0, "validation": 0, "test": len(pairs)}
    for index, name in enumerate(CLASSES):
        of_class = metrics.per_class[name]
        assert of_class.images == truth.count(index)
        hits = pairs.count((index, index))
        assert metrics.confusion[index][index] == hits
        assert of_class.recall == (pytest.approx(hits / of_class.images, abs=1e-6) if of_class.images else None)
        given_it = answers.count(index)
        assert of_class.precision == (pytest.approx(hits / given_it, abs=1e-6) if given_it else None)
    assert msgspec.json.decode(msgspec.json.encode(metrics), type=Metrics) == metrics


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    metrics = training_report.measure(dataset([0, 1, 2, 3, 3]), [0, 1, 1, 3, 0], **FACTS)
    assert set(metrics.versions) >= {"edge-runner", "tensorflow", "keras", "numpy", "opencv"}
    assert metrics.peak_memory_bytes > 1e7
    assert not training_report.is_finished(tmp_path)
    training_report.write(tmp_path, metrics, HISTORY)
    assert training_report.read(tmp_path) == metrics
    assert training_report.read_history(tmp_path) == HISTORY
    assert training_report.is_finished(tmp_path)
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines() == list(CLASSES)
    training_report.write(tmp_path, msgspec.structs.replace(metrics, interrupted=True), HISTORY)
    assert not training_report.is_finished(tmp_path)
    for name in ("curves.png", "confusion.png"):
        pixels = cv2.imread(str(tmp_path / name))
        assert pixels.std() > 10


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b"[1]"])
def test_metrics_that_cannot_be_read(tmp_path: Path, content: Optional[bytes]) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"metrics\.json") as caught:
        training_report.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [2, 31, 61, 400])
def test_a_confusion_matrix_of_any_size_is_drawn_without_a_warning(classes: int) -> None:
    names = tuple(f"class {number} 玫瑰" for number in range(classes))
    truth = list(range(classes))
    metrics = training_report.measure(dataset(truth, names), truth[::-1], **FACTS)
    png = training_report.png(training_report.confusion(metrics))
    height, width = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert 300 < height <= width < 2500
    assert png == training_report.png(training_report.confusion(metrics))


def test_curves_show_each_epoch_behind_the_other() -> None:
    figure = training_report.curves({"one": HISTORY, "two": HISTORY[:2]})
    accuracy, loss = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in accuracy.lines}
    assert lines["one, validation"] == [[0, 0.25], [1, 0.5], [2, 0.75]]
    assert lines["one, train"] == [[1, 0.4], [2, 0.7]]
    assert lines["two, validation"] == [[0, 0.25], [1, 0.5]]
    assert [line.get_label() for line in loss.lines] == list(lines)
    only_begun = training_report.curves({"one": HISTORY[:1]})
    assert [line.get_label() for line in only_begun.axes[0].lines] == ["one, validation"]


@given(
    st.lists(
        st.builds(
            Epoch,
            phase=st.sampled_from(["head", "finetune"]),
            epoch=st.integers(0, 1000),
            train_loss=st.none() | st.floats(0, 1e6),
            train_accuracy=st.none() | st.floats(0, 1),
            validation_loss=st.floats(0, 1e6),
            validation_accuracy=st.floats(0, 1),
            learning_rate=st.floats(0, 10),
            seconds=st.floats(0, 1e5),
        )
    )
)
def test_the_history_survives_its_file(tmp_path_factory: pytest.TempPathFactory, history: list[Epoch]) -> None:
    folder = tmp_path_factory.mktemp("history")
    (folder / "history.csv").write_text(training_report.history_text(history))
    assert training_report.read_history(folder) == history


def test_the_better_epoch_has_more_right_or_a_lower_loss() -> None:
    one = HISTORY[1]
    assert one.better_than(None)
    assert not one.better_than(one)
    assert msgspec.structs.replace(one, validation_loss=math.nextafter(one.validation_loss, 0)).better_than(one)
    assert HISTORY[3].better_than(one)
    assert not HISTORY[0].better_than(one)
