"""The Keras models: sizes as published, the same numbers each time, and cuts that hold."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest

from deploy.backbones import BACKBONES, backbone, networks

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed (extra: convert)", allow_module_level=True)

BLOCK_ENDS = {
    "mobilenet_v2": 15,
    "efficientnet_lite0": 14,
    "efficientnet_lite4": 28,
    "efficientnet_b0": 14,
    "resnet50": 17,
    "inception_v3": 12,
    "xception": 13,
}


@pytest.fixture(scope="module")
def keras() -> Any:
    from deploy.heavy import require_tensorflow

    require_tensorflow()
    import keras

    return keras


def noise(name: str) -> np.ndarray:
    size_px = backbone(name).size_px
    return np.random.default_rng(0).uniform(-1, 1, (1, size_px, size_px, 3)).astype(np.float32)


@pytest.mark.parametrize("name", BACKBONES)
def test_each_model_has_the_published_parameters_and_its_ends(keras: Any, name: str) -> None:
    row = backbone(name)
    model = row.build(row)
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == row.parameters
    assert model.input.name == "image"
    assert model.input.shape == (None, row.size_px, row.size_px, 3)
    assert model.layers[-1].name == "scores"
    assert model.output.shape == (None, 1000)
    assert len(model.get_layer("pool").output.shape) == 2
    ends = networks.block_ends(model)
    assert len(ends) == BLOCK_ENDS.get(name, len(ends))
    assert list(ends) == [layer.name for layer in model.layers if layer.name in ends]
    for end in ends:  # Keras refuses where anything else is still needed
        keras.Model(model.get_layer(end).output, model.output)


def test_two_halves_are_the_whole(keras: Any) -> None:
    model = backbone("mobilenet_v2").build(backbone("mobilenet_v2"), 7)
    image, end = noise("mobilenet_v2"), model.get_layer(networks.block_ends(model)[-3]).output
    first, second = keras.Model(model.input, end), keras.Model(end, model.output)
    whole = np.asarray(model(image))
    assert whole.shape == (1, 7)
    np.testing.assert_allclose(np.asarray(second(first(image))), whole, atol=1e-6)


def test_random_numbers_are_the_same_whatever_keras_drew_before(keras: Any) -> None:
    row = backbone("efficientnet_b0")
    one = row.build(row).get_weights()
    keras.random.normal((3,))
    for first, second in zip(one, row.build(row).get_weights()):
        np.testing.assert_array_equal(first, second)


def test_mobilenet_v2_computes_what_keras_own_does(keras: Any) -> None:
    theirs = keras.applications.MobileNetV2(weights=None)
    draw = np.random.default_rng(0)
    theirs.set_weights(
        [value if value.ndim > 1 else draw.uniform(0.5, 1.5, value.shape) for value in theirs.get_weights()]
    )
    ours = backbone("mobilenet_v2").build(backbone("mobilenet_v2"))
    ours.set_weights(theirs.get_weights())
    image = noise("mobilenet_v2")
    np.testing.assert_allclose(np.asarray(ours(image)), np.asarray(theirs(image)), rtol=1e-5)
    assert not [layer for layer in ours.layers if isinstance(layer, keras.layers.ZeroPadding2D)]


def test_efficientnet_normalizes_pixels_itself(keras: Any) -> None:
    model = backbone("efficientnet_b0").build(backbone("efficientnet_b0"))
    (normalization,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    seen = keras.Model(model.input, normalization.output)(np.full((1, 224, 224, 3), (10, 100, 200), np.float32))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (np.array([10, 100, 200]) / 255 - mean) / deviation
    np.testing.assert_allclose(np.asarray(seen)[0, 5, 5], expected, rtol=1e-5)
