"""Data sets: folders of classes divided into training, validation and test, and choices of calibration pictures."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Optional, Union

import msgspec

from deploy.pictures import likeness
from deploy.pictures.folders import class_index, class_pictures, find_pictures
from deploy.pictures.split_files import PARTS, Dataset, Part, Picture, Report, Skipped, read_split, write_split
from edge.errors import ConfigError, ImageError
from edge.images import path_text

__all__ = [
    "PARTS",
    "CalibrationSplit",
    "Dataset",
    "Part",
    "Picture",
    "Report",
    "Skipped",
    "calibration_pictures",
    "calibration_split",
    "class_index",
    "find_pictures",
    "from_parts",
    "read_split",
    "split",
    "write_split",
]

SHARES = (0.8, 0.1, 0.1)
_GROUP_DIGITS = 16

Progress = Callable[[int, int], None]
"""Is told how many of how many pictures are done."""


class CalibrationSplit(msgspec.Struct, frozen=True):
    """The pictures of one folder in two parts that share none."""

    calibration: tuple[Path, ...]
    evaluation: tuple[Path, ...]


class _Seen(msgspec.Struct, frozen=True):
    """The pictures of some folders that can be used, before they have parts."""

    paths: tuple[Path, ...]
    class_ids: tuple[int, ...]
    looks: tuple[likeness.Look, ...]
    groups: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def skipped_of(self, class_id: int) -> list[Skipped]:
        return [one for one in self.skipped if one.class_id == class_id]


def split(
    folder: Path,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    near_bits: Optional[int] = None,
    progress: Optional[Progress] = None,
) -> Dataset:
    """Divide a folder of class folders into training, validation and test.

    Each class is divided by the same shares, to the picture, as far as groups of duplicates allow, which stay on one
    side. Files that are equal but lie in several classes go to training with all that resembles them. Which part a
    group falls into depends on the seed and on its content, not on names or order, so that one picture more moves
    few others.

    Args:
        folder: its folders are the classes: see `folders.class_pictures`.
        seed: another one gives another split.
        shares: of training, validation and test; their sum is 1.
        near_bits: see `likeness.groups`; below 0 only equal files stay together. None: `likeness.NEAR_BITS`.
        progress: is told how many pictures were read.

    Raises:
        ConfigError: the folder or the shares are not as they should be, or a class has too few pictures.
    """
    if len(shares) != len(PARTS) or not all(0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"The shares are {', '.join(f'{share:g}' for share in shares)}: expected three above 0 that add up to 1, "
            "for training, validation and test."
        )
    bits = likeness.NEAR_BITS if near_bits is None else near_bits
    found = class_pictures(folder)
    classes = tuple(found)
    seen = _look(list(found.values()), bits, progress)
    members: dict[str, list[int]] = {}
    for index, group in enumerate(seen.groups):
        members.setdefault(group, []).append(index)
    parts: dict[str, Part] = {}
    for class_id, name in enumerate(classes):
        own = {group: of for group, of in members.items() if any(seen.class_ids[one] == class_id for one in of)}
        pure = [group for group, of in own.items() if all(seen.class_ids[one] == class_id for one in of)]
        pictures = seen.class_ids.count(class_id)
        if len(pure) < len(PARTS):
            raise ConfigError(_too_few(name, folder, pictures, len(pure), seen.skipped_of(class_id), bits))
        pure.sort(key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())
        wanted = [max(1, math.floor(share * pictures + 0.5)) for share in shares[1:]]
        parts.update(zip(pure, _assign([len(own[group]) for group in pure], *wanted)))
    return _dataset(folder, classes, seen, [parts.get(group, "train") for group in seen.groups])


def from_parts(train: Path, validation: Path, test: Path, progress: Optional[Progress] = None) -> Dataset:
    """Take three folders of class folders as they are; duplicates across them are in the report.

    The data set's root is the folder that all three lie in.

    Raises:
        ConfigError: a folder is not as it should be, is given twice, or their classes differ.
    """
    folders = [Path(os.path.abspath(folder)) for folder in (train, validation, test)]
    found = [class_pictures(folder) for folder in folders]
    classes = tuple(found[0])
    for number in (1, 2):
        if any(folders[number].samefile(other) for other in folders[:number]):
            raise ConfigError(f"{path_text(folders[number])} is given for two parts: expected three different folders.")
        difference = sorted(set(found[0]) ^ set(found[number]))
        if difference:
            raise ConfigError(
                f"{path_text(folders[0])} and {path_text(folders[number])} must hold the same classes: only one of "
                f"them holds {', '.join(map(repr, difference[:5]))}{', …' if len(difference) > 5 else ''}."
            )
    seen = _look([found[number][name] for name in classes for number in range(3)], likeness.NEAR_BITS, progress, 3)
    part_of = {path: PARTS[number] for number in range(3) for paths in found[number].values() for path in paths}
    parts = [part_of[path] for path in seen.paths]
    held = set(zip(seen.class_ids, parts))
    for class_id, name in enumerate(classes):
        for number, part in enumerate(PARTS):
            if (class_id, part) not in held:
                raise ConfigError(
                    f"Not one picture of the class {name!r} in {path_text(folders[number])} can be read: expected at "
                    "least one."
                )
    return _dataset(Path(os.path.commonpath(folders)), classes, seen, parts)


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
    chosen = frozenset(calibration_pictures(paths, calibration_images))
    return CalibrationSplit(
        tuple(path for path in paths if path in chosen),
        tuple(path for path in paths if path not in chosen),
    )


def calibration_pictures(pictures: Sequence[Path], count: int) -> tuple[Path, ...]:
    """Choose evenly spaced pictures, so that each class gets its share.

    Args:
        pictures: in the order of their classes.
        count: how many; all are taken when there are not more.

    Raises:
        ConfigError: `count` is below 1.
    """
    if count < 1:
        raise ConfigError(f"{count} calibration images were asked for: expected at least one.")
    total = len(pictures)
    if total <= count:
        return tuple(pictures)
    return tuple(pictures[number * total // count] for number in range(count))


def _look(
    folders: list[tuple[Path, ...]], near_bits: int, progress: Optional[Progress], folders_per_class: int = 1
) -> _Seen:
    listed = [(path, number // folders_per_class) for number, paths in enumerate(folders) for path in paths]
    root = os.path.commonpath([path for path, _ in listed])
    paths, class_ids, looks, skipped = [], [], [], []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        found = pool.map(lambda one: _try(one[0], root), listed)
        for number, ((path, class_id), seen) in enumerate(zip(listed, found)):
            if isinstance(seen, likeness.Look):
                paths.append(path)
                class_ids.append(class_id)
                looks.append(seen)
            else:
                skipped.append(Skipped(path, class_id, seen))
            if progress:
                progress(number + 1, len(listed))
    finally:
        pool.shutdown(cancel_futures=True)
    labels = likeness.groups(looks, class_ids, near_bits).tolist()
    lowest: dict[int, str] = {}
    for label, seen in zip(labels, looks):
        lowest[label] = min(lowest.get(label, seen.sha256), seen.sha256)
    groups = tuple(lowest[label][:_GROUP_DIGITS] for label in labels)
    return _Seen(tuple(paths), tuple(class_ids), tuple(looks), groups, tuple(skipped))


def _try(path: Path, root: str) -> Union[likeness.Look, str]:
    """What a picture is, or why it cannot be used."""
    try:
        os.fsencode(path.relative_to(root)).decode()  # as the split file is to name it
        return likeness.look(path)
    except UnicodeDecodeError:
        return f"{path_text(path)} has a name that is not UTF-8: rename it."
    except ImageError as error:
        return str(error)


def _assign(sizes: list[int], validation: int, test: int) -> list[Part]:
    """The part of each group, in order: test fills up first, then validation, and training has the rest.

    A group is taken when that brings a part nearer to its number of pictures; each part gets one at least.
    """
    parts: list[Part] = ["train"] * len(sizes)
    free = list(range(len(sizes)))
    kept = 2
    part: Part
    for part, wanted in (("test", test), ("validation", validation)):
        taken: list[int] = []
        room = wanted
        for group in free:
            if len(free) - len(taken) > kept and sizes[group] < 2 * room:
                taken.append(group)
                room -= sizes[group]
        for group in taken or [min(free, key=lambda one: sizes[one])]:
            parts[group] = part
        free = [group for group in free if parts[group] == "train"]
        kept -= 1
    return parts


def _too_few(name: str, folder: Path, pictures: int, groups: int, skipped: Sequence[Skipped], near_bits: int) -> str:
    alike = f", {groups} when duplicates and what is in two classes count once" if groups < pictures else ""
    unusable = f" ({len(skipped)} cannot be used; {skipped[0].reason.rstrip('.')})" if skipped else ""
    counted = "1 picture" if pictures == 1 else f"{pictures} pictures"
    way_out = "; frames of a fixed camera: allow them with --near-bits -1" if alike and near_bits >= 0 else ""
    return (
        f"The class {name!r} in {path_text(folder)} has {counted}{alike}{unusable}: expected at least 3, one each for "
        f"training, validation and test{way_out}."
    )


def _dataset(root: Path, classes: tuple[str, ...], seen: _Seen, parts: Sequence[Part]) -> Dataset:
    return Dataset(
        root,
        classes,
        tuple(
            Picture(path, class_id, part, found.sha256, found.size_bytes, group, found.traits)
            for path, class_id, found, group, part in zip(seen.paths, seen.class_ids, seen.looks, seen.groups, parts)
        ),
        seen.skipped,
    )
