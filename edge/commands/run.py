"""The subcommand `edge run`."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from edge.commands import Finite, configured, journal_option, json_option, model_options, opened
from edge.errors import CameraError, ConfigError

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.config import Config
    from edge.recording import Recording

SLOWEST_FPS = 0.0001  # one frame in almost three hours


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="FILE", help="Configuration (YAML).")
@click.option("--camera", help="auto, picamera, scene, a device, a video, an address or a folder. [auto]")
@click.option("--frames", type=click.IntRange(1), help="End after so many frames.")
@click.option("--seconds", type=Finite(min=0, min_open=True), help="End after so long.")
@click.option("--fps", type=Finite(min=SLOWEST_FPS), help="Classify at most so many frames a second.")
@click.option("--top", type=click.IntRange(1), help="Predictions in each record. [5]")
@click.option("--loop/--no-loop", default=None, help="Start a video or folder again when it ends.")
@click.option("--realtime/--no-realtime", default=None, help="Play a video at its own rate, as a live camera would.")
@click.option("--isp-resize/--no-isp-resize", default=None, help="Let the Pi's image processor resize (picamera).")
@journal_option
@model_options
@json_option
def run(
    config_path: Optional[Path], frames: Optional[int], seconds: Optional[float], as_json: bool, **options: Any
) -> None:
    """Classify live frames until Ctrl-C, a limit, or the end of the source."""
    from edge.signals import stop_on_signals

    if frames and seconds:
        raise click.UsageError("--frames and --seconds exclude each other.")
    summary: list[Callable[[], str]] = [lambda: "0 frames."]

    def overdue() -> None:
        os.set_blocking(sys.stderr.fileno(), False)  # it may be the very pipe that nobody reads
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), f"{summary[0]()}\n".encode())

    with stop_on_signals(overdue) as stop:
        _run(configured(config_path, options), (frames, seconds), as_json, stop, summary)


def _run(
    config: Config,
    limits: tuple[Optional[int], Optional[float]],
    as_json: bool,
    stop: threading.Event,
    summary: list[Callable[[], str]],
) -> None:
    import logging

    from edge import daemon, sinks
    from edge.cameras import open_camera
    from edge.tensors import native_size_px

    logging.basicConfig(format="Warning: %(message)s")
    totals = daemon.Totals()
    recorded = config.journal.path is not None
    if config.review.keep_pictures and not recorded:
        raise ConfigError("review.keep_pictures is on, and there is no journal to keep pictures for: give --journal.")
    summary[0] = lambda: _summary(totals)
    with contextlib.ExitStack() as stack:
        began_ns = time.monotonic_ns()
        # The journal tells top-5 accuracy, however few predictions are printed.
        classifier = stack.enter_context(opened(config, max(5, config.model.top) if recorded else config.model.top))
        opened_ns = time.monotonic_ns() - began_ns
        camera = open_camera(config.camera, native_size_px(classifier.input))
        stack.callback(camera.close)
        click.echo(f"camera: {camera.name}", err=as_json)
        click.echo(f"model:  {_describe(classifier)}", err=as_json)
        sink: sinks.Sink = sinks.JsonLines(sys.stdout, config.model.top) if as_json else sinks.Lines(sys.stdout)
        recording = None
        if recorded:
            recording = stack.enter_context(_recorded(config, classifier, camera.name, opened_ns, as_json))
            summary[0] = lambda: _summary(totals) + _unwritten(recording)
        watch = recording or (stack.enter_context(contextlib.closing(_Board())) if as_json else None)
        daemon.run(
            camera,
            classifier,
            [recording, sink] if recording else [sink],
            daemon.Limits(*limits, config.fps),
            stop,
            totals,
            watch,
            keep_pixels=recorded and config.review.keep_pictures,
        )
        if recording:
            recording.close("asked to stop" if stop.is_set() else "end of the source" if camera.ended else "limit")
        sink.close()
        click.echo(_summary(totals), err=as_json)


@contextlib.contextmanager
def _recorded(
    config: Config, classifier: Classifier, camera: str, opened_ns: int, as_json: bool
) -> Iterator[Recording]:
    """A recording that is told what went wrong, whatever did."""
    from edge.journal import pictures_folder
    from edge.recording import Recording

    recording = Recording(config, classifier, camera, opened_ns)
    try:
        status = recording.journal.status()
        trouble = f" (not recording: {status.why})" if status.why else ""
        click.echo(f"journal: {status.path}{trouble}", err=as_json)
        if config.review.keep_pictures:
            masked = ", parts of them black" if config.privacy.mask else ""
            click.echo(f"pictures for review: {pictures_folder(recording.journal.path)}{masked}", err=as_json)
        yield recording
    except CameraError as error:
        recording.journal.event("camera lost", why=str(error))
        recording.close(str(error))
        raise
    except BaseException as error:
        recording.close(str(error) or type(error).__name__)
        raise


def _unwritten(recording: Optional[Recording]) -> str:
    if recording is None or recording.closed:
        return ""
    return " The journal was not closed in time: what came since its last batch is lost."


class _Board:
    """Tells the throttling bits where no journal is written."""

    truth = None

    def __init__(self) -> None:
        from edge.device import Monitor

        self._monitor = Monitor(on_reading=lambda _: None)

    @property
    def throttled(self) -> Optional[int]:
        return self._monitor.latest.throttled

    def see(self, *_: object) -> None: ...

    def close(self) -> None:
        self._monitor.close()


def _describe(classifier: Any) -> str:
    from edge.records import in_words

    given, runtime = classifier.input, classifier.runtime
    return (
        f"{classifier.bundle.name}, {given.width_px}x{given.height_px} {given.dtype}, on {runtime.name} "
        f"{runtime.version} ({runtime.backend}, {in_words(runtime.threads)})"
    )


def _summary(totals: Any) -> str:
    rate = totals.frames / totals.seconds if totals.seconds else 0.0
    frames = "1 frame" if totals.frames == 1 else f"{totals.frames} frames"
    text = f"{frames} in {totals.seconds:.1f} s ({rate:.1f} fps), {totals.dropped} not classified"
    if totals.with_truth:
        text += f"; truth known for {totals.with_truth}, top-1 right in {totals.right}"
    if totals.unknown_truth:
        text += f"; {totals.unknown_truth} with a truth that is no class of the model"
    return text + "."
