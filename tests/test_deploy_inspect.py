"""What the shipped model is made of, against its bars; and its accuracy where the pictures are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edge import labels
from edge.bundle import Contract, read_contract
from tests.conftest import MODEL, ROOT

pytest.importorskip("ai_edge_litert", reason="the schema that inspect reads with comes with ai-edge-litert")

from deploy import build, datasets, inspect, verify
from deploy.backbones import backbone
from edge.classifier import Classifier

FOLDER = ROOT / "models" / MODEL


@pytest.fixture(scope="module")
def facts() -> inspect.Facts:
    return inspect.inspect((FOLDER / "model.tflite").read_bytes())


@pytest.fixture(scope="module")
def contract() -> Contract:
    return read_contract(FOLDER)


def test_only_the_operators_of_the_bar(facts: inspect.Facts) -> None:
    assert set(facts.operators) == {
        "ADD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MEAN",
        "QUANTIZE",
        "SOFTMAX",
    }


def test_convolutions_have_a_scale_for_each_channel(facts: inspect.Facts) -> None:
    assert facts.convolutions_per_tensor == ()
    assert facts.operators["CONV_2D"] + facts.operators["DEPTHWISE_CONV_2D"] == 49


def test_a_pixel_is_its_own_input(facts: inspect.Facts) -> None:
    assert facts.input == inspect.TensorFacts((1, 224, 224, 3), "uint8", 1 / 128, 127)
    assert facts.output == inspect.TensorFacts((1, 1000), "uint8", 1 / 256, 0)


def test_size(facts: inspect.Facts) -> None:
    assert facts.bytes <= 5_500_000
    assert facts.bytes <= backbone("efficientnet_lite0").parameters * build.MOST_BYTES_PER_PARAMETER


def test_float_models_are_told_apart(tiny) -> None:
    facts = inspect.inspect(tiny["softmax_float32"].read_bytes())
    assert facts.input.dtype == "float32"
    assert facts.input.scale is None


def test_the_contract_is_of_this_file(contract: Contract, facts: inspect.Facts) -> None:
    assert hashlib.sha256((FOLDER / "model.tflite").read_bytes()).hexdigest() == contract.sha256
    assert (contract.input.scale, contract.input.zero_point) == (facts.input.scale, facts.input.zero_point)
    assert contract.provenance.licence == "Apache-2.0"
    assert contract.provenance.weights_sha256


def test_the_measured_accuracy_keeps_the_bars(contract: Contract) -> None:
    accuracy = contract.accuracy
    assert accuracy is not None
    assert accuracy.images == 800
    assert accuracy.float_top1 - accuracy.top1 <= 0.005
    assert accuracy.agreement >= 0.98
    assert "not ImageNet accuracy" in accuracy.data


def test_names_can_be_told_apart() -> None:
    names = labels.read(build.LABELS)
    assert len(names) == 1000
    assert len({name.lower() for name in names}) == 1000
    assert names == labels.read(FOLDER / "labels.txt")
    assert [names[index] for index in (0, 134, 285, 517, 892, 999)] == [
        "tench",
        "crane (bird)",
        "Egyptian cat",
        "crane (machine)",
        "wall clock",
        "toilet tissue",
    ]


def test_the_golden_answer_is_far_from_a_tie(contract: Contract) -> None:
    side = verify.Side(FOLDER / "model.tflite", contract.input, contract.output)
    choice = verify.choose_golden(side, 1)
    assert choice.golden.seed == 0
    with Classifier.open(str(FOLDER), threads=1) as opened:  # opening checks the golden input
        steps = opened.runtime.output().reshape(-1).astype(int)
    highest = sorted(steps, reverse=True)[:6]
    assert min(high - low for high, low in zip(highest, highest[1:])) >= 4


def test_accuracy_on_the_sample(data: Path, contract: Contract) -> None:
    folder = data / "imagenet_sample"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    paths = datasets.calibration_split(datasets.find_pictures(folder), 200).evaluation
    side = verify.Side(FOLDER / "model.tflite", contract.input, contract.output)
    seen = verify.compare(side, side, paths[::2])
    assert seen.agreement == 1.0
    assert seen.labelled == 400
    assert seen.top1_interval95[0] <= contract.accuracy.top1 <= seen.top1_interval95[1]
    assert seen.top5 > 0.95
