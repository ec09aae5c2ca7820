"""Real material for the tests: the shipped model, photographs from scikit-image's wheel, larger sets where present."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

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
