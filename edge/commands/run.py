"""The subcommand `edge run`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from edge.commands import (
    Finite,
    config_option,
    configured,
    journal_option,
    json_option,
    model_options,
    problems,
    set_option,
)
from edge.errors import AcceleratorError, EdgeError, JournalError

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.loop.daemon import Totals
    from edge.service.parts import Begun
    from edge.sinks import Sink

SLOWEST_FPS = 0.0001  # one frame in almost three hours
EX_CONFIG = 78
"""Of sysexits.h: what no restart can mend."""


@click.command()
@config_option
@set_option
@click.option("--camera", help="auto, camera, picamera, scene, a device, a video, an address or a folder. [auto]")
@click.option("--frames", type=click.IntRange(1), help="End after so many frames.")
@click.option("--seconds", type=Finite(min=0, min_open=True), help="End after so long.")
@click.option("--fps", type=Finite(min=SLOWEST_FPS), help="Classify at most so many frames a second.")
@click.option("--top", type=click.IntRange(1), help="Predictions in each record. [5]")
@click.option("--loop/--no-loop", default=None, help="Start a video or folder again when it ends.")
@click.option("--realtime/--no-realtime", default=None, help="Play a video at its own rate, as a live camera would.")
@click.option("--isp-resize/--no-isp-resize", default=None, help="Let the Pi's image processor resize (picamera).")
@click.option("--service", is_flag=True, help="As systemd runs it: wait for the camera, log, reload on SIGHUP.")
@journal_option
@model_options
@json_option
def run(
    config_path: Optional[Path],
    frames: Optional[int],
    seconds: Optional[float],
    service: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Classify live frames until Ctrl-C, a limit, or the end of the source."""
    import logging

    from edge.signals import caught

    if frames and seconds:
        raise click.UsageError("--frames and --seconds exclude each other.")
    logging.basicConfig()
    if service:
        _log_to_systemd()
    else:
        _log_to_terminal()

    with caught(hang_up=service) as signals:
        # Also a start that takes long or is stuck can be ended.
        signals.overdue = lambda: _tell_at_once("0 frames.")
        from edge.service import Service

        output = _Log() if service else _Terminal(as_json)
        try:
            runner = Service(
                lambda: configured(config_path, options), signals, output, (frames, seconds), waits=service
            )
            output.totals = runner.totals
            runner.open()
        except EdgeError as error:
            if not service:
                raise
            return _failed(error, mendable=_may_pass(error))
        try:
            runner.run()
        except EdgeError as error:
            if not service:
                raise
            # A journal that cannot be one is another program's file, or a newer version's.
            return _failed(error, mendable=not isinstance(error, JournalError))
        output.ended()
    return 0


def _failed(error: EdgeError, mendable: bool) -> int:
    """Tell systemd's log why the service ends; the exit code.

    Args:
        error: why.
        mendable: another start may succeed with what is configured.
    """
    import logging

    for sentence in problems(error):
        logging.getLogger(__name__).error("%s", sentence)
    return 1 if mendable else EX_CONFIG


def _may_pass(error: EdgeError) -> bool:
    """Whether a file is not there or cannot be read, as on a late disk, or an accelerator, or memory was short."""
    cause: Optional[BaseException] = error
    while cause and not isinstance(cause, (OSError, MemoryError, AcceleratorError)):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


class _Output:
    """What the terminal and the log have in common."""

    def __init__(self) -> None:
        self.totals: Optional[Totals] = None
        self.wants_board = False

    def abandoned(self, unwritten: bool) -> None:
        lost = " The journal was not closed in time: what came since its last batch is lost." if unwritten else ""
        _tell_at_once(f"{_summary(self.totals)}{lost}")


class _Log(_Output):
    """Records go to the journal only; the rest is for systemd's log."""

    def began(self, run: Begun) -> Sequence[Sink]:
        import logging

        log = logging.getLogger(__name__)
        model, journal = run.model, run.config.journal.path
        log.info("Run %s: %s, %s, journal %s.", model.run, run.camera, _describe(model), journal)
        if model.bundle.choice:
            log.info("%s", model.bundle.choice)
        for name, outlet in run.outlets.items():
            log.info("%s: %s", name, outlet.where)
        return ()

    def ended(self) -> None:
        import logging

        logging.getLogger(__name__).info("%s", _summary(self.totals))


