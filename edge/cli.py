"""The command `edge`: parses, opens, passes in, prints, exits. Imports what a command needs when it runs."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

import click

from edge import __version__
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.config import Config, ModelSettings

SLOWEST_FPS = 0.0001  # one frame in almost three hours
SHOWN = 0.0005  # a person is not shown what would print as 0.000
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Finite(click.FloatRange):
    """A float in a range; click lets NaN and infinity through."""

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class _Numbers(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.5
    """One number, or three separated by commas for R, G and B."""

    name = "number[,number,number]"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} is not one finite number or three separated by commas.", param, ctx)
        return numbers


def _options(*decorators: Callable[[_Function], _Function]) -> Callable[[_Function], _Function]:
    def apply(function: _Function) -> _Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


_model_options = _options(
    click.option(
        "--model", metavar="MODEL", help="A bundle's name or folder, or a .tflite. [shipped EfficientNet-Lite0]"
    ),
    click.option("--runtime", metavar="NAME", help="auto, litert or tflite. [auto]"),
    click.option("--threads", type=click.IntRange(1, 1024), help="Inference threads. [processors, at most 4]"),
    click.option("--labels", metavar="FILE", help="Bare .tflite: its label file."),
    click.option("--background/--no-background", default=None, help="Bare .tflite: output 0 is a background class."),
    click.option("--mean", type=_Numbers(), help="Bare .tflite: value = (pixel - MEAN) / STD."),
    click.option("--std", type=_Numbers(), help="Bare .tflite: see --mean."),
    click.option("--resize", type=click.Choice(["crop", "letterbox", "squash"]), help="Bare .tflite. [crop]"),
    click.option("--crop-fraction", type=_Finite(0.001, 1), help="Bare .tflite: side of the centre crop. [1]"),
    click.option(
        "--interpolation", type=click.Choice(["bilinear", "bicubic", "area"]), help="Bare .tflite. [bilinear]"
    ),
    click.option(
        "--activation", type=click.Choice(["softmax", "sigmoid", "logits"]), help="Bare .tflite: what it puts out."
    ),
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_BARE = ("labels", "background", "mean", "std", "resize", "crop_fraction", "interpolation", "activation")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Classify pictures and live cameras with quantized TensorFlow Lite models."""


@cli.command()
@_model_options
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Predictions for each picture.")
@_json_option
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
def classify(images: tuple[str, ...], top: int, as_json: bool, **options: Any) -> int:
    """Classify picture files. Prints JSON lines with --json or into a pipe."""
    import msgspec

    from edge.images import read_rgb

    failed = False
    with _open(_configured(None, options), top) as classifier:
        for image in images:
            try:
                record = classifier.classify(read_rgb(Path(image)))
            except EdgeError as error:
                failed = True
                _complain(error)
                continue
            stages = {name: value for name, value in record.timings.as_ms().items() if name not in ("wait", "age")}
            if as_json or not sys.stdout.isatty():
                line = {"path": _text(image), "predictions": record.predictions, "timings_ms": stages}
                click.echo(msgspec.json.encode(line))
            else:
                click.echo(f"{_text(image)}  ({', '.join(f'{name} {value:.1f} ms' for name, value in stages.items())})")
                for prediction in (each for each in record.predictions if each.score >= SHOWN):
                    click.echo(f"  {prediction.score:5.3f}  {prediction.label}")
    return int(failed)


@cli.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="FILE", help="Configuration (YAML).")
@click.option("--camera", help="auto, picamera, scene, a device, a video, an address or a folder. [auto]")
@click.option("--frames", type=click.IntRange(1), help="End after so many frames.")
@click.option("--seconds", type=_Finite(min=0, min_open=True), help="End after so long.")
@click.option("--fps", type=_Finite(min=SLOWEST_FPS), help="Classify at most so many frames a second.")
@click.option("--top", type=click.IntRange(1), help="Predictions in each record. [5]")
@click.option("--loop/--no-loop", default=None, help="Start a video or folder again when it ends.")
@click.option("--realtime/--no-realtime", default=None, help="Play a video at its own rate, as a live camera would.")
@click.option("--isp-resize/--no-isp-resize", default=None, help="Let the Pi's image processor resize (picamera).")
@_model_options
@_json_option
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
        _run(_configured(config_path, options), (frames, seconds), as_json, stop, summary)


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
        classifier = stack.enter_context(_open(config, config.model.top))
        camera = open_camera(config.camera, native_size_px(classifier.input))
        stack.callback(camera.close)
        click.echo(f"camera: {camera.name}", err=as_json)
        click.echo(f"model:  {_describe(classifier)}", err=as_json)
        sink: sinks.Sink = sinks.JsonLines(sys.stdout) if as_json else sinks.Lines(sys.stdout)
        daemon.run(camera, classifier, [sink], daemon.Limits(*limits, config.fps), stop, totals)
        sink.close()
        click.echo(_summary(totals), err=as_json)


