"""Folders of pictures: finding them, their truth, and which of them calibrate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import msgspec

from edge.errors import ConfigError
from edge.images import SUFFIXES

_INDEX_PREFIX = re.compile(r"(\d+)(?!\d)")


class CalibrationSplit(msgspec.Struct, frozen=True):
    """The pictures of one folder in two parts that share none."""

    calibration: tuple[Path, ...]
    evaluation: tuple[Path, ...]


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """All pictures in a folder and below, ordered by their path inside it.

    Raises:
        ConfigError: it is no folder or holds no pictures.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: expected one with pictures ({', '.join(SUFFIXES)}).")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise ConfigError(f"{folder} holds no pictures: expected files that end in {', '.join(SUFFIXES)}.")
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).parts))


def calibration_split(paths: Sequence[Path], calibration_images: int) -> CalibrationSplit:
    """Take evenly spaced pictures for calibration; the rest is for evaluation.

    Raises:
        ConfigError: nothing would be left to evaluate.
    """
    if not 0 < calibration_images < len(paths):
        raise ConfigError(
            f"{calibration_images} calibration images were asked for and the folder holds {len(paths)}: expected at "
            "least one, and at least one left over to measure the accuracy."
        )
    chosen = {number * len(paths) // calibration_images for number in range(calibration_images)}
    return CalibrationSplit(
        tuple(path for number, path in enumerate(paths) if number in chosen),
        tuple(path for number, path in enumerate(paths) if number not in chosen),
    )


def class_index(path: Path, classes: int) -> Optional[int]:
    """The truth of a picture from its folder's name, `NNN_anything`; None when the name does not tell."""
    match = _INDEX_PREFIX.match(path.parent.name)
    index = int(match[1]) if match else classes
    return index if index < classes else None
