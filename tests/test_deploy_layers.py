"""Where a quantized model loses, shown on real models that were damaged at a known place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from deploy.inspection import graph
from deploy.verification.layers import compare_layers
from deploy.verification.verify import Side
from edge.images import read_rgb
from edge.model.bundle import open_bundle
from edge.runtimes import open_runtime
from edge.tensors import InputSpec, OutputSpec, Preprocessor, scores
from tests.conftest import MODEL, ROOT

SHIPPED = open_bundle(ROOT / "models" / MODEL)


def shipped(path: Path = SHIPPED.path) -> Side:
    return Side(path, SHIPPED.input, SHIPPED.output)


def tiny_side(path: Path) -> Side:
    runtime = open_runtime("auto", path)
    given, told = runtime.input_details[0], runtime.output_details[0]
    runtime.close()
    normal = {"mean": (127.5,), "std": (127.5,)}
    return Side(
        path,
        InputSpec(*given.shape[1:3], given.dtype, **normal, scale=given.scale, zero_point=given.zero_point),
        OutputSpec(max(told.shape), told.dtype, "softmax", told.scale, told.zero_point),
    )


def tensor_of(model: graph.Graph, kind: str, number: int, place: int) -> tuple[int, graph.Tensor]:
    """An input of the number-th operator of a kind, and the operator's index."""
    operator = [each for each in model.operators if each.name == kind][number]
    return operator.index, model.tensors[operator.inputs[place]]


@pytest.fixture(scope="module")
def paths(photo_files: dict[str, Path]) -> list[Path]:
    return list(photo_files.values())


def test_a_model_has_no_noise_against_itself(paths: list[Path]) -> None:
    told = compare_layers(shipped(), shipped(), paths)
    assert told.problem is None
    assert told.pictures == len(paths)
    assert [layer.operator for layer in told.layers].count("DEPTHWISE_CONV_2D") == 16
    assert {layer.snr_db for layer in told.layers} == {None}
    assert told.worst() == ()


def test_noise_begins_at_the_layer_that_is_damaged(paths: list[Path], tmp_path: Path) -> None:
    content = bytearray(SHIPPED.path.read_bytes())
    place, weights = tensor_of(graph.read(SHIPPED.path), "CONV_2D", 12, 1)
    start = content.index(weights.data.tobytes())
    content[start : start + weights.data.nbytes // 2] = bytes(weights.data.nbytes // 2)
    (tmp_path / "damaged.tflite").write_bytes(content)
    told = compare_layers(shipped(), shipped(tmp_path / "damaged.tflite"), paths)
    noises = {layer.index: layer.snr_db for layer in told.layers}
    assert all(noise is None for index, noise in noises.items() if index < place)
    assert noises[place] < 10
    assert all(noise is not None for index, noise in noises.items() if index > place)
    assert all(layer.index >= place for layer in told.worst())
    assert [layer.snr_db for layer in told.worst()] == sorted(layer.snr_db for layer in told.worst())


def test_a_factor_of_a_channel_is_no_noise_in_itself(paths: list[Path], tmp_path: Path) -> None:
    content = SHIPPED.path.read_bytes()
    model = graph.read(SHIPPED.path)
    place, weights = tensor_of(model, "CONV_2D", 2, 1)  # a projection, without an activation
    factor = np.random.default_rng(0).uniform(0.5, 1, len(weights.scale)).astype(np.float32)
    assert content.count(weights.scale.tobytes()) == 1
    narrowed = content.replace(weights.scale.tobytes(), (weights.scale * factor).tobytes())
    (tmp_path / "narrowed.tflite").write_bytes(narrowed)
    told = compare_layers(shipped(), shipped(tmp_path / "narrowed.tflite"), paths)
    noises = {layer.index: layer.snr_db for layer in told.layers}
    assert noises[place] > 25  # the rounding only: without the fit it would be 10 log10(1 / mean((1 - factor)²)) = 11
    assert noises[place + 1] < 25  # nothing makes up for it in the layer that reads the channels


def test_the_formula(tiny, paths: list[Path]) -> None:
    sides = [tiny_side(tiny[name]) for name in ("softmax_float32", "softmax_uint8")]
    told = compare_layers(*sides, paths)
    assert [layer.operator for layer in told.layers] == ["MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    signal = noise = 0.0
    for path in paths:
        x, y = (_scores(side, path) for side in sides)
        signal += float((x**2).sum())
        noise += float(((x - y) ** 2).sum())
    assert told.layers[-1].snr_db == pytest.approx(10 * math.log10(signal / noise), abs=0.1)


def _scores(side: Side, path: Path) -> np.ndarray:
    runtime = open_runtime("auto", side.path)
    Preprocessor(side.input).fill(read_rgb(path), runtime.input())
    runtime.invoke()
    told = scores(runtime.output().copy(), side.output)
    runtime.close()
    return told.astype(np.float64)


def test_models_that_are_not_twins_are_not_compared(tiny, paths: list[Path]) -> None:
    told = compare_layers(tiny_side(tiny["softmax_float32"]), shipped(), paths)
    assert told.layers == ()
    assert "0 of the 61 layers are in both models" in told.problem


def test_no_pictures_is_said(tiny) -> None:
    side = tiny_side(tiny["softmax_float32"])
    assert "no pictures" in compare_layers(side, side, []).problem
