"""Converted files in MediaPipe Tasks: the labels and scores that the device gives."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import Classifier
from edge.model.loading import BareOptions
from tests.conftest import MODEL, ROOT

mediapipe: Any = pytest.importorskip("mediapipe", reason="mediapipe is not installed (extra: bench)")

from mediapipe.tasks.python import BaseOptions, vision  # noqa: E402

# Both are given pictures of the model's own size, so that neither resizes. A uint8 score has steps of 1/256.
SCORE_TOLERANCE = {"static_wi8_ai8": 2 / 256, "dynamic_wi8": 0.02, "float16": 1e-3, "float32": 1e-3}
_MAKE = """
import sys
from pathlib import Path
from deploy.heavy import require_tensorflow
require_tensorflow()
from deploy.conversion import convert
from tests.fixtures import make_keras
folder, pictures = Path(sys.argv[1]), Path(sys.argv[2])
make_keras.save_all(folder)
for name in make_keras.MEANS:
    for recipe in convert.quantize.RECIPES:
        calibrate = pictures if recipe == "static_wi8_ai8" else None
        request = convert.Request(folder / f"{name}.keras", folder / f"{name}_{recipe}", recipe, calibrate)
        convert.convert(request, lambda step: None, lambda warning: None)
"""


def check(path: Path, photos: dict[str, np.ndarray], size_px: int, tolerance: float) -> None:
    """All scores of all classes, by index and label, are those of the device."""
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
    bare = BareOptions(crop_fraction=1.0)
    with (
        vision.ImageClassifier.create_from_options(options) as theirs,
        Classifier.open(str(path), threads=1, top=1000, options=bare) as ours,
    ):
        for photo in photos.values():
            side = min(photo.shape[:2])
            square = np.ascontiguousarray(photo[:side, :side])
            pixels = cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA)
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            found = theirs.classify(image).classifications[0].categories
            told = ours.classify(pixels).predictions
            expected = {(each.class_id, each.label): each.score for each in told}
            assert {(each.index, each.category_name): each.score for each in found} == pytest.approx(
                expected, abs=tolerance
            )
            clear = told[0].score - told[1].score > 2 * tolerance
            assert not clear or found[0].category_name == told[0].label


def test_the_shipped_model(photos: dict[str, np.ndarray]) -> None:
    check(ROOT / "models" / MODEL / "model.tflite", photos, 224, SCORE_TOLERANCE["static_wi8_ai8"])


@pytest.fixture(scope="module")
def folder(photo_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed (extra: convert)")
    place = tmp_path_factory.mktemp("converted")
    command = [sys.executable, "-c", _MAKE, place, next(iter(photo_files.values())).parent]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("recipe", SCORE_TOLERANCE)
@pytest.mark.parametrize("normalization", ["one", "channels", "pixels"])
def test_converted_models(folder: Path, photos: dict[str, np.ndarray], normalization: str, recipe: str) -> None:
    check(folder / f"{normalization}_{recipe}" / "model.tflite", photos, 32, SCORE_TOLERANCE[recipe])
