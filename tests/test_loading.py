"""Any classifier .tflite, on each runtime; and what is none, named in one sentence."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import Classifier
from edge.errors import ConfigError, EdgeError, LabelError, ModelError
from edge.model.loading import BareOptions
from edge.runtimes import trial
from edge.tensors import pixel_table

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
SIGNED = {"mean": (127.5,), "std": (127.5,)}


def picture(colour: str) -> np.ndarray:
    return np.full((40, 60, 3), COLOURS[colour], np.uint8)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("softmax_float32", SIGNED),
        ("softmax_uint8", {}),
        ("softmax_int8", SIGNED),
        ("softmax_int8_unit", {"mean": (0.0,), "std": (255.0,)}),
        ("logits_float32", SIGNED),
        ("logits_int8", SIGNED),
        ("sigmoid_uint8", {}),
        ("background_uint8", {"background": True}),
    ],
)
def test_every_dtype_and_activation(tiny: Any, runtime_name: str, model: str, options: dict[str, Any]) -> None:
    given = BareOptions(labels=str(tiny.labels), **options)
    with Classifier.open(str(tiny[model]), runtime=runtime_name, threads=1, options=given) as classifier:
        for colour in COLOURS:
            best = classifier.classify(picture(colour)).predictions[0]
            assert best.label == colour
            assert 0.9 < best.score <= 1.0
            assert best.class_id == list(COLOURS).index(colour) + (model == "background_uint8")


def test_the_same_answer_from_every_dtype(tiny: Any, runtime_name: str) -> None:
    """Scores of the quantized models are those of the float one, within a step or two of 1/256."""
    found = []
    for model in ("softmax_float32", "softmax_uint8", "softmax_int8", "logits_float32", "logits_int8"):
        options = BareOptions(labels=str(tiny.labels), **SIGNED)
        with Classifier.open(str(tiny[model]), runtime=runtime_name, options=options) as classifier:
            record = classifier.classify(np.full((16, 16, 3), (140, 120, 100), np.uint8))
        found.append({prediction.label: prediction.score for prediction in record.predictions})
    for scores in found[1:]:
        assert scores == pytest.approx(found[0], abs=0.03)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("two_outputs", "2 outputs .* expected a classifier with one output"),
        ("segmenter", "no classifier: its output is"),
        ("grey", "takes no RGB image"),
        ("text", "takes no RGB image"),
        ("any_size", "no fixed input size"),
    ],
)
def test_what_is_no_image_classifier(tiny: Any, runtime_name: str, model: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        Classifier.open(str(tiny[model]), runtime=runtime_name, options=BareOptions(labels=str(tiny.labels), **SIGNED))


@pytest.mark.parametrize(
    ("model", "options", "flag"),
    [
        ("softmax_uint8", {"labels": None}, "--labels"),
        ("softmax_int8", {}, "--mean and --std"),
        ("softmax_float32", {}, "--mean and --std"),
        ("softmax_float32", {"mean": (0.0,)}, "--mean was given without --std"),
        ("softmax_uint8", {"std": (255.0,)}, "--std was given without --mean"),
        ("background_uint8", {}, "--background"),
    ],
)
def test_what_cannot_be_known_names_the_flag(tiny: Any, model: str, options: dict[str, Any], flag: str) -> None:
    given = BareOptions(**{"labels": str(tiny.labels), **options})
    with pytest.raises(EdgeError, match=flag):
        Classifier.open(str(tiny[model]), options=given)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (1.0, 2.0), "std": (1.0,)},
        {"mean": (0.0,), "std": (0.0,)},
        {"crop_fraction": 0.0},
        {"crop_fraction": 1.5},
        {"crop_fraction": 1e-320},
        {"mean": (math.nan,), "std": (1.0,)},
        {"mean": (0.0,), "std": (math.inf,)},
    ],
)
def test_impossible_options(tiny: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Classifier.open(str(tiny["softmax_uint8"]), options=BareOptions(labels=str(tiny.labels), **options))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"just some words\n", "it is a text file"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"PK\3\4" + bytes(64), "it is a zip archive"),
        (bytes(64), "lacks the TFL3 identifier"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, tiny: Any, content: bytes, sentence: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        Classifier.open(str(path), options=BareOptions(labels=str(tiny.labels)))


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_model(tmp_path: Path, tiny: Any, runtime_name: str, kept: float) -> None:
    whole = tiny["softmax_uint8"].read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelError, match=r"cut\.tflite"):
        Classifier.open(str(path), runtime=runtime_name, options=BareOptions(labels=str(tiny.labels)))


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_model_ends_in_an_answer_or_a_sentence(
    tmp_path: Path, tiny: Any, runtime_name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of the FlatBuffer changed at random; some such files crash TensorFlow Lite itself, one keeps it busy."""
    monkeypatch.setattr(trial, "_TIMEOUT_S", 5.0)
    chance = random.Random(seed)
    content = bytearray(tiny["softmax_uint8"].read_bytes())
    for _ in range(2):
        at = chance.randrange(8, len(content) - 4)
        content[at : at + 4] = chance.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", chance.randbytes(4)])
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    try:
        classifier = Classifier.open(str(path), runtime=runtime_name, options=BareOptions(labels=str(tiny.labels)))
    except EdgeError as error:
        assert str(error)  # noqa: PT017 - either ending is right
    else:
        with classifier:
            assert classifier.classify(picture("red")).predictions


