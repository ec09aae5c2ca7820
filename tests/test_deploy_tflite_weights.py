"""Weights out of .tflite files: Coral's, the shipped one, and those converted from models whose numbers are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from deploy.backbones import Backbone, backbone, weights
from edge import Classifier, images
from edge.errors import ModelError
from edge.model.loading import BareOptions
from edge.tensors import Preprocessor
from tests.conftest import MODEL, ROOT

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed (extra: convert)", allow_module_level=True)

CORAL = "mobilenet_v2_1.0_224_quant.tflite"
EVERY = 10  # of the 1000 pictures


def small(name: str) -> Backbone:
    """The row at a size that is quickly computed; the weights are the same."""
    return msgspec.structs.replace(backbone(name), size_px=96)


def scrambled(row: Backbone, classes: int) -> Any:
    """A model whose every number matters: biases and BatchNormalization are random, too."""
    model = weights.built(row, classes)
    draw = np.random.default_rng(0)
    for variable in model.weights:
        if len(variable.shape) == 1 and variable.name in ("gamma", "moving_variance"):
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
        elif len(variable.shape) == 1 and variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(draw.normal(0, 0.1, variable.shape))
    return model


def convert(model: Any, path: Path, half: bool = False) -> str:
    import tensorflow as tf

    shape = (1, *model.input.shape[1:])
    function = tf.function(
        lambda image: model(image, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], model)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())
    return str(path)


def scores(model: Any, image: np.ndarray) -> np.ndarray:
    return np.asarray(model(image, training=False))[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "half"),
    [("mobilenet_v2", False), ("mobilenet_v2", True), ("xception", False)],
)
def test_what_was_converted_comes_back(name: str, half: bool, tmp_path: Path) -> None:
    row = small(name)
    model = scrambled(row, 17)
    back, found = weights.pretrained(row, convert(model, tmp_path / "model.tflite", half))
    assert (found.classes, found.background_offset, found.origin) == (17, 0, "model.tflite")
    draw, mean, std = np.random.default_rng(0), np.float32(row.mean), np.float32(row.std)
    image = (draw.integers(0, 256, (1, 96, 96, 3)).astype(np.float32) - mean) / std
    np.testing.assert_allclose(scores(back, image), scores(model, image), atol=2e-2 if half else 1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_without_a_head_leaves_it_random(tmp_path: Path) -> None:
    import keras

    row = small("mobilenet_v2")
    model = scrambled(row, 17)
    features = keras.Model(model.input, model.get_layer("pool").output)
    back, found = weights.pretrained(row, convert(features, tmp_path / "features.tflite"))
    assert found.classes is None
    assert back.output.shape == (None, 1000)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    seen = keras.Model(back.input, back.get_layer("pool").output)
    np.testing.assert_allclose(scores(seen, image), scores(features, image), rtol=1e-3, atol=1e-4)


def agreement(model: Any, row: Backbone, tflite: Classifier, paths: list[Path]) -> float:
    """Share of pictures to which Keras and the .tflite give the same answer."""
    import tensorflow as tf

    answer = tf.function(lambda image: model(image, training=False))
    preprocessor, same = Preprocessor(row.float_input()), 0
    for path in paths:
        picture = images.read_rgb(path)
        tensor = np.empty((1, row.size_px, row.size_px, 3), np.float32)
        preprocessor.fill(picture, tensor)
        same += int(np.asarray(answer(tensor)).argmax()) == tflite.classify(picture).predictions[0].class_id
    return same / len(paths)


def test_corals_mobilenet_answers_in_keras_as_it_does_itself(data: Path) -> None:
    row, path = backbone("mobilenet_v2"), data / "coral" / CORAL
    model, found = weights.pretrained(row, str(path), "Apache-2.0")
    assert (found.classes, found.background_offset, found.licence) == (1001, 1, "Apache-2.0")
    assert found.sha256 is not None
    pictures = sorted((data / "imagenet_sample").glob("*/*.jp*g"))[::EVERY]
    options = BareOptions(labels=str(data / "coral" / "imagenet_labels.txt"), crop_fraction=0.875)
    with Classifier.open(str(path), threads=1, options=options) as tflite:
        assert agreement(model, row, tflite, pictures) >= 0.95


def test_the_shipped_model_answers_in_keras_as_it_does_itself(
    classifier: Classifier, photo_files: dict[str, Path]
) -> None:
    row = backbone("efficientnet_lite0")
    model, found = weights.pretrained(row, str(ROOT / "models" / MODEL / "model.tflite"))
    assert (found.classes, found.background_offset) == (1000, 0)
    assert agreement(model, row, classifier, list(photo_files.values())) == 1


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50"])
def test_another_architecture_is_refused_in_a_sentence(data: Path, name: str) -> None:
    with pytest.raises(
        ModelError, match=rf"{CORAL} does not fit {name}: .*; give the weights of this very backbone\.$"
    ):
        weights.pretrained(backbone(name), str(data / "coral" / CORAL))


def test_a_damaged_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    content = (ROOT / "models" / MODEL / "model.tflite").read_bytes()
    path = tmp_path / "half.tflite"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"half\.tflite"):
        weights.pretrained(backbone("efficientnet_lite0"), str(path))
