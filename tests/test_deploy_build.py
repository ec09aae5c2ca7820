"""Building for real; only where TensorFlow is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deploy.backbones import backbone
from deploy.conversion import equalize, rounding
from deploy.conversion.inference import for_inference
from edge.model.bundle import open_bundle
from tests.conftest import ROOT

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed (extra: convert)", allow_module_level=True)


@pytest.mark.usefixtures("tensorflow")
def test_equalizing_changes_nothing_and_rounding_reaches_the_grid() -> None:
    import keras

    # the kernels are those of every size; this one is quickly computed
    row = msgspec.structs.replace(backbone("efficientnet_lite0"), size_px=96)
    model = for_inference(row.build(row))
    draw = np.random.default_rng(0)
    pictures = [draw.uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32) for _ in range(2)]
    head = keras.Model(model.inputs[0], model.get_layer("_fc").output)
    before = np.asarray(head(pictures[0], training=False))
    equalize.equalize(model, pictures)
    after = np.asarray(head(pictures[0], training=False))
    assert np.abs(after - before).max() < 1e-3 * np.abs(before).max()
    rounding.round_convolutions(model, pictures)
    kernel = model.get_layer("_conv_head").get_weights()[0]
    steps = kernel / (np.abs(kernel).max((0, 1, 2)) / 127)
    assert np.abs(steps - np.rint(steps)).max() < 1e-3


def test_an_untrained_model_is_built_twice_the_same(photo_files: dict[str, Path], tmp_path: Path) -> None:
    pictures = next(iter(photo_files.values())).parent
    documents = []
    for name in ("one", "two"):
        options = ["--calibrate", pictures, "--calibration-images", 2, "--out", tmp_path / name, "--weights", "random"]
        documents.append(json.loads(built("efficientnet_lite0", *options, "--json")))
    one, two = documents
    assert one["sha256"] == two["sha256"]
    assert one["comparison"] is None
    assert all(bar["held"] for bar in one["bars"])
    for file in ("model.tflite", "labels.txt", "model.yaml"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    contract = open_bundle(tmp_path / "one").contract
    assert contract is not None
    assert contract.accuracy is None
    assert "random" in contract.provenance.weights


def built(*arguments: object) -> str:
    """What `edge-deploy build` prints, in a process of its own."""
    command = [sys.executable, "-m", "tests.quick_deploy", "build", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