def test_a_model_that_is_replaced_by_a_damaged_one_is_tried_again(tmp_path: Path, tiny: Any) -> None:
    """As a reload of the service does; without the trial it would end here with SIGSEGV."""
    path, options = tmp_path / "model.tflite", BareOptions(labels=str(tiny.labels))
    content = bytearray(tiny["softmax_uint8"].read_bytes())
    path.write_bytes(content)
    Classifier.open(str(path), options=options).close()
    chance = random.Random(414)
    for _ in range(2):
        at = chance.randrange(8, len(content) - 4)
        content[at : at + 4] = chance.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", chance.randbytes(4)])
    path.write_bytes(content)
    with pytest.raises(ModelError, match="crashes the TensorFlow Lite runtime"):
        Classifier.open(str(path), options=options)


def test_a_uint8_input_takes_pixels_whatever_its_metadata_says(data: Path, tmp_path: Path) -> None:
    """The metadata of Coral's file: mean 127.5, std 127.5. MediaPipe too ignores it for uint8."""
    model = data / "coral" / "mobilenet_v2_1.0_224_quant.tflite"
    options = BareOptions(labels=str(data / "coral" / "imagenet_labels.txt"))
    with Classifier.open(str(model), options=options) as classifier:
        assert pixel_table(classifier.input) is None


def test_a_missing_model_names_those_that_are_there() -> None:
    with pytest.raises(ModelError, match="efficientnet_lite0_int8"):
        Classifier.open("efficientnet_lite9")


def test_corals_parrot_is_a_macaw(data: Path, runtime_name: str) -> None:
    from edge.images import read_rgb

    coral = data / "coral"
    options = BareOptions(labels=str(coral / "imagenet_labels.txt"))
    model = str(coral / "mobilenet_v2_1.0_224_quant.tflite")
    with Classifier.open(model, runtime=runtime_name, options=options) as classifier:
        best = classifier.classify(read_rgb(coral / "parrot.jpg")).predictions[0]
    assert (best.class_id, best.label) == (89, "macaw")
    assert best.score > 0.9


def test_labels_of_another_model(data: Path, tiny: Any) -> None:
    model = data / "coral" / "mobilenet_v2_1.0_224_quant.tflite"
    with pytest.raises(LabelError, match="has 3 names and the model 1001 outputs"):
        Classifier.open(str(model), options=BareOptions(labels=str(tiny.labels)))
