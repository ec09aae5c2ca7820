"""Real photographs as the frames of a camera: JPEG files, each photograph with a camera's noise in several ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import skimage.data

from edge.classifier import Classifier
from tests.conftest import DATA, MODEL

_WIDTH_PX, _HEIGHT_PX = 640, 480
_VARIANTS = 8
"""Of each photograph, since no real camera gives the very same picture twice."""
_MOST = 9
_OWN = {"chelsea": range(281, 286), "coffee": (504, 967, 968), "rocket": (657, 744, 812)}
"""Photographs in scikit-image's wheel, with what ImageNet may call them: cats; cup, mug, espresso; rockets."""


class Photograph(NamedTuple):
    """A folder of frames that show one thing."""

    name: str
    class_id: int


def photographs(folder: Path) -> list[Photograph]:
    """Write frames into folders, of photographs that the shipped model tells right on this machine; at least one.

    A folder `no_pictures` gets files that are none.
    """
    found = []
    noise = np.random.default_rng(1)
    with Classifier.open(MODEL) as classifier:
        for name, truth, picture in _pictures():
            whole = _cut(picture)
            files = []
            for _ in range(_VARIANTS):
                frame = np.clip(whole + noise.normal(0, 3, whole.shape), 0, 255).astype(np.uint8)
                files.append(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
            told = {_class(classifier, content) for content in files}
            if len(told) == 1 and told <= set(truth):
                found.append(Photograph(name, told.pop()))
                _write(folder / name, [content.tobytes() for content in files])
            if len(found) == _MOST:
                break
    assert found, "the model tells none of the photographs right"
    _write(folder / "no_pictures", [b"no picture" * 1000])
    return found


def _pictures() -> Iterator[tuple[str, Any, Any]]:
    """Name, classes and pixels (BGR); those of the larger set only where it is."""
    for name, truth in _OWN.items():
        yield name, truth, cv2.cvtColor(getattr(skimage.data, name)(), cv2.COLOR_RGB2BGR)
    for folder in sorted(DATA.glob("imagenet_sample/[0-9]*"))[::30]:
        yield folder.name, (int(folder.name[:3]),), cv2.imread(str(sorted(folder.iterdir())[0]))


def _cut(picture: Any) -> Any:
    """The middle, as large as the camera's frames."""
    height, width = picture.shape[:2]
    wide, high = min(width, height * 4 // 3), min(height, width * 3 // 4)
    left, top = (width - wide) // 2, (height - high) // 2
    return cv2.resize(picture[top : top + high, left : left + wide], (_WIDTH_PX, _HEIGHT_PX))


def _class(classifier: Classifier, content: Any) -> int:
    pixels = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return classifier.classify(np.asarray(pixels, np.uint8)).predictions[0].class_id


def _write(folder: Path, contents: list[bytes]) -> None:
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
