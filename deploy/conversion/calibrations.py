"""The pictures that a conversion measures the ranges of activations on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import msgspec

from deploy.pictures import datasets
from deploy.pictures.truth import SPLIT_FILE
from edge.errors import ConfigError, ImageError
from edge.images import path_text, read_rgb

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
        ConfigError: there is no folder, or no picture in it that can be read.
    """
    if folder is None:
        raise ConfigError("This recipe needs pictures to calibrate on: give --calibrate FOLDER.")
    pictures, whole = _candidates(model.parent / SPLIT_FILE, folder, warn)
    chosen = _readable(pictures, datasets.calibration_pictures(pictures, count), warn)
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


def _candidates(split: Path, folder: Path, warn: Callable[[str], object]) -> tuple[tuple[Path, ...], str]:
    """The training pictures by the split beside the model, else all; and what they are, in words."""
    everything = datasets.find_pictures(folder)
    if not split.is_file():
        if all(path.parent != folder for path in everything):  # class folders, which `edge-deploy verify` takes too
            warn(
                f"All of {path_text(folder)} may calibrate, as no {split.name} lies beside the model: use other "
                "pictures for `edge-deploy verify`."
            )
        return everything, "pictures"
    try:
        training = _training_part(split, folder, everything)
    except ConfigError as error:
        warn(f"All of {path_text(folder)} calibrates, test pictures too, as {split} is of other pictures: {error}")
        return everything, "pictures"
    if not training:
        warn(f"All of {path_text(folder)} calibrates, as {split} has no training pictures in it: verify on others.")
        return everything, "pictures"
    return training, f"training pictures by {split.name}"


def _training_part(split: Path, folder: Path, everything: tuple[Path, ...]) -> tuple[Path, ...]:
    """The training pictures in a folder that was split, or that lies in one: of given parts each does.

    Raises:
        ConfigError: neither it nor a folder above it has the pictures of the split.
    """
    try:
        return tuple(picture.path for picture in datasets.read_split(split, folder).part("train"))
    except ConfigError as error:
        reason = error
    own = {path.resolve() for path in everything}
    for root in dict.fromkeys((*Path(os.path.abspath(folder)).parents, *folder.resolve().parents)):
        with contextlib.suppress(ConfigError):
            listed = datasets.read_split(split, root).part("train")
            return tuple(picture.path for picture in listed if picture.path.resolve() in own)
    raise reason


def _readable(pictures: Sequence[Path], wanted: Sequence[Path], warn: Callable[[str], object]) -> tuple[Path, ...]:
    """The wanted pictures; for each that cannot be read the next that can."""
    first_choice = frozenset(wanted)
    good: list[Path] = []
    bad: list[Path] = []
    missing = 0
    for path in pictures:
        if path not in first_choice and not missing:
            continue
        try:
            read_rgb(path)
        except ImageError:
            bad.append(path)
            missing += path in first_choice
        else:
            good.append(path)
            missing -= path not in first_choice
    if not good:
        raise ConfigError(
            f"Not one of {len(bad)} pictures to calibrate on can be read ({path_text(bad[0])} is the first): expected "
            "JPEG, PNG, BMP or WebP pictures."
        )
    if bad:
        warn(
            f"{len(bad)} pictures cannot be read ({path_text(bad[0])} is the first): the next ones calibrate instead, "
            "as far as there are."
        )
    return tuple(good)
