"""What people say of kept pictures: which wait, what they show, and how often the model was right. For one thread."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
from msgspec import Meta

from edge.journal import pictures_folder, schema
from edge.report.accuracy.accuracy import Names
from edge.review import store
from edge.review.album import SUFFIX
from edge.truth.live import label_of
from edge.web.accuracy import names_of, reviewed
from edge.web.messages import RefusedError

MOST_AT_ONCE = 100
SAID_BY = "page"
_REMEMBERED = 1_000
_LARGEST_BYTES = 50_000_000
_LARGEST_ID = 2**63 - 1  # in SQLite

Id = Annotated[int, Meta(ge=1, le=_LARGEST_ID)]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says that a picture shows: exactly one of the last three."""

    id: Id
    choice: Optional[Annotated[int, Meta(ge=0, le=4)]] = None
    """One of the model's answers, the best first."""
    other: Optional[Annotated[str, Meta(max_length=200)]] = None
    """A class by any of its names."""
    none: bool = False
    """Nothing that a class names."""


class Undo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which label was a slip."""

    label_id: Id


class Labelling:
    """The pictures of one journal, which is opened for each request and held no longer: others write it too."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self.path = path
        self._folder = pictures_folder(path)
        self._said: deque[int] = deque(maxlen=_REMEMBERED)
        self._names: Optional[Names] = None
        self._accuracy: tuple[object, dict[str, Any]] = (None, {})

    def next(self, count: int) -> dict[str, Any]:
        """Some pictures that wait for a label, in random order: whatever was labelled is then a random sample.

        Raises:
            JournalError: the journal cannot be read.
        """
        with contextlib.closing(schema.connect_to_read(self.path)) as connection:
            waiting = store.waiting(connection)
            ids = random.sample(waiting, len(waiting))
            found: list[store.Picture] = []
            while ids and len(found) < count:
                some, ids = set(ids[:count]), ids[count:]
                found += [each for each in store.pictures(connection, tuple(some)) if self._has(each)]
            labelled = store.count_labelled(connection)
        random.shuffle(found)
        return {"pictures": [_told(each) for each in found[:count]], "waiting": len(waiting), "labelled": labelled}

    def picture(self, picture_id: int) -> bytes:
        """A picture's JPEG file.

        Raises:
            JournalError: the journal cannot be read.
            RefusedError: there is no such picture, or not any more.
        """
        with contextlib.closing(schema.connect_to_read(self.path)) as connection:
            file = _found(connection, picture_id).file
        try:
            return _read(self._folder, file)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise RefusedError(404, f"Picture {picture_id} cannot be shown: {why}.") from None

    def label(self, answer: Answer) -> dict[str, Any]:
        """Say what a picture shows.

        Raises:
            JournalError: the journal cannot be written.
            LabelError: no class is called so.
            RefusedError: there is no such picture, or not exactly one thing was said.
        """
        if (answer.choice is not None) + (answer.other is not None) + answer.none != 1:
            raise RefusedError(400, 'Not exactly one thing was said: expected "choice", "other" or "none".')
        with contextlib.closing(store.open_to_label(self.path)) as connection:
            picture = _found(connection, answer.id)
            truth = store.NO_CLASS
            if answer.other is not None:
                truth = label_of(answer.other, store.labels_of(connection, picture.model_id))
            elif answer.choice is not None:
                if answer.choice >= len(picture.predictions):
                    raise RefusedError(400, f"The model gave only {len(picture.predictions)} answers to this picture.")
                truth = picture.predictions[answer.choice].label
            label_id = store.label(connection, picture.run_id, picture.sequence, truth, SAID_BY)
        self._said.append(label_id)
        return {"label_id": label_id, "truth": truth}

    def undo(self, slip: Undo) -> dict[str, Any]:
        """Take back what was said here.

        Raises:
            JournalError: the journal cannot be written.
            RefusedError: it was not said here, or not since this program began.
        """
        if slip.label_id not in self._said:
            raise RefusedError(409, f"Label {slip.label_id} was not given on this page, or is undone already.")
        with contextlib.closing(store.open_to_label(self.path)) as connection:
            store.unsay(connection, slip.label_id)
        self._said.remove(slip.label_id)
        return {"label_id": slip.label_id}

    def accuracy(self, run: str) -> dict[str, Any]:
        """See `edge.web.accuracy.reviewed`; of the model of a run. Counted anew only where something was said since.

        Raises:
            JournalError: the journal cannot be read.
        """
        with contextlib.closing(schema.connect_to_read(self.path)) as connection:
            model_id = store.model_of(connection, run)
            key = (model_id, store.version(connection))
            if key != self._accuracy[0]:
                self._accuracy = key, {} if model_id is None else self._reviewed(connection, model_id)
            return self._accuracy[1]

    def _reviewed(self, connection: sqlite3.Connection, model_id: int) -> dict[str, Any]:
        if self._names is None or self._names.model.id != model_id:
            self._names = names_of(connection, model_id)
        return reviewed(connection, self._names)

    def _has(self, picture: store.Picture) -> bool:
        return (self._folder / picture.file).is_file()


def _found(connection: sqlite3.Connection, picture_id: int) -> store.Picture:
    found = store.pictures(connection, [picture_id])
    if not found:
        raise RefusedError(404, f"There is no picture {picture_id}.")
    return found[0]


def _read(folder: Path, name: str) -> bytes:
    """A file that lies in the folder itself; what the journal names, a damaged or foreign one may have made up."""
    if not name:
        raise ValueError("it was deleted to make room")
    if name != os.path.basename(name) or not name.endswith(SUFFIX) or "\0" in name:
        raise ValueError("its name is not that of a kept picture")
    descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        is_one = stat.S_ISREG(os.fstat(descriptor).st_mode)
        content = file.read(_LARGEST_BYTES + 1) if is_one else b""
    if not content.startswith(b"\xff\xd8") or len(content) > _LARGEST_BYTES:
        raise ValueError("its file is no JPEG file")
    return content


def _told(picture: store.Picture) -> dict[str, Any]:
    utc = picture.utc_ns and datetime.fromtimestamp(picture.utc_ns / 1e9, timezone.utc).isoformat(timespec="seconds")
    return {
        "id": picture.id,
        "utc": utc,
        "stratum": picture.stratum,
        "predictions": [{"label": each.label, "score": round(each.score, 4)} for each in picture.predictions],
        "truth": picture.truth,
        "model_id": picture.model_id,
    }
