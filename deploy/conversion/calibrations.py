"""The pictures that a conversion measures the ranges of activations on."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional

import msgspec

from deploy.pictures import datasets
from deploy.pictures.truth import SPLIT_FILE
from edge.errors import ConfigError

_FEW_PICTURES = 100


class Calibration(msgspec.Struct, frozen=True):
    """Pictures on which the ranges of activations are measured."""

    pictures: tuple[Path, ...]
    origin: str
    """Which these are, in words."""
    rounding_images: int = 32
    """How many of them the convolutions are rounded on: the longest step, and more gain nothing that can be measured
    in accuracy (README.md)."""


def choose(model: Path, folder: Optional[Path], count: int, warn: Callable[[str], object]) -> Calibration:
    """Choose pictures: of the training part, where the model has a split of this folder beside it; else of all.

    Args:
        model: the .keras file.
        folder: of the pictures.
        count: how many at most.
        warn: is told what the result may suffer from, one sentence each.

    Raises:
        ConfigError: there is no folder, or no pictures in it.
    """
    if folder is None:
        raise ConfigError("This recipe needs pictures to calibrate on: give --calibrate FOLDER.")
    found = _training_part(model.parent / SPLIT_FILE, folder, warn)
    pictures, whole = found if found else (datasets.find_pictures(folder), "pictures")
    chosen = datasets.calibration_pictures(pictures, count)
    if len(chosen) == 1:
        warn(
            "One picture calibrates: what is brighter or busier than it will be clipped, and one picture in twenty "
            "comes out as another class than in float (measured with efficientnet_lite0 on flowers; networks without "
            f"ReLU6 can do worse); give {_FEW_PICTURES} or more, and measure with `edge-deploy verify`."
        )
    elif len(chosen) < _FEW_PICTURES:
        warn(
            f"{len(chosen)} pictures calibrate: the ranges may miss what other pictures have; {_FEW_PICTURES} or more, "
            "of all classes, are better."
        )
    origin = f"{len(chosen)} of {len(pictures)} {whole} of {folder.resolve().name}, evenly spaced by path"
    return Calibration(chosen, origin)


def _training_part(path: Path, folder: Path, warn: Callable[[str], object]) -> Optional[tuple[tuple[Path, ...], str]]:
    """The training pictures by the split beside the model; None when there is none of that folder."""
    if not path.is_file():
        return None
    try:
        dataset = datasets.read_split(path, folder)
    except ConfigError as error:
        warn(f"All of {folder} calibrates, test pictures too, as {path} is of other pictures: {error}")
        return None
    return tuple(picture.path for picture in dataset.part("train")), f"training pictures by {path.name}"
