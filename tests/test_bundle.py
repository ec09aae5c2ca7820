"""A bundle is what its contract says, or is refused with a sentence that says where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge import Classifier
from edge.errors import ModelError
from edge.model import bundle as bundles


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit a bundle's model.yaml."""
    path = folder / bundles.CONTRACT_FILE
    document = yaml.safe_load(path.read_text())
    edit(document)
    path.write_text(yaml.safe_dump(document))


def test_the_shipped_bundle_opens_by_name_by_folder_and_passes_its_golden_input(
    bundle_copy: Path, runtime_name: str
) -> None:
    for model in (bundle_copy.name, str(bundle_copy)):
        with Classifier.open(model, runtime=runtime_name, threads=1) as classifier:
            assert classifier.bundle.name == "efficientnet_lite0_int8"
            assert len(classifier.bundle.labels) == 1000
            assert (classifier.input.scale, classifier.input.zero_point) == (1 / 128, 127)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda d: d["input"].update(height_px=240), "input height .* is 224, model.yaml says 240"),
        (lambda d: d["input"].update(width_px=240), "input width"),
        (lambda d: d["input"].update(dtype="int8"), "input dtype"),
        (lambda d: d["input"].update(scale=0.01), "input scale"),
        (lambda d: d["input"].update(scale=None), "input scale"),
        (lambda d: d["input"].update(zero_point=128), "input zero point"),
        (lambda d: d["input"].update(std=[0.0]), "std is 0.0, expected more than 0"),
        (lambda d: d["input"].update(mean=[1.0, 2.0]), "mean has 2 values"),
        (lambda d: d["input"].update(crop_fraction=1.2), "crop fraction is 1.2"),
        (lambda d: d["output"].update(classes=1001), "has 1000 names and the contract 1001 classes"),
        (lambda d: d["output"].update(scale=0.5), "output scale"),
        (lambda d: d["output"].update(scale=float("nan")), "output scale"),
        (lambda d: d["input"].update(std=[float("inf")]), "expected finite numbers"),
        (lambda d: d.update(file="../outside.tflite"), "expected one in the bundle's own folder"),
        (lambda d: d.update(labels="a\0b"), "expected one in the bundle's own folder"),
        (lambda d: d["output"].update(dtype="float32"), "output dtype"),
        (lambda d: d["output"].update(background_offset=2), "background_offset is 2"),
        (lambda d: d.update(sha256="0" * 64), "is not the model of its contract"),
        (lambda d: d.update(labels_sha256="0" * 64), "is not the label file of its contract"),
        (lambda d: d.update(file="absent.tflite"), r"absent\.tflite: No such file"),
        (lambda d: d.update(labels="absent.txt"), r"absent\.txt: No such file"),
        (lambda d: d.update(surprise=1), "unknown field `surprise`"),
        (lambda d: d.pop("golden"), "missing required field `golden`"),
        (lambda d: d["golden"].update(top5=[1, 2, 3, 4, 5]), "fails its golden input"),
        (lambda d: d["input"].update(mean=[0.0]), "fails its golden input"),
    ],
)
def test_a_broken_contract(bundle_copy: Path, edit: Callable[[dict[str, Any]], None], sentence: str) -> None:
    change(bundle_copy, edit)
    with pytest.raises(ModelError, match=sentence):
        Classifier.open(str(bundle_copy), threads=1)


def test_labels_that_were_edited(bundle_copy: Path) -> None:
    path = bundle_copy / "labels.txt"
    path.write_text(path.read_text().replace("goldfish", "gold fish"))
    with pytest.raises(ModelError, match="is not the label file of its contract"):
        Classifier.open(str(bundle_copy))


def test_a_folder_without_a_contract(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model\.yaml"):
        Classifier.open(str(tmp_path))


@pytest.mark.parametrize("text", ["name: [", "name: 2024-99-99", "name: 0x_", "[" * 5000, "\0"])
def test_yaml_that_is_none(bundle_copy: Path, text: str) -> None:
    (bundle_copy / bundles.CONTRACT_FILE).write_text(text)
    with pytest.raises(ModelError, match="is not valid YAML"):
        Classifier.open(str(bundle_copy))


def test_the_models_own_folder_comes_before_the_shipped_one(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_MODELS", str(bundle_copy.parent))
    assert bundles.locate(bundle_copy.name) == bundle_copy


@given(st.integers(0, 2**31), st.integers(7, 400), st.integers(7, 400))
def test_a_golden_picture_depends_on_its_seed_alone(seed: int, height: int, width: int) -> None:
    picture = bundles.golden_picture(seed, height, width)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, bundles.golden_picture(seed, height, width))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 7


def test_the_golden_picture_of_seed_1_never_changes() -> None:
    """Bundles in the field hold answers to these very pixels."""
    picture = bundles.golden_picture(1, 7, 7)
    assert picture[0, 0].tolist() == FIRST
    assert picture[6, 6].tolist() == LAST


FIRST, LAST = [245, 177, 101], [111, 206, 194]
