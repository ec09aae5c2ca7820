"""The subcommand `edge run`."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from edge.commands import Finite, configured, json_option, model_options, opened

if TYPE_CHECKING:
    from edge.config import Config

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
    summary[0] = lambda: _summary(totals)
    with contextlib.ExitStack() as stack:
        classifier = stack.enter_context(opened(config, config.model.top))
        camera = open_camera(config.camera, native_size_px(classifier.input))
        stack.callback(camera.close)
        click.echo(f"camera: {camera.name}", err=as_json)
        click.echo(f"model:  {_describe(classifier)}", err=as_json)
        sink: sinks.Sink = sinks.JsonLines(sys.stdout) if as_json else sinks.Lines(sys.stdout)
        daemon.run(camera, classifier, [sink], daemon.Limits(*limits, config.fps), stop, totals)
        sink.close()
        click.echo(_summary(totals), err=as_json)


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
