"""Folders of pictures: which files are pictures, which folders are classes, and what their names tell."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Optional

from edge import labels
from edge.errors import ConfigError, LabelError
from edge.images import SUFFIXES, path_text

_INDEX_PREFIX = re.compile(r"(\d+)(?!\d)")


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """All pictures in a folder and below, ordered by their path inside it; hidden files and folders do not count.

    Raises:
        ConfigError: it is no folder or holds no pictures.
    """
    _require_folder(folder)
    found = pictures_below(folder)
    if not found:
        raise ConfigError(f"{path_text(folder)} holds no pictures: expected files that end in {', '.join(SUFFIXES)}.")
    return found


def pictures_below(folder: Path) -> tuple[Path, ...]:
    """As `find_pictures`, and none where there are none."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if _is_picture(Path(parent, name))]
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).parts))


def class_pictures(root: Path) -> dict[str, tuple[Path, ...]]:
    """The pictures of each class: a class is a folder right below `root`, with all that lies in and below it.

    A class is called as its folder, without spaces around and with composed characters (Unicode's NFC), as file
    systems differ in these.

    Returns:
        Pictures by class name, both in order.

    Raises:
        ConfigError: these are not two or more folders, all with pictures, whose names can stand in a label file.
    """
    _require_folder(root)
    entries = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    beside = [path for path in entries if _is_picture(path) and not path.is_dir()]
    folders: dict[str, Path] = {}
    for folder in (path for path in entries if path.is_dir()):
        name = class_name(folder)
        if name in folders:
            raise ConfigError(
                f"The class folders {folders[name].name!r} and {folder.name!r} in {path_text(root)} differ only in "
                "spaces around the name or in how its characters are composed: join or rename them."
            )
        folders[name] = folder
    if not folders and not beside:
        raise ConfigError(f"{path_text(root)} is empty: expected a folder of pictures for each class.")
    if beside:
        raise ConfigError(
            f"{path_text(root)} holds pictures that are in no class ({path_text(beside[0])} is the first of "
            f"{len(beside)}): put each into the folder of its class."
        )
    if len(folders) < 2:
        raise ConfigError(
            f"{path_text(root)} holds one class only, {next(iter(folders))!r}: expected two or more class folders."
        )
    names = sorted(folders)
    _require_labels(names, root)
    return {name: find_pictures(folders[name]) for name in names}


def class_index(path: Path, classes: int) -> Optional[int]:
    """The truth of a picture from its folder's name, `NNN_anything`; None when the name does not tell."""
    match = _INDEX_PREFIX.match(path.parent.name)
    index = int(match[1]) if match else classes
    return index if index < classes else None


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"{path_text(folder)} {what}: expected a folder with pictures ({', '.join(SUFFIXES)}).")


def _is_picture(path: Path) -> bool:
    """A link that leads nowhere counts, to be reported; a pipe or device does not, as it may be read without end."""
    visible = not path.name.startswith(".") and path.suffix.lower() in SUFFIXES
    return visible and (path.is_file() or not path.exists())


def class_name(folder: Path) -> str:
    """What a class folder's pictures are called: see `class_pictures`.

    Raises:
        ConfigError: it cannot stand in a label file.
    """
    name = unicodedata.normalize("NFC", folder.name).strip()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"The class folder {path_text(folder)} has a name that is not UTF-8: rename it.") from None
    if len(name.splitlines()) != 1 or name.startswith("."):
        raise ConfigError(
            f"The class folder {folder.name!r} in {path_text(folder.parent)} has a name that cannot be a label, which "
            "stands on one line of a file: rename it."
        )
    return name


def _require_labels(names: list[str], root: Path) -> None:
    """Refuse names that a label file would not give back, such as "0 rose", or give to other classes ("10 ...")."""
    try:
        read = labels.parse("\n".join(names), "labels.txt")
    except LabelError:
        read = ()
    if read != tuple(names):
        raise ConfigError(
            f"The class folders in {path_text(root)} begin with numbers that a label file would take for class "
            f"indices ({names[0]!r} is the first): write them as '1_rose', not '1 rose'."
        )
