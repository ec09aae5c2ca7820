"""Label files: one name a line, `0 name` lines (Coral, Teachable Machine) or `0: name` lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edge.errors import LabelError

BACKGROUND = "background"
_NUMBERED = re.compile(r"(\d{1,9})(?:\s*:\s+|:|\s+)(\S.*)")


def read(path: Path) -> tuple[str, ...]:
    """Names by class index, from a UTF-8 label file.

    Raises:
        LabelError: the file cannot be read, is not text, or skips or repeats an index.
    """
    try:
        return parse(path.read_text("utf-8-sig"), str(path))
    except OSError as error:
        raise LabelError(f"Cannot read the labels {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise LabelError(f"{path} is not a label file: expected UTF-8 text, one class name a line.") from None


def parse(text: str, source: str) -> tuple[str, ...]:
    """Names by class index, from the text of a label file; `source` names it in errors.

    Lines count as numbered when the first one begins with 0 or when all begin with numbers from a run of distinct
    ones; then they may stand in any order but must cover 0 to n-1.
    """
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not lines:
        raise LabelError(f"{source} is empty: expected one class name a line.")
    if "\0" in text:
        raise LabelError(f"{source} is not a label file: expected UTF-8 text, one class name a line.")
    for number, line in enumerate(lines, start=1):
        if not line:
            raise LabelError(
                f"{source} line {number} is empty: expected a class name, as an empty line shifts all after it."
            )
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    if not ((matches[0] and int(matches[0][1]) == 0) or _is_run(matches)):
        return tuple(lines)
    names: dict[int, str] = {}
    for number, (line, match) in enumerate(zip(lines, matches), start=1):
        if match is None:
            raise LabelError(f"{source} line {number} is {line!r}: expected `index name` as on the first line.")
        index = int(match[1])
        if index in names:
            raise LabelError(f"{source} line {number} repeats index {index}: each class must stand once.")
        names[index] = match[2]
    missing = next((index for index in range(len(names)) if index not in names), None)
    if missing is not None:
        raise LabelError(
            f"{source} has no line for index {missing}: indices must cover 0 to {len(names) - 1}; put them before the "
            "names where the numbers are part of the names."
        )
    return tuple(names[index] for index in range(len(names)))


def _is_run(matches: Sequence[re.Match[str] | None]) -> bool:
    indices = [int(match[1]) for match in matches if match]
    distinct = len(indices) == len(matches) and len(set(indices)) == len(indices)
    return distinct and max(indices) - min(indices) == len(indices) - 1


def fit(names: Sequence[str], classes: int, background: bool | None, source: str) -> tuple[tuple[str, ...], int]:
    """Match names to a model's outputs.

    Args:
        names: as read.
        classes: size of the model's output.
        background: True: output 0 is a background class; False: it is not; None: let the names tell.
        source: what to call the names in errors.

    Returns:
        One name for each output, and 1 when output 0 is the background class, else 0.

    Raises:
        LabelError: the counts do not fit.
    """
    named = names[0].lower() == BACKGROUND
    if len(names) == classes:
        if background and not named:
            raise LabelError(
                f"{source} names {classes} classes for {classes} outputs and the first is {names[0]!r}: with "
                f"--background expected {classes - 1} names or a first name {BACKGROUND!r}."
            )
        return tuple(names), int(named and background is not False)
    if len(names) == classes - 1 and not named:
        if background:
            return (BACKGROUND, *names), 1
        raise LabelError(
            f"{source} has {len(names)} names and the model {classes} outputs: if output 0 is a background "
            "class say --background, else give the label file that belongs to this model."
        )
    raise LabelError(
        f"{source} has {len(names)} names and the model {classes} outputs: give the label file that belongs to it."
    )


class ClassNames:
    """Finds classes by what people call them: a folder "great_white_shark" is the label "great white shark, …"."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Take a model's labels, by output index."""
        self._exact: dict[str, set[int]] = {}
        self._whole: dict[str, set[int]] = {}
        self._synonyms: dict[str, set[int]] = {}
        for index, label in enumerate(labels):
            self._exact.setdefault(label, set()).add(index)
            self._whole.setdefault(plain(label), set()).add(index)
            for part in label.split(","):
                self._synonyms.setdefault(plain(part), set()).add(index)

    def find(self, text: str) -> frozenset[int]:
        """The classes whose label is `text`; else, case, `_` and `-` aside, whose whole label or else a synonym is."""
        name = plain(text)
        return frozenset(self._exact.get(text) or self._whole.get(name) or self._synonyms.get(name) or ())


def plain(text: str) -> str:
    """A name without case, `_`, `-` and superfluous spaces: equal names are meant to be the same."""
    return " ".join(re.sub(r"[_-]", " ", text).casefold().split())
