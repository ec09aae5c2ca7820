"""What people say of kept pictures: which wait, what they show, and how often the model was right. For one thread."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Optional

import msgspec
from msgspec import Meta

from edge.journal import pictures_folder, schema
from edge.report.accuracy.accuracy import Names
from edge.report.rows import Model
from edge.review import counts, store
from edge.review.album import SUFFIX, is_of
from edge.truth.live import label_of
from edge.web.accuracy import reviewed
from edge.web.messages import RefusedError

MOST_AT_ONCE = 100
SAID_BY = "page"
_LARGEST_BYTES = 50_000_000
_LARGEST = 2**63 - 1  # in SQLite

Id = Annotated[int, Meta(ge=1, le=_LARGEST)]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says that a picture shows: exactly one of the last three."""

    id: Id
    file: Annotated[str, Meta(max_length=300)]
    """As it was told with the picture: in a journal that has taken this one's place, the id is that of another."""
    choice: Optional[Annotated[int, Meta(ge=0, le=4)]] = None
    """One of the model's answers, the best first."""
    other: Optional[Annotated[str, Meta(max_length=200)]] = None
    """A class by any of its names."""
    none: bool = False
    """Nothing that a class names."""


class Undo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which label was a slip."""

    label_id: Annotated[str, Meta(pattern=r"^[0-9]{1,19}-[0-9]{1,19}\Z")]
    """As it was told with the label."""


class Labelling:
    """The pictures of one journal, which is opened for each request and held no longer: others write it too.

    What reads is for one thread, and what writes, `label` and `undo`, may be for another one.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self.path = path
        self._folder = pictures_folder(path)
        self._names: Optional[Names] = None
        self._accuracy: tuple[object, dict[str, Any]] = (None, {})

    def next(self, count: int) -> dict[str, Any]:
        """Some pictures that wait for a label, in random order: whatever was labelled is then a random sample.

        Raises:
            JournalError: the journal cannot be read.
        """
        with contextlib.closing(schema.connect_to_read(self.path)) as connection:
            waiting = counts.waiting(connection)
            ids = random.sample(waiting, len(waiting))
            found: list[store.Picture] = []
            while ids and len(found) < count:
                some, ids = set(ids[:count]), ids[count:]
                found += [each for each in store.pictures(connection, tuple(some)) if self._has(each)]
            labelled = counts.count_labelled(connection)
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

    def labels(self, model_id: int) -> tuple[str, ...]:
        """A model's class names.

        Raises:
            JournalError: the journal cannot be read.
            RefusedError: there is no such model.
        """
        with contextlib.closing(schema.connect_to_read(self.path)) as connection:
            labels = store.labels_of(connection, model_id) if model_id <= _LARGEST else ()
        if not labels:
            raise RefusedError(404, f"The journal knows no model {model_id}.")
        return labels

    def label(self, answer: Answer, wait_s: float) -> dict[str, Any]:
        """Say what a picture shows; whoever says it again, as he had no answer, is told the same.

        Args:
            answer: what is said.
            wait_s: so long others are waited for that write the journal.

        Raises:
            JournalError: the journal cannot be written.
            LabelError: no class is called so.
            RefusedError: there is no such picture, or not exactly one thing was said.
        """
        if (answer.choice is not None) + (answer.other is not None) + answer.none != 1:
            raise RefusedError(400, 'Not exactly one thing was said: expected "choice", "other" or "none".')
        with contextlib.closing(store.open_to_label(self.path, wait_s)) as connection:
            picture = _found(connection, answer.id)
            if not _is(picture, answer.file):
                raise RefusedError(
                    409,
                    f"Picture {answer.id} is not the one that was shown, as the journal is another: nothing is said.",
                )
            truth = _truth(connection, picture, answer)
            frame = picture.run_id, picture.sequence
            said = store.newest(connection, *frame, truth, SAID_BY)
            said = said or store.label(connection, *frame, truth, SAID_BY)
            return {"label_id": f"{said.id}-{said.utc_ns}", "truth": truth, **_counts(connection)}

    def undo(self, slip: Undo, wait_s: float) -> dict[str, Any]:
        """Take back what was said here.

        Args:
            slip: what `label` told.
            wait_s: so long others are waited for that write the journal.

        Raises:
            JournalError: the journal cannot be written.
            RefusedError: the journal has no such label, or not any more.
        """
        said = store.Said(*map(int, slip.label_id.split("-")))
        with contextlib.closing(store.open_to_label(self.path, wait_s)) as connection:
            if max(said) > _LARGEST or not store.unsay(connection, said):
                raise RefusedError(409, "This label is undone already, or was said in another journal.")
            return {"label_id": slip.label_id, **_counts(connection)}

    def accuracy(self, run: str) -> dict[str, Any]:
        """See `edge.web.accuracy.reviewed`; of the model of a run. Counted anew only where something was said since.

        Raises:
            JournalError: the journal cannot be read.
        """
        with contextlib.closing(schema.connect_to_read(self.path)) as connection:
            model_id = store.model_of(connection, run)
            key = (model_id, counts.version(connection))
            if key != self._accuracy[0]:
                self._accuracy = key, {} if model_id is None else self._reviewed(connection, model_id)
            return self._accuracy[1]

    def _reviewed(self, connection: sqlite3.Connection, model_id: int) -> dict[str, Any]:
        # By their names, as the id may be that of another model in a journal that has taken this one's place.
        labels = store.labels_of(connection, model_id)
        if self._names is None or self._names.model != Model(model_id, "", "", labels):
            self._names = Names(Model(model_id, "", "", labels))
        return reviewed(connection, self._names)

    def _has(self, picture: store.Picture) -> bool:
        try:
            return stat.S_ISREG((self._folder / picture.file).stat().st_mode)
        except PermissionError as error:
            raise RefusedError(503, f"The kept pictures in {self._folder} cannot be read: {error.strerror}.") from None
        except (OSError, ValueError):  # it is gone, or its name is none
            return False


def _found(connection: sqlite3.Connection, picture_id: int) -> store.Picture:
    found = store.pictures(connection, [picture_id])
    if not found:
        raise RefusedError(404, f"There is no picture {picture_id}.")
    return found[0]


def _is(picture: store.Picture, file: str) -> bool:
    """Whether a picture is the one with a file, also when that was deleted meanwhile to make room."""
    return file == picture.file if picture.file else is_of(file, picture.run, picture.sequence)


def _truth(connection: sqlite3.Connection, picture: store.Picture, answer: Answer) -> str:
    if answer.other is not None:
        return label_of(answer.other, store.labels_of(connection, picture.model_id))
    if answer.choice is None:
        return store.NO_CLASS
    if answer.choice >= len(picture.predictions):
        raise RefusedError(400, f"The model gave only {len(picture.predictions)} answers to this picture.")
    return picture.predictions[answer.choice].label


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    return {"waiting": len(counts.waiting(connection)), "labelled": counts.count_labelled(connection)}


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
        "file": picture.file,
        "utc": utc,
        "stratum": picture.stratum,
        "predictions": [{"label": each.label, "score": round(each.score, 4)} for each in picture.predictions],
        "truth": picture.truth,
        "model_id": picture.model_id,
    }
