"""Where weights come from: the right file, or a sentence with the choices."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deploy.backbones import Package, backbone, checkpoints, weights
from edge.errors import ModelError
from tests.conftest import ROOT

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed (extra: convert)"
)
LITE0 = backbone("efficientnet_lite0")
# Keras reads KERAS_HOME when it is imported, so this runs in a process of its own.
FROM_CACHE = """
import sys
from pathlib import Path
import numpy as np
from deploy.backbones import weights
from deploy.backbones import backbone
from deploy.heavy import require_tensorflow
require_tensorflow()
import keras
theirs = keras.applications.MobileNetV2(weights=None)
row = backbone("mobilenet_v2")
cache = Path(sys.argv[1], "models")
cache.mkdir(parents=True)
theirs.save(cache / row.download.url.rpartition("/")[2])
model, found = weights.pretrained(row, None)
for ours, expected in zip(model.get_weights(), theirs.get_weights()):
    np.testing.assert_array_equal(ours, expected)
assert found.origin.startswith("https://storage.googleapis.com/") and found.classes == 1000
assert len(found.sha256) == 64 and found.licence == "Apache-2.0"
"""


def lite0_package() -> Package:
    assert LITE0.package is not None
    return LITE0.package


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package by the name that carries the weights of Lite0; its code must not run."""
    source = lite0_package()
    folder = tmp_path / source.module
    (folder / source.file).parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('the package was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, source.module, raising=False)
    return folder / source.file


def test_a_changed_file_is_refused_before_it_is_read(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package.write_bytes(b"not the weights")
    monkeypatch.setattr("deploy.backbones.checkpoints.read", lambda *_: pytest.fail("it was read"))
    given, expected = hashlib.sha256(b"not the weights").hexdigest(), lite0_package().sha256
    with pytest.raises(ModelError, match=f"sha256 is {given}, expected {expected}"):
        weights.pretrained(LITE0, None)


def test_a_package_without_its_file_is_named(package: Path) -> None:
    with pytest.raises(ModelError, match="Cannot read the weights"):
        weights.pretrained(LITE0, None)


def test_a_missing_package_names_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(ModelError, match=r"pip install -e '\.\[convert\]'`; or give --weights FILE.*--weights random"):
        weights.pretrained(LITE0, None)


@pytest.mark.parametrize("name", ["efficientnet_lite3", "efficientnet_lite4"])
def test_without_published_weights_the_choices_are_named(name: str) -> None:
    with pytest.raises(ModelError, match=r"--weights FILE.*--weights random"):
        weights.pretrained(backbone(name), None)


@pytest.mark.parametrize("name", ["no/such.pth", "no/such.h5", "no/such.tflite"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"Cannot read the weights {name}"):
        weights.pretrained(LITE0, name)


def test_a_file_of_another_kind_is_named_with_those_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"onnx")
    with pytest.raises(ModelError, match=r"weights\.onnx .* expected \.h5, \.keras, \.pth, \.tflite"):
        weights.pretrained(LITE0, str(tmp_path / "weights.onnx"))


@needs_tensorflow
def test_random_weights_say_so_and_are_the_same_each_time() -> None:
    model, found = weights.pretrained(LITE0, "random")
    assert found.sha256 is None
    assert found.classes is None
    assert "random" in found.origin
    again, _ = weights.pretrained(LITE0, "random")
    np.testing.assert_array_equal(model.get_layer("_fc").get_weights()[0], again.get_layer("_fc").get_weights()[0])


@needs_tensorflow
def test_the_published_weights_are_in_the_model() -> None:
    source = lite0_package()
    path = weights.installed(source)
    if path is None:
        pytest.skip(f"{source.name} is not installed (extra: convert)")
    model, found = weights.pretrained(LITE0, None)
    assert (found.sha256, found.classes, found.background_offset) == (source.sha256, 1000, 0)
    assert found.licence == "Apache-2.0"
    assert source.name in found.origin
    tensors = checkpoints.read(path.read_bytes(), str(path))
    np.testing.assert_array_equal(model.get_layer("_fc").get_weights()[0], tensors["_fc.weight"].T)
    depthwise = tensors["_blocks.3._depthwise_conv.weight"]
    (kernel,) = model.get_layer("_blocks.3._depthwise_conv").get_weights()
    np.testing.assert_array_equal(kernel[..., 0], depthwise[:, 0].transpose(1, 2, 0))
    by_path, named = weights.pretrained(LITE0, str(path), "CC0-1.0")
    assert (named.sha256, named.licence, named.origin) == (source.sha256, "CC0-1.0", path.name)
    np.testing.assert_array_equal(by_path.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ModelError, match=rf"{path.name} does not fit efficientnet_lite1: .*"):
        weights.pretrained(backbone("efficientnet_lite1"), str(path))


@needs_tensorflow
def test_tensors_without_a_head_and_of_another_network() -> None:
    model = LITE0.build(LITE0, 3)
    tensors = {}
    for layer in model.layers:
        for value, (suffix, axes) in zip(layer.get_weights(), weights._rules(layer)):
            tensors[layer.name + suffix] = value.transpose(np.argsort(axes)) + 1
    head = {name: tensors.pop(name) for name in ("_fc.weight", "_fc.bias")}
    weights.fill(model, tensors, "headless.pth")
    assert not model.get_layer("_fc").get_weights()[1].any()
    weights.fill(model, {**tensors, **head, "_bn0.num_batches_tracked": np.array(7)}, "whole.pth")
    np.testing.assert_array_equal(model.get_layer("_fc").get_weights()[1], head["_fc.bias"])
    with pytest.raises(ModelError, match="has no place for extra"):
        weights.fill(model, {**tensors, "extra": np.zeros(3)}, "other.pth")
    del tensors["_conv_stem.weight"]
    with pytest.raises(ModelError, match=r"it has no _conv_stem\.weight"):
        weights.fill(model, tensors, "other.pth")


@needs_tensorflow
def test_keras_download_is_taken_from_its_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", FROM_CACHE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@needs_tensorflow
def test_without_a_network_the_choices_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = (tmp_path / "nothing" / "resnet50.h5").as_uri()  # the nearest thing to a server that does not answer
    row = backbone("resnet50")
    assert row.download is not None
    row = msgspec.structs.replace(row, download=msgspec.structs.replace(row.download, url=url))
    with pytest.raises(ModelError, match=r"resnet50 .* could not be fetched .* --weights FILE, or --weights random"):
        weights.pretrained(row, None)
