"""Weights out of Keras' files, written by Keras itself from models whose numbers are known."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from deploy.backbones import Backbone, backbone, weights
from edge.errors import ModelError

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed (extra: convert)", allow_module_level=True)

# Keras saves through an interface that numpy 2 deprecates, and warns of its older format.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
]

SIZE_PX = 96
FUNCTIONS = {"mobilenet_v2": "MobileNetV2", "resnet50": "ResNet50", "efficientnet_b0": "EfficientNetB0"}


def small(name: str) -> Backbone:
    """The row at a size that is quickly computed; the weights are the same."""
    return msgspec.structs.replace(backbone(name), size_px=SIZE_PX)


def theirs(name: str, **options: Any) -> Any:
    """Keras' own model, with a BatchNormalization whose every number matters."""
    from deploy.heavy import require_tensorflow

    require_tensorflow()
    import keras

    model = getattr(keras.applications, FUNCTIONS[name])(weights=None, input_shape=(SIZE_PX, SIZE_PX, 3), **options)
    draw = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(draw.normal(0, 0.1, variable.shape))
    return model


@pytest.fixture(scope="module")
def mobilenet() -> Any:
    return theirs("mobilenet_v2")


def image(row: Backbone) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3)).astype(np.float32)
    return (pixels - np.float32(row.mean)) / np.float32(row.std)


def scores(model: Any, given: np.ndarray) -> np.ndarray:
    return np.asarray(model(given, training=False))[0]


