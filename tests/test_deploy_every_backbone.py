"""Every backbone whose weights are not at hand, from random numbers to an answer: train, convert, inspect, classify."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import Classifier
from tests.conftest import KERAS_WITH_NUMPY_2, cut_photos

pytestmark = pytest.mark.filterwarnings(f"ignore:{KERAS_WITH_NUMPY_2}:DeprecationWarning")

CLASSES = ("cat", "coffee", "rocket")
BLOCKS = {"efficientnet_b0": 16, "efficientnet_b1": 23, "efficientnet_b2": 23, "efficientnet_b3": 26}
"""Each has squeeze-and-excitation. Source: Tan & Le, "EfficientNet", 2019, table 1 and its scaling of depth."""
OTHERS = (
    *("efficientnet_lite3", "efficientnet_lite4", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"),
    *("resnet50", "inception_v3", "xception"),
)


@pytest.fixture(scope="module")
def folders(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So few pictures that an epoch is one step of training."""
    return cut_photos(tmp_path_factory.mktemp("few") / "pictures", photos, 10, CLASSES)


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", *(pytest.param(name, marks=pytest.mark.every_backbone) for name in OTHERS)]
)
@pytest.mark.usefixtures("tensorflow")
def test_from_random_numbers_to_an_answer(
    name: str, folders: Path, photos: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.commands.train import Bars
    from deploy.conversion import convert, keras_files
    from deploy.inspection import inspect
    from deploy.training import report as training_report
    from deploy.training.train import MODEL_FILE, Settings, train

    settings = Settings(backbone=name, data=(str(folders),), weights="random", epochs=1)
    train(settings, tmp_path / "training", tmp_path / "cache", Bars())
    _, trained = training_report.read_history(tmp_path / "training")
    assert trained.train_loss is not None
    assert np.isfinite([trained.train_loss, trained.validation_loss]).all()

    model = tmp_path / "training" / MODEL_FILE
    monkeypatch.setattr(convert, "GOLDEN_SEEDS", 8)  # any is good enough here, and choosing runs the model for each
    request = convert.Request(model, tmp_path / "int8", calibrate=folders, calibration_images=2)
    convert.convert(request, lambda _: None, lambda _: None)

    facts = inspect.inspect(tmp_path / "int8" / "model.tflite")
    found = [pattern.kind for pattern in facts.patterns]
    assert found.count("squeeze_and_excitation") == BLOCKS.get(name, 0)
    assert ("swish" in found) == (name in BLOCKS)
    assert (facts.input.dtype, facts.output.dtype) == ("uint8", "uint8")
    assert facts.convolutions_per_tensor == ()
    assert facts.operators.get("DEQUANTIZE", 0) == 0
    assert facts.parameters == pytest.approx(numbers(keras_files.load(model)[0]), rel=1e-3)

    with Classifier.open(str(tmp_path / "int8")) as classifier:
        predictions = classifier.classify(photos["cat"]).predictions
    assert {prediction.label for prediction in predictions} == set(CLASSES)
    assert sum(prediction.score for prediction in predictions) == pytest.approx(1, abs=0.02)


def numbers(model: object) -> int:
    """Numbers in the kernels, and one bias for each of their outputs: what inference needs of a network."""
    shapes = [variable.shape for variable in model.weights if "kernel" in variable.name]
    outputs = [shape[-1] if shape[-1] > 1 else shape[-2] for shape in shapes]  # a depthwise one has (..., channels, 1)
    return sum(int(np.prod(shape)) for shape in shapes) + sum(outputs)