@cli.command()
@_model_options
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML lines `folder: label`, for other names.",
)
@click.option("--index-prefix", is_flag=True, help="Folders begin with their class index, as in 003_tiger_shark.")
@_json_option
@click.argument("folder", type=click.Path(path_type=Path))
def evaluate(folder: Path, map_file: Optional[Path], index_prefix: bool, as_json: bool, **options: Any) -> None:
    """Measure accuracy on a folder of pictures in folders named after their class."""
    import msgspec
    from tqdm import tqdm

    from edge import evaluate as evaluation
    from edge.cameras import CameraSettings
    from edge.cameras.directory import Directory

    with _open(_configured(None, options), evaluation.TOP) as classifier:
        truth = evaluation.truth_of(
            folder,
            classifier.bundle.labels,
            map_file=map_file,
            index_prefix=index_prefix,
            background_offset=classifier.output.background_offset,
        )
        # By class, not by name: a folder may be called "scene" or "0".
        camera = Directory(CameraSettings(source=str(folder)), _warn)
        with tqdm(total=len(camera), unit="picture", disable=not sys.stderr.isatty(), leave=False) as bar:
            result = evaluation.evaluate(classifier, camera, truth, lambda _done: bar.update())
    click.echo(msgspec.json.encode(result.as_json()) if as_json else evaluation.text_of(result))


@cli.command()
@_model_options
@click.option("--seconds", type=_Finite(0, 150, min_open=True), default=10.0, show_default=True)
@_json_option
def bench(seconds: float, as_json: bool, **options: Any) -> None:
    """Measure latency on this machine: load, first inference, warm-up and steady state apart."""
    import msgspec

    from edge import bench as benches

    config = _configured(None, options)
    result = benches.bench(
        config.model.path,
        runtime=config.runtime.name,
        threads=config.runtime.threads,
        seconds=seconds,
        options=config.model.bare,
    )
    click.echo(msgspec.json.encode(result.as_json()) if as_json else benches.text_of(result))


@cli.command()
@_json_option
def models(as_json: bool) -> None:
    """List the model bundles that are found, with the state of their files."""
    import msgspec

    from edge import bundle as bundles

    rows = [bundles.describe(folder) for folder in bundles.found()]
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    if not rows:
        click.echo(f"No bundles in {', '.join(str(folder) for folder in bundles.folders())}.")
    for row in rows:
        click.echo(row.as_text())


def _configured(path: Optional[Path], options: dict[str, Any]) -> Config:
    """The configuration file, with what the command line says over it."""
    from msgspec.structs import replace

    from edge import config as configs

    base = configs.read(path) if path else configs.Config()

    def given(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names if options.get(name) is not None}

    model: ModelSettings = replace(base.model, bare=replace(base.model.bare, **given(*_BARE)))
    model = replace(model, **given("top"))
    if options.get("model"):
        model = replace(model, path=options["model"])
    runtime = replace(base.runtime, **given("threads"))
    if options.get("runtime"):
        runtime = replace(runtime, name=options["runtime"])
    camera = replace(base.camera, **given("loop", "realtime", "isp_resize"))
    if options.get("camera"):
        camera = replace(camera, source=options["camera"])
    return replace(base, camera=camera, model=model, runtime=runtime, **given("fps"))


def _open(config: Config, top: int) -> Any:
    from edge.classifier import Classifier

    return Classifier.open(
        config.model.path,
        runtime=config.runtime.name,
        threads=config.runtime.threads,
        top=top,
        options=config.model.bare,
    )


def _describe(classifier: Any) -> str:
    from edge.runtimes import in_words

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


def _warn(sentence: str) -> None:
    click.echo(f"Warning: {sentence}", err=True)


def _text(path: str) -> str:
    """A path as text that can be printed: names of files are bytes, and need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _complain(error: object) -> None:
    click.echo(_text(f"Error: {error}"), err=True)


def main() -> None:
    """Run the command; the only place that exits."""
    code = _main()
    if threading.active_count() > 1:
        # Left behind: a thread that is stuck in a driver. Should it wake while Python winds down, OpenCV would abort.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _main() -> int:
    try:
        return int(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader has seen enough; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 1
    except Exception as error:
        if "--debug" in sys.argv[1:2]:
            raise
        if isinstance(error, (EdgeError, OSError)):
            _complain(error)
        else:
            detail = " ".join(str(error).split())
            _complain(f"{type(error).__name__}: {detail} (unexpected; `edge --debug …` shows where).")
        return 1


if __name__ == "__main__":
    main()
