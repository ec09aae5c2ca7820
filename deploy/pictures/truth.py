"""Which pictures a model is measured on, and what each of them shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

import msgspec

from deploy.pictures.folders import class_index, class_name, find_pictures
from deploy.pictures.split_files import Part, read_split
from edge.errors import ConfigError
from edge.labels import ClassNames

SPLIT_FILE = "split.csv"
_MOST_NAMED = 5


class Labelled(msgspec.Struct, frozen=True):
    """Pictures, each with the index of the output that is right for it."""

    pictures: tuple[tuple[Path, int], ...]
    origin: str
    """Which these are, in words."""
    warning: Optional[str] = None
    """Why their accuracy may flatter the model; None when it does not."""


def from_split(data: Path, split: Path, part: Part, labels: Sequence[str], background_offset: int) -> Labelled:
    """The pictures of one part of a split.

    Args:
        data: the folder that was split.
        split: the file that says so; see `deploy.pictures.split_files.read_split`.
        part: which.
        labels: the model's, by output.
        background_offset: 1 when output 0 is a background class.

    Raises:
        ConfigError: it is not a split of these pictures, or a class is none of the labels.
    """
    dataset = read_split(split, data)
    indices = class_indices(dataset.classes, labels, background_offset)
    return Labelled(
        tuple((picture.path, indices[dataset.classes[picture.class_id]]) for picture in dataset.part(part)),
        f"the {part} part of {data.resolve().name} by {split.name}",
        "the model learnt from these pictures" if part == "train" else None,
    )


def from_folder(data: Path, labels: Sequence[str], background_offset: int) -> Labelled:
    """All pictures in the class folders of a folder: the same as `edge evaluate` takes.

    Raises:
        ConfigError: there are none, they do not lie in class folders, or a folder is none of the labels.
    """
    paths = find_pictures(data)
    outside = sum(path.parent == data for path in paths)
    if outside:
        raise ConfigError(f"{outside} pictures lie in {data} itself: expected each in a folder named after its class.")
    names = {folder: class_name(folder) for folder in {path.parent for path in paths}}
    indices = class_indices(set(names.values()), labels, background_offset)
    return Labelled(
        tuple((path, indices[names[path.parent]]) for path in paths),
        f"all of {data.resolve().name}",
        "training pictures may be among them: give the --split that the model was trained with",
    )


def class_indices(folders: Iterable[str], labels: Sequence[str], background_offset: int) -> dict[str, int]:
    """The output that is right for each class folder.

    A folder is named as `edge.labels.ClassNames` finds one label. Where one is not, all are to be named `NNN_anything`,
    NNN being the class index, background not counted.

    Raises:
        ConfigError: neither holds for all.
    """
    names = sorted(folders)
    known = ClassNames(labels)
    named = {name: _by_name(name, known) for name in names}
    indices = {name: index for name, index in named.items() if index is not None}
    if len(indices) == len(names):
        return indices
    classes = len(labels) - background_offset
    numbered = {name: class_index(Path(name, "picture"), classes) for name in names}
    indices = {name: index + background_offset for name, index in numbered.items() if index is not None}
    if len(indices) == len(names):
        return indices
    unknown = [name for name, index in named.items() if index is None]
    raise ConfigError(
        f"The model has no label for the class folders {_listed(unknown)}: expected folders named as its {len(labels)} "
        f"labels ({_listed(labels)}), or all beginning with the class index, as 000_name."
    )


def _by_name(folder: str, known: ClassNames) -> Optional[int]:
    found = known.find(folder)
    return min(found) if len(found) == 1 else None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
