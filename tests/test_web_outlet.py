"""The page's server as the daemon has it: a real run, asked over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from edge import Classifier
from tests.web import Page, served


@pytest.fixture(scope="module")
def page(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Open, with a journal."""
    with served(classifier, tmp_path_factory.mktemp("page"), pictures=6) as running:
        yield running


def test_the_state_tells_the_run_and_goes_on(page: Page) -> None:
    first = page.get("/api/state").json
    assert first["status"]["model"] == "efficientnet_lite0_int8"
    second = page.get(f"/api/state?after={first['number']}").json
    assert second["number"] == first["number"] + 1
    assert second["status"]["frames"] > first["status"]["frames"]
    assert second["predictions"][0]["label"] == "wall clock"
    assert len(second["predictions"]) == 5
    assert len(second["recent"]) <= 2


def test_live_pictures_follow_each_other(page: Page) -> None:
    first = page.get("/picture.jpg")
    second = page.get(f"/picture.jpg?after={first.headers['X-Sequence']}")
    assert int(second.headers["X-Sequence"]) > int(first.headers["X-Sequence"])
    pixels = cv2.imdecode(np.frombuffer(second.body, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (480, 640, 3)
