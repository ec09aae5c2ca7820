"""Real material for the tests: the shipped model, photographs from scikit-image's wheel, larger sets where present."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import hypothesis
import numpy as np
import pytest

# Timings belong into benchmarks: a busy machine must not fail a test.
hypothesis.settings.register_profile("edge", deadline=None)
hypothesis.settings.load_profile("edge")

ROOT = Path(__file__).resolve().parent.parent
MODEL = "efficientnet_lite0_int8"


@pytest.fixture(scope="session")
def data() -> Path:
    """The larger picture sets; tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("EDGE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no picture sets at {folder} (set EDGE_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def photos() -> dict[str, np.ndarray]:
    """Photographs as uint8 RGB, by what they show."""
    import skimage.data

    return {
        "cat": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
        "rocket": skimage.data.rocket(),
    }


@pytest.fixture(scope="session")
def photo_files(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The photographs as PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    paths = {name: folder / f"{name}.png" for name in photos}
    for name, path in paths.items():
        cv2.imwrite(str(path), cv2.cvtColor(photos[name], cv2.COLOR_RGB2BGR))
    return paths


@pytest.fixture(scope="session")
def classifier():
    """The shipped model, opened once."""
    from edge import Classifier

    with Classifier.open(MODEL, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Tiny models that tell red, green and blue pictures apart; tests/fixtures/make_models.py makes them."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    return TinyModels(ROOT / "tests" / "fixtures" / "models", folder / "labels.txt")


class TinyModels:
    """Paths of the tiny models and of the labels that fit them."""

    def __init__(self, folder: Path, labels: Path) -> None:
        self._folder = folder
        self.labels = labels

    def __getitem__(self, name: str) -> Path:
        return self._folder / f"{name}.tflite"


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    import shutil

    return Path(shutil.copytree(ROOT / "models" / MODEL, tmp_path / MODEL))


@pytest.fixture(params=["litert", "tflite"])
def runtime_name(request: pytest.FixtureRequest) -> str:
    """Each runtime by name; skipped where it is not installed or cannot be imported."""
    from edge.errors import RuntimeUnavailableError
    from edge.runtimes.cpu import LiteRt, TfliteRuntime

    try:
        {"litert": LiteRt, "tflite": TfliteRuntime}[request.param].require()
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))
    return str(request.param)