@pytest.mark.parametrize("file", ["weights.weights.h5", "model.keras", "model.h5"])
def test_each_of_keras_formats_is_read(mobilenet: Any, file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    (mobilenet.save_weights if "weights" in file else mobilenet.save)(path)
    row = small("mobilenet_v2")
    model, found = weights.pretrained(row, str(path), "Apache-2.0")
    assert (found.classes, found.origin, found.licence) == (1000, file, "Apache-2.0")
    np.testing.assert_allclose(scores(model, image(row)), scores(mobilenet, image(row)), rtol=1e-5)


@pytest.mark.parametrize("file", ["weights.weights.h5", "model.h5"])
def test_a_file_without_a_head_leaves_it_random(file: str, tmp_path: Path) -> None:
    import keras

    features = theirs("mobilenet_v2", include_top=False, pooling="avg")
    path = tmp_path / file
    (features.save_weights if "weights" in file else features.save)(path)
    row = small("mobilenet_v2")
    model, found = weights.pretrained(row, str(path))
    assert found.classes is None
    seen = keras.Model(model.input, model.get_layer("pool").output)
    np.testing.assert_allclose(scores(seen, image(row)), scores(features, image(row)), rtol=1e-5)


@pytest.mark.parametrize("file", ["weights.weights.h5", "model.h5"])
def test_a_backbone_inside_another_model_is_found(file: str, tmp_path: Path) -> None:
    import keras

    inner = theirs("mobilenet_v2", include_top=False, pooling="avg")
    picture = keras.Input((SIZE_PX, SIZE_PX, 3))
    outer = keras.Model(picture, keras.layers.Dense(5, activation="softmax")(inner(picture)))
    path = tmp_path / file
    (outer.save_weights if "weights" in file else outer.save)(path)
    row = small("mobilenet_v2")
    model, found = weights.pretrained(row, str(path))
    assert (found.classes, model.output.shape) == (5, (None, 5))
    np.testing.assert_allclose(scores(model, image(row)), scores(outer, image(row)), rtol=1e-5)


def test_resnets_first_kernel_is_turned_to_rgb_once(tmp_path: Path) -> None:
    keras_model, row = theirs("resnet50"), small("resnet50")
    keras_model.save_weights(tmp_path / "caffe.weights.h5")
    model, _ = weights.pretrained(row, str(tmp_path / "caffe.weights.h5"))
    given = image(row)
    np.testing.assert_allclose(scores(model, given), scores(keras_model, given[..., ::-1]), rtol=1e-4, atol=1e-6)
    # what this project saved is RGB already
    model.save(tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras", "a") as archive:
        archive.writestr("edge_runner.json", "{}")
    again, found = weights.pretrained(row, str(tmp_path / "own.keras"))
    assert found.classes == 1000
    np.testing.assert_allclose(scores(again, given), scores(model, given), rtol=1e-5)


def test_efficientnets_normalization_is_that_of_its_training(tmp_path: Path) -> None:
    keras_model, row = theirs("efficientnet_b0"), small("efficientnet_b0")
    keras_model.save_weights(tmp_path / "b0.weights.h5")
    model, _ = weights.pretrained(row, str(tmp_path / "b0.weights.h5"))
    given = image(row)
    normalized = (given / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    # Keras' model has no statistics without its published weights, so it only divides by 255
    expected = scores(keras_model, normalized.astype(np.float32) * 255)
    np.testing.assert_allclose(scores(model, given), expected, rtol=1e-3)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_head_of_one_layer_is_taken_along_and_a_longer_one_is_left(hidden: bool, tmp_path: Path) -> None:
    import keras

    row = small("mobilenet_v2")
    trained = weights.built(row, 3)
    if hidden:
        tensor = keras.layers.Dense(8, activation="relu")(trained.get_layer("pool").output)
        trained = keras.Model(trained.input, keras.layers.Dense(3, activation="softmax")(tensor))
    trained.save(tmp_path / "trained.keras")
    model, found = weights.pretrained(row, str(tmp_path / "trained.keras"))
    assert found.classes == (None if hidden else 3)
    assert model.output.shape == (None, 1000 if hidden else 3)
    for name in ("_conv_stem", "_bn1"):
        for ours, expected in zip(model.get_layer(name).get_weights(), trained.get_layer(name).get_weights()):
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("file", ["weights.weights.h5", "model.h5"])
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_b0"])
def test_another_architecture_is_refused_in_a_sentence(mobilenet: Any, file: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / file
    (mobilenet.save_weights if "weights" in file else mobilenet.save)(path)
    with pytest.raises(ModelError, match=rf"{file} does not fit {name}: .*; give the weights of this very backbone\.$"):
        weights.pretrained(small(name), str(path))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    import keras

    trace = str(tmp_path / "it-ran")
    row = small("mobilenet_v2")
    inner = weights.built(row, 3)
    path = tmp_path / "evil.keras"
    lambda_layer = keras.layers.Lambda(lambda tensor: (open(trace, "w").close(), tensor)[1])
    keras.Model(inner.input, lambda_layer(inner.output)).save(path)
    Path(trace).unlink()
    _, found = weights.pretrained(row, str(path))
    assert found.classes == 3
    assert not Path(trace).exists()


def test_links_out_of_a_file_are_not_followed(mobilenet: Any, tmp_path: Path) -> None:
    import h5py

    mobilenet.save_weights(tmp_path / "real.weights.h5")
    with h5py.File(tmp_path / "links.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(str(tmp_path / "real.weights.h5"), "/layers")
    with pytest.raises(ModelError, match="does not fit mobilenet_v2: it has 0 layers with weights"):
        weights.pretrained(small("mobilenet_v2"), str(tmp_path / "links.weights.h5"))


def test_damaged_files_are_refused_in_a_sentence(mobilenet: Any, tmp_path: Path) -> None:
    mobilenet.save(tmp_path / "whole.keras")
    content = (tmp_path / "whole.keras").read_bytes()
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("config.json", "{}")
    cases = {
        "half.keras": content[: len(content) // 2],
        "empty.keras": b"",
        "text.h5": b"<html>not found</html>",
        "without.keras": empty.getvalue(),
        "half.weights.h5": zipfile.ZipFile(tmp_path / "whole.keras").read("model.weights.h5")[:100_000],
    }
    for name, part in cases.items():
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ModelError, match=rf"{name} cannot be read as Keras' weights \(.*\): expected a \.keras"):
            weights.pretrained(small("mobilenet_v2"), str(tmp_path / name))
