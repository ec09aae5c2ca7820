"""split.csv: a data set with the part of each picture, so that every command uses the same."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal, Optional, get_args

import msgspec

from deploy import files
from deploy.pictures.folders import class_name, pictures_below
from edge.errors import ConfigError
from edge.images import path_text

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
TRAITS = ("tiny", "grey", "cmyk", "rotated")
COLUMNS = ("path", "class", "part", "sha256", "bytes", "group", "notes")
_SKIPPED = "skipped"


class Picture(msgspec.Struct, frozen=True):
    """One picture of a data set."""

    path: Path
    """Below the data set's root, with the root in front."""
    class_id: int
    """Index of its class in `Dataset.classes`."""
    part: Part
    """What it is used for."""
    sha256: str
    """Of the file."""
    size_bytes: int
    """Size of the file."""
    group: str
    """Pictures with the same one are duplicates, exact or near."""
    traits: tuple[str, ...] = ()
    """Of "tiny", "grey", "cmyk" and "rotated": see `likeness.Look`."""


class Skipped(msgspec.Struct, frozen=True):
    """A picture that was left out."""

    path: Path
    class_id: int
    reason: str
    """One sentence that names it."""


class Report(msgspec.Struct, frozen=True):
    """What there is to know about a data set before it is used. Paths are relative to its root."""

    counts: dict[str, dict[str, int]]
    """Pictures by class and part."""
    exact_duplicates: int
    """Pictures of which an equal file is there as well."""
    near_duplicates: int
    """Different files that show what another one of their class shows."""
    conflicts: tuple[tuple[str, ...], ...]
    """Equal files in several classes; `split` gives all of them to training."""
    across_parts: tuple[tuple[str, ...], ...]
    """Duplicates in several parts: never of `split`, but given parts may have them."""
    traits: dict[str, int]
    """Pictures that are tiny, grey, CMYK, rotated by EXIF; all are used."""
    skipped: tuple[str, ...]
    """Why each picture that cannot be used was left out."""
    unlisted: tuple[str, ...]
    """Pictures that came after the split was written; they are not used."""


class Dataset(msgspec.Struct, frozen=True):
    """Pictures of two or more classes in three parts."""

    root: Path
    classes: tuple[str, ...]
    """Names in order; a picture's `class_id` is an index into them."""
    pictures: tuple[Picture, ...]
    """In the order of their classes and paths."""
    skipped: tuple[Skipped, ...] = ()
    unlisted: tuple[Path, ...] = ()
    """Pictures that came after the split was written."""

    def part(self, name: Part) -> tuple[Picture, ...]:
        """The pictures of one part, in order."""
        return tuple(picture for picture in self.pictures if picture.part == name)

    def relative(self, path: Path) -> str:
        """A picture's path as the split file has it: from the root on, with slashes."""
        return path.relative_to(self.root).as_posix()

    def report(self) -> Report:
        """Count and list what is worth knowing."""
        groups: dict[str, list[Picture]] = {}
        files: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            groups.setdefault(picture.group, []).append(picture)
            files.setdefault(picture.sha256, []).append(picture)
        places = Counter((picture.class_id, picture.part) for picture in self.pictures)
        traits = Counter(trait for picture in self.pictures for trait in picture.traits)
        return Report(
            counts={
                name: {part: places[class_id, part] for part in PARTS} for class_id, name in enumerate(self.classes)
            },
            exact_duplicates=len(self.pictures) - len(files),
            near_duplicates=len(files) - len(groups),
            conflicts=self._paths(same for same in files.values() if len({one.class_id for one in same}) > 1),
            across_parts=self._paths(alike for alike in groups.values() if len({one.part for one in alike}) > 1),
            traits={trait: traits[trait] for trait in TRAITS},
            skipped=tuple(skipped.reason for skipped in self.skipped),
            unlisted=tuple(path_text(Path(self.relative(path))) for path in self.unlisted),
        )

    def _paths(self, found: Iterable[list[Picture]]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(self.relative(picture.path) for picture in pictures) for pictures in found)


def check_target(path: Path) -> None:
    """Refuse a place for `write_split` before the work is done.

    Raises:
        ConfigError: it is a folder, or in none.
    """
    if path.is_dir():
        raise ConfigError(f"Cannot write the split {path}: it is a folder, expected a file such as split.csv.")
    if not path.parent.is_dir():
        raise ConfigError(f"Cannot write the split {path}: there is no folder {path.parent}.")


def write_split(dataset: Dataset, path: Path) -> None:
    """Write a data set's parts as CSV; never half-written under its final name.

    Raises:
        ConfigError: it cannot be written there.
    """
    rows = [
        (
            dataset.relative(picture.path),
            dataset.classes[picture.class_id],
            picture.part,
            picture.sha256,
            picture.size_bytes,
            picture.group,
            " ".join(picture.traits),
        )
        for picture in dataset.pictures
    ] + [
        (path_text(Path(dataset.relative(one.path))), dataset.classes[one.class_id], _SKIPPED, "", "", "", one.reason)
        for one in dataset.skipped
    ]
    check_target(path)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    files.write(path, text.getvalue())