class _Terminal(_Output):
    """A line a second for a person, or a JSON line for each frame."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = self.wants_board = as_json

    def began(self, run: Begun) -> Sequence[Sink]:
        from edge import sinks
        from edge.journal import pictures_folder

        config, model, recording = run.config, run.model, run.recording
        self._say(f"camera: {run.camera}")
        self._say(f"model:  {_describe(model)}")
        if model.bundle.choice:
            self._say(f"        {model.bundle.choice}")
        if recording:
            status = recording.journal.status()
            trouble = f" (not recording: {status.why})" if status.why else ""
            self._say(f"journal: {status.path}{trouble}")
            if config.review.keep_pictures:
                masked = ", parts of them black" if config.privacy.mask else ""
                self._say(f"pictures for review: {pictures_folder(recording.journal.path)}{masked}")
        for name, outlet in run.outlets.items():
            self._say(f"{name}: {outlet.where}")
        return [sinks.JsonLines(sys.stdout, config.model.top) if self._as_json else sinks.Lines(sys.stdout)]

    def ended(self) -> None:
        self._say(_summary(self.totals))

    def _say(self, line: str) -> None:
        click.echo(line, err=self._as_json)


def _log_to_terminal() -> None:
    """Show warnings, and the end of what they warned of."""
    import logging

    from edge.notify import NOTICE

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return ("Warning: " if record.levelno >= logging.WARNING else "") + super().format(record)

    for handler in logging.getLogger().handlers:
        handler.setFormatter(Lines("%(message)s"))
    logging.getLogger("edge").setLevel(NOTICE)


def _log_to_systemd() -> None:
    """Have each line say how grave it is, as sd-daemon(3) has it; and a killed process where it was stuck."""
    import faulthandler
    import logging

    from edge.notify import NOTICE

    grave = {logging.ERROR: 3, logging.WARNING: 4, NOTICE: 5, logging.INFO: 6}

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = grave.get(record.levelno, 7)
            return "\n".join(f"<{level}>{line}" for line in super().format(record).splitlines())

    for descriptor in range(3):  # the number of one that is closed would go to a socket, into which libraries write
        try:
            os.fstat(descriptor)
        except OSError:  # noqa: PERF203 - three times
            os.open(os.devnull, os.O_RDWR)
    with contextlib.suppress(RuntimeError, ValueError, OSError):  # no stderr
        faulthandler.enable()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Lines("%(message)s"))
    logging.getLogger("edge").setLevel(logging.INFO)
    logging.raiseExceptions = False  # a log that is gone must not end anything


def _tell_at_once(line: str) -> None:
    os.set_blocking(sys.stderr.fileno(), False)  # it may be the very pipe that nobody reads
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())


def _describe(classifier: Classifier) -> str:
    from edge.records import in_words
    from edge.runtimes import ConcurrentRuntime

    given, runtime = classifier.input, classifier.runtime
    how = f"{runtime.backend}, {in_words(runtime.threads)}"
    if isinstance(runtime, ConcurrentRuntime):
        how = f"{runtime.backend}, {' and '.join(runtime.devices)}"
        how = f"for now the cpu in place of {how}" if runtime.lost else how
    return (
        f"{classifier.bundle.name}, {given.width_px}x{given.height_px} {given.dtype}, on {runtime.name} "
        f"{runtime.version} ({how})"
    )


def _summary(totals: Optional[Totals]) -> str:
    if totals is None:
        return "0 frames."
    rate = totals.frames / totals.seconds if totals.seconds else 0.0
    frames = "1 frame" if totals.frames == 1 else f"{totals.frames} frames"
    text = f"{frames} in {totals.seconds:.1f} s ({rate:.1f} fps), {totals.dropped} not classified"
    if totals.unserved:
        text += f" ({totals.unserved} of them as no accelerator worked)"
    if set(totals.answered_by) - {"cpu"} or len(totals.answered_by) > 1:
        text += "; answered by " + ", ".join(f"{name}: {count}" for name, count in totals.answered_by.most_common())
    if totals.unchanged:
        text += f", {totals.unchanged} unchanged"
    if totals.with_truth:
        text += f"; truth known for {totals.with_truth}, top-1 right in {totals.right}"
    if totals.unknown_truth:
        text += f"; {totals.unknown_truth} with a truth that is no class of the model"
    return text + "."
