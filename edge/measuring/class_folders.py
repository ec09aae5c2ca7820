"""Pictures in folders named after their class: which of a model's classes each folder is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import msgspec
import yaml

from edge.cameras.directory import find_pictures
from edge.errors import ConfigError
from edge.labels import ClassNames

_MOST_NAMED = 20
_INDEX = re.compile(r"\d+")

Truth = dict[str, frozenset[int]]
"""The class indices that are right for the pictures of each folder."""


def truth_of(
    folder: Path,
    labels: Sequence[str],
    *,
    map_file: Optional[Path] = None,
    index_prefix: bool = False,
    background_offset: int = 0,
) -> Truth:
    """Find the class of each class folder below `folder`.

    Args:
        folder: its pictures lie in folders named after their class.
        labels: the model's, by output index.
        map_file: YAML or plain lines `folder: label` for folders with names of their own; see `read_map`.
        index_prefix: the number that a folder's name begins with is its class index, background not counted.
        background_offset: 1 when output 0 is a background class.

    Raises:
        ConfigError: there are no class folders, or one has no class or several.
    """
    folders = class_folders(folder)
    if index_prefix:
        if map_file is not None:
            raise ConfigError("--map and --index-prefix were both given: folders are either named or numbered.")
        return _by_index(folders, len(labels), background_offset)
    return _by_name(folders, labels, read_map(map_file) if map_file else {})


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders that the pictures below `folder` lie in, sorted.

    Raises:
        ConfigError: there are none, or pictures lie beside them.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: expected one with a folder of pictures for each class.")
    parents = Counter(path.parent for path in find_pictures(folder))
    if not parents:
        raise ConfigError(f"{folder} holds no pictures: expected a folder of pictures for each class.")
    if folder in parents:
        raise ConfigError(
            f"{_pictures(parents[folder])} in {folder} itself: expected each in a folder named after its class."
        )
    return tuple(sorted({parent.name for parent in parents}))


def read_map(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `folder: label` lines (or a list of labels, any of which is right) from a YAML file.

    A label is a label's text as in `truth_of`, or an output's index.

    Raises:
        ConfigError: the file cannot be read or holds something else.
    """
    try:
        # BaseLoader: all scalars stay text, so that `no: 001` means a folder "no".
        document: Any = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
        read = msgspec.convert(document, dict[str, Union[str, list[str]]])
    except OSError as error:
        raise ConfigError(f"Cannot read the map {path}: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a map of `folder: label` lines: {' '.join(str(error).split())}.") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} is not a map of `folder: label` lines: {error}.") from None
    return {folder: (value,) if isinstance(value, str) else tuple(value) for folder, value in read.items()}


def _by_index(folders: Iterable[str], classes: int, background_offset: int) -> Truth:
    truth: Truth = {}
    wrong = []
    for folder in folders:
        match = _INDEX.match(folder)
        index = int(match[0]) + background_offset if match else classes
        truth[folder] = frozenset({index})
        if index >= classes:
            wrong.append(folder)
    if wrong:
        raise ConfigError(
            f"With --index-prefix a folder's name begins with its class index, 0 to {classes - 1 - background_offset}; "
            f"these do not: {_listed(wrong)}."
        )
    return truth


def _by_name(folders: Iterable[str], labels: Sequence[str], mapping: dict[str, tuple[str, ...]]) -> Truth:
    classes = ClassNames(labels)

    def indices(text: str, mapped: bool) -> frozenset[int]:
        found = classes.find(text)
        # A number is an index only where a person wrote it in a map; a folder "3" must be the label "3".
        if mapped and not found and text.isdecimal() and len(text) < 10 and int(text) < len(labels):
            return frozenset({int(text)})
        return found

    truth: Truth = {}
    unmatched, ambiguous = [], []
    for folder in folders:
        right: set[int] = set()
        for text in mapping.get(folder, (folder,)):
            found = indices(text, folder in mapping)
            name = folder if text == folder else f"{folder} ({text})"
            if not found:
                unmatched.append(name)
            elif len(found) > 1:
                ambiguous.append(f"{name} ({' or '.join(str(index) for index in sorted(found))})")
            right |= found
        truth[folder] = frozenset(right)
    if unmatched or ambiguous:
        reasons = [f"{_listed(unmatched)} match no label"] if unmatched else []
        reasons += [f"{_listed(ambiguous)} match several"] if ambiguous else []
        raise ConfigError(
            f"Class folders must match the model's labels: {'; '.join(reasons)}. Say which label or index is meant in "
            "a file of `folder: label` lines with --map FILE, or --index-prefix where folders begin with a class index."
        )
    return truth


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _pictures(count: int) -> str:
    return "1 picture lies" if count == 1 else f"{count} pictures lie"
