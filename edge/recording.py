"""A run in the field: its journal, pictures for review, and who asks over the socket."""

from __future__ import annotations

import contextlib
import logging
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import msgspec

from edge import __version__
from edge.control.server import Answers, Control
from edge.errors import AlreadyRunningError, ControlError
from edge.journal import journal_path, pictures_folder, socket_path
from edge.journal.ledger import RunFacts
from edge.journal.sink import Journal
from edge.overview import Overview
from edge.privacy import without_passwords
from edge.records import Frame, Record
from edge.review.sampler import Sampler

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.config import Config


def _begins(_: dict[str, Any]) -> object:
    raise ControlError("The daemon begins a run: try again in a moment.")


_BEGINNING: Answers = {"status": _begins, "truth": _begins, "reload": _begins}
_LISTEN_EVERY_S = 10.0
_PACKAGES = ("numpy", "opencv-python-headless", "msgspec")


class Heritage(NamedTuple):
    """What outlives a run when another one follows it."""

    control: Optional[Control]
    journal: Journal
    """Of a run that is told to end, and may still be written."""


class Recording:
    """Records a run from its beginning to `close`; a sink of the daemon's loop, which shows it the frames too."""

    def __init__(
        self,
        config: Config,
        classifier: Classifier,
        overview: Overview,
        opened_ns: int,
        heritage: Optional[Heritage] = None,
        answers: Optional[Answers] = None,
    ) -> None:
        """Begin, before the overview does.

        Args:
            config: with a journal's path.
            classifier: what runs.
            overview: of the run; what it is told of truth and board is recorded.
            opened_ns: how long opening the model took.
            heritage: of the run before this one, in the same process and journal.
            answers: what else can be asked over the socket.

        Raises:
            JournalError: the journal's path cannot be one.
            AlreadyRunningError: another daemon records to this journal.
        """
        facts = RunFacts(
            run=overview.run,
            ran=overview.ran,
            labels=overview.labels,
            camera=overview.camera,
            configuration=_without_passwords(msgspec.to_builtins(config)),
            board=overview.board.as_json(),
            versions=_versions(),
            opened_ns=opened_ns,
            first_invoke_ns=classifier.first_invoke_ns,
        )
        self._review = config.review
        self._kept_pictures = 0
        self.closed = False
        """The journal is whole."""
        path = journal_path(config.journal)
        self._control = heritage.control if heritage else _control(path)
        self._answers = {**(answers or {}), "status": lambda _: overview.status(), "truth": overview.answer_truth}
        try:
            self.journal = journal = Journal(config.journal, facts, after=heritage.journal if heritage else None)
        except BaseException:
            if self._control:
                self._control.close()
            raise
        overview.on_truth.append(self._on_truth)
        overview.on_reading.append(journal.reading)
        overview.told_by.append(self._told)
        self._sampler = Sampler(
            pictures_folder(journal.path),
            config.review,
            config.privacy,
            self._on_picture,
            on_delete=journal.forget,
            on_trouble=lambda sentence: journal.event("pictures not kept", why=sentence),
        )
        self._listen_due_s = time.monotonic() + _LISTEN_EVERY_S

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        self.journal.write(record)

    def see(self, frame: Frame, record: Record) -> None:
        """Show a frame to the sampler of pictures."""
        self._sampler.see(frame, record)

    def answer(self) -> None:
        """Answer who asks over the socket; the overview has begun."""
        if self._control:
            self._control.answer_by(self._answers)

    def listen(self) -> None:
        """Try again, now and then, to be asked and told where that was not possible at the start."""
        now_s = time.monotonic()
        if self._control is not None or self.closed or now_s < self._listen_due_s:
            return
        self._listen_due_s = now_s + _LISTEN_EVERY_S
        with contextlib.suppress(ControlError):
            self._control = Control(socket_path(self.journal.path), self._answers)

    def hand_over(self, because: str) -> Heritage:
        """End the run, but leave what must outlive it to the next one, which need not wait for a slow card."""
        control, self._control = self._control, None
        if control:
            control.answer_by(_BEGINNING)
        self._sampler.close()
        self.journal.end(because)
        return Heritage(control, self.journal)

    def close(self, because: str = "end") -> None:
        """End the run; what was taken in is written."""
        if not self.closed:
            self._sampler.close()
            self.journal.close(because)
            self.closed = True
        if self._control:  # loses nothing when the end is cut short
            self._control.close()

    def _on_picture(self, record: Record, stratum: str, stands_for: float, file: str) -> None:
        self._kept_pictures += 1
        self.journal.picture(record, stratum, stands_for, file)

    def _told(self) -> dict[str, Any]:
        """What belongs to the overview's status."""
        return {"journal": msgspec.to_builtins(self.journal.status()), "pictures": self._pictures()}

    def _pictures(self) -> Optional[dict[str, Any]]:
        if not self._review.keep_pictures:
            return None
        return {
            "folder": str(pictures_folder(self.journal.path)),
            "kept": self._kept_pictures,
            "trouble": self._sampler.trouble,
        }

    def _on_truth(self, name: Optional[str], by: str) -> None:
        if name is None:
            self.journal.event("truth cleared", by=by)
        else:
            self.journal.event("truth set", truth=name, by=by)


def _control(path: Path) -> Optional[Control]:
    """The socket, before anything is recorded; a folder that cannot hold one is no reason not to classify."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Control(socket_path(path), _BEGINNING)
    except AlreadyRunningError:
        raise
    except ControlError as error:
        logging.getLogger(__name__).warning("%s The daemon cannot be asked or told anything until it can.", error)
        return None


def _versions() -> dict[str, str]:
    found = {"edge-runner": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # from the system's packages, under another name
            found[name] = version(name)
    return found


def _without_passwords(value: Any) -> Any:
    """A copy without what stands before the @ of addresses."""
    if isinstance(value, dict):
        return {name: _without_passwords(each) for name, each in value.items()}
    return without_passwords(value) if isinstance(value, str) else value