def read_split(path: Path, root: Optional[Path] = None) -> Dataset:
    """Read what `write_split` wrote, and see whether the pictures are still there and of the same sizes.

    Args:
        path: of the CSV file.
        root: the folder that its paths begin at; without it the folder that it lies in. Of given parts it is the
            folder that all three lie in.

    Returns:
        The data set; pictures that came later are `unlisted`.

    Raises:
        ConfigError: the file cannot be read or is no split; pictures are missing or changed.
    """
    root = path.parent if root is None else root
    rows = _rows(path)
    classes = tuple(sorted({row["class"] for row in rows}))
    class_ids = {name: class_id for class_id, name in enumerate(classes)}
    pictures, skipped = [], []
    for row in rows:
        place, class_id = root / row["path"], class_ids[row["class"]]
        if row["part"] == _SKIPPED:
            skipped.append(Skipped(place, class_id, row["notes"]))
            continue
        part = next(name for name in PARTS if name == row["part"])
        traits = tuple(row["notes"].split())
        pictures.append(Picture(place, class_id, part, row["sha256"], int(row["bytes"]), row["group"], traits))
    for part in PARTS:
        absent = set(range(len(classes))) - {picture.class_id for picture in pictures if picture.part == part}
        if absent:
            raise ConfigError(
                f"The split {path} has no {part} picture of the class {classes[min(absent)]!r}: make the split anew."
            )
    _check(pictures, path, root)
    return Dataset(root, classes, tuple(pictures), tuple(skipped), _unlisted(rows, root))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise ConfigError(f"{path} is not a split: expected a CSV file with the columns {', '.join(COLUMNS)}.")
            rows = list(reader)
    except OSError as error:
        raise ConfigError(f"Cannot read the split {path}: {error.strerror or error}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a split: expected CSV in UTF-8 ({error}).") from None
    seen = set()
    for number, row in enumerate(rows, start=1):
        wrong = _wrong(row) or (f"the path {row['path']!r} for a second time" if row["path"] in seen else None)
        if wrong:
            raise ConfigError(f"The split {path} has {wrong} in picture {number}: make the split anew.")
        seen.add(row["path"])
    if not rows:
        raise ConfigError(f"The split {path} lists no pictures: make the split anew.")
    return rows


def _wrong(row: dict[str, str]) -> Optional[str]:
    if any(row[column] is None for column in COLUMNS) or None in row:
        return "too few or too many fields"
    place = PurePosixPath(row["path"])
    if place.is_absolute() or ".." in place.parts or not place.name or "\0" in row["path"]:
        return f"the path {row['path']!r}, not one below the data folder,"
    if row["part"] not in (*PARTS, _SKIPPED):
        return f"the part {row['part']!r}, not one of {', '.join(PARTS)} and {_SKIPPED},"
    if row["part"] != _SKIPPED and not (row["bytes"].isascii() and row["bytes"].isdigit()):
        return f"the size {row['bytes']!r}, not a number of bytes,"
    return None


def _check(pictures: list[Picture], path: Path, root: Path) -> None:
    missing = [picture.path for picture in pictures if not picture.path.is_file()]
    if missing:
        raise ConfigError(
            f"{len(missing)} of the {len(pictures)} pictures in {path} are missing below {path_text(root)} "
            f"({path_text(missing[0])} is the first): give the folder that the split was made from, or make it anew."
        )
    changed = [picture.path for picture in pictures if picture.path.stat().st_size != picture.size_bytes]
    if changed:
        raise ConfigError(
            f"{len(changed)} of the {len(pictures)} pictures in {path} changed since it was written "
            f"({path_text(changed[0])} is the first): make the split anew."
        )


def _unlisted(rows: list[dict[str, str]], root: Path) -> tuple[Path, ...]:
    """The pictures below the folders that hold the class folders, as far as no row lists them."""
    listed = {row["path"] for row in rows}
    bases = {_above_class(PurePosixPath(row["path"]), row["class"]) for row in rows if row["part"] != _SKIPPED}
    folders = [folder for base in sorted(bases) for folder in sorted((root / base).iterdir()) if folder.is_dir()]
    found = [path for folder in folders if not folder.name.startswith(".") for path in pictures_below(folder)]
    return tuple(path for path in found if path_text(path.relative_to(root)) not in listed)


def _above_class(path: PurePosixPath, name: str) -> PurePosixPath:
    for folder in [*path.parents][-2::-1]:
        if class_name(Path(folder)) == name:
            return folder.parent
    return path.parent.parent
