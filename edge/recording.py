"""A run in the field: its journal, the board's readings, what is true now, pictures for review, and who asks."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

import msgspec

from edge import __version__, device
from edge.control.server import Answers, Control
from edge.errors import AlreadyRunningError, ControlError
from edge.journal import journal_path, pictures_folder, socket_path
from edge.journal.ledger import RunFacts
from edge.journal.sink import Journal
from edge.privacy import without_passwords
from edge.records import Frame, Record
from edge.review.sampler import Sampler
from edge.stats import Window
from edge.truth.live import Said, Truth

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
    said: Optional[Said]
    journal: Journal
    """Of a run that is told to end, and may still be written."""


class Recording:
    """Records a run from its beginning to `close`; a sink and a watch of the daemon's loop."""

    def __init__(
        self,
        config: Config,
        classifier: Classifier,
        camera: str,
        opened_ns: int,
        heritage: Optional[Heritage] = None,
        answers: Optional[Answers] = None,
        more: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Begin.

        Args:
            config: with a journal's path.
            classifier: what runs.
            camera: as a person would call it.
            opened_ns: how long opening the model took.
            heritage: of the run before this one, in the same process and journal.
            answers: what else can be asked over the socket.
            more: what else `status` tells.

        Raises:
            JournalError: the journal's path cannot be one.
            AlreadyRunningError: another daemon records to this journal.
        """
        facts = RunFacts(
            run=classifier.run,
            ran=classifier.ran,
            labels=tuple(classifier.bundle.labels),
            camera=_without_passwords(camera),
            configuration=_without_passwords(msgspec.to_builtins(config)),
            board=device.read().as_json(),
            versions=_versions(),
            opened_ns=opened_ns,
            first_invoke_ns=classifier.first_invoke_ns,
        )
        self._facts = facts
        self._began_ns = time.monotonic_ns()
        self._window = Window()
        self._newest: Optional[Record] = None
        self._dropped = self._unchanged = 0
        self._truth = Truth(facts.labels, self._on_truth)
        self._camera_knows = False
        self._review = config.review
        self._kept_pictures = 0
        self.closed = False
        """The journal is whole."""
        path = journal_path(config.journal)
        self._control = heritage.control if heritage else _control(path)
        self._more = more
        self._answers = {**(answers or {}), "status": self._answer_status, "truth": self._answer_truth}
        try:
            self.journal = journal = Journal(config.journal, facts, after=heritage.journal if heritage else None)
        except BaseException:
            if self._control:
                self._control.close()
            raise
        self._truth.take_over(heritage.said if heritage else None)
        self._monitor = device.Monitor(on_reading=journal.reading)
        self._sampler = Sampler(
            pictures_folder(journal.path),
            config.review,
            config.privacy,
            self._on_picture,
            on_delete=journal.forget,
            on_trouble=lambda sentence: journal.event("pictures not kept", why=sentence),
        )
        self._listen_due_s = time.monotonic() + _LISTEN_EVERY_S
        if self._control:
            self._control.answer_by(self._answers)

    @property
    def truth(self) -> Optional[str]:
        return self._truth.current

    @property
    def throttled(self) -> Optional[int]:
        return self._monitor.latest.throttled

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        self.journal.write(record)
        self._window.add(record.timings, record.backend)
        self._dropped += record.dropped
        self._unchanged += record.unchanged
        self._newest = record

    def see(self, frame: Frame, record: Record) -> None:
        """Show a frame to the sampler of pictures."""
        self._camera_knows = frame.label is not None
        self._sampler.see(frame, record)

    def status(self) -> dict[str, Any]:
        """How it goes: for `edge status` and for other outlets."""
        seconds = (time.monotonic_ns() - self._began_ns) / 1e9
        newest, frames = self._newest, self._window.added
        since = datetime.now(timezone.utc) - timedelta(seconds=seconds)
        return {
            "run": self._facts.run,
            "since_utc": since.isoformat(timespec="seconds"),
            "running_s": round(seconds, 1),
            **msgspec.to_builtins(self._facts.ran),
            **({} if newest is None else {"backend": newest.backend}),
            "camera": self._facts.camera,
            "frames": frames,
            "fps": round(frames / seconds, 2) if seconds else None,
            "dropped": self._dropped,
            "unchanged": self._unchanged,
            "truth": self.truth if newest is None else newest.truth,
            "newest": None if newest is None else {"utc": newest.utc, "predictions": _told(newest)},
            "latency": {name: {"p50_ms": live.p50, "p90_ms": live.p90} for name, live in self._window.live().items()},
            "journal": msgspec.to_builtins(self.journal.status()),
            "pictures": self._pictures(),
            "board": _known(self._monitor.latest),
            **self._more(),
        }

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
        self._monitor.close()
        return Heritage(control, self._truth.said, self.journal)

    def close(self, because: str = "end") -> None:
        """End the run; what was taken in is written."""
        if not self.closed:
            self._sampler.close()
            self.journal.close(because)
            self.closed = True
            self._monitor.close()
        if self._control:  # loses nothing when the end is cut short
            self._control.close()

    def _answer_status(self, _: dict[str, Any]) -> dict[str, Any]:
        return self.status()

    def _answer_truth(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._truth.answer(request)
        if self._camera_knows:
            answer["note"] = "the camera tells the truth of its frames itself, and that comes first"
        return answer

    def _on_picture(self, record: Record, stratum: str, stands_for: float, file: str) -> None:
        self._kept_pictures += 1
        self.journal.picture(record, stratum, stands_for, file)

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


def _known(live: device.Live) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(live).items() if name != "monotonic_ns"}


def _told(record: Record) -> list[dict[str, Any]]:
    return [{"label": each.label, "score": round(each.score, 4)} for each in record.predictions]


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
