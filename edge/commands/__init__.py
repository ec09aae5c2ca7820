"""What the subcommands of `edge` share; each module holds one, which parses, opens, passes in and prints.

They import what they need when they run, so that `--help` needs nothing heavy.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

import click

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.config import Config

CONFIG_VARIABLE = "EDGE_CONFIG"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A float in a range; click lets NaN and infinity through."""

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Numbers(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.5
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


def options(*decorators: Callable[[_Function], _Function]) -> Callable[[_Function], _Function]:
    """Several of click's options as one decorator."""

    def apply(function: _Function) -> _Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


model_options = options(
    click.option(
        "--model", metavar="MODEL", help="A bundle's name or folder, or a .tflite. [shipped EfficientNet-Lite0]"
    ),
    click.option("--runtime", metavar="NAME", help="auto, litert, tflite or edgetpu. [auto]"),
    click.option("--threads", type=click.IntRange(1, 1024), help="Inference threads. [processors, at most 4]"),
    click.option("--device", multiple=True, metavar="NAME", help="Edge TPU: any, usb:N or pci:N. Repeatable. [any]"),
    click.option(
        "--performance",
        type=click.Choice(["low", "medium", "high", "max"]),
        help="Edge TPU: its clock. [its library's]",
    ),
    click.option("--fallback", type=click.Choice(["cpu"]), help="What answers while no Edge TPU does."),
    click.option("--labels", metavar="FILE", help="Bare .tflite: its label file."),
    click.option("--background/--no-background", default=None, help="Bare .tflite: output 0 is a background class."),
    click.option("--mean", type=Numbers(), help="Bare .tflite: value = (pixel - MEAN) / STD."),
    click.option("--std", type=Numbers(), help="Bare .tflite: see --mean."),
    click.option("--resize", type=click.Choice(["crop", "letterbox", "squash"]), help="Bare .tflite. [crop]"),
    click.option("--crop-fraction", type=Finite(0.001, 1), help="Bare .tflite: side of the centre crop. [1]"),
    click.option(
        "--interpolation", type=click.Choice(["bilinear", "bicubic", "area"]), help="Bare .tflite. [bilinear]"
    ),
    click.option(
        "--activation", type=click.Choice(["softmax", "sigmoid", "logits"]), help="Bare .tflite: what it puts out."
    ),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
journal_option = click.option(
    "--journal",
    type=click.Path(path_type=Path),
    envvar=["EDGE_JOURNAL", "EDGE_JOURNAL_PATH"],
    metavar="FILE",
    help="The journal (field log). [$EDGE_JOURNAL]",
)
config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    metavar="FILE",
    help=f"Configuration (YAML). [${CONFIG_VARIABLE}]",
)
set_option = click.option(
    "--set",
    "set_",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any key of the configuration, such as camera.fps=15; has the last word. Repeatable.",
)
by_option = click.option("--by", metavar="WHO", help="Who says so. [your login name]")


def configured(path: Optional[Path], options: dict[str, Any]) -> Config:
    """The configuration file, with what the environment and then the command line say over it.

    May be called again, to take over what has changed in the file.

    Raises:
        ConfigError: with a sentence for each of all the problems.
    """
    from edge import config

    for sentence in config.misspelt(os.environ):
        warn(sentence)
    found = config.effective(path, os.environ, options)
    if any(key.startswith("runtime.") for key in found.origins):
        from edge.config.advice import without_effect

        for sentence in without_effect(found.config, found.origins):
            warn(visible(printable(sentence)))
    return found.config


def opened(config: Config, top: int) -> Any:
    """The classifier that a configuration asks for; what "auto" chose for it is told on stderr."""
    from edge.classifier import Classifier

    classifier = Classifier.open(
        config.model.path,
        runtime=config.runtime,
        top=top,
        options=config.model.bare,
    )
    if classifier.bundle.choice:
        click.echo(printable(classifier.bundle.choice), err=True)
    return classifier


def require_journal(path: Optional[Path]) -> Path:
    """What `journal_option` gave, or else the journal of the installed service.

    Raises:
        ConfigError: neither the option nor the environment nor the service's configuration names a journal.
    """
    if path:
        return path
    from edge.config import journal_in

    file = service_file()
    named = journal_in(file)
    if named is None:
        raise ConfigError(
            f"No journal is named: give --journal FILE, or set EDGE_JOURNAL to it; {file} names none that can be read; "
            "`edge config check` tells why."
        )
    return named


def service_file() -> Path:
    """The configuration that is meant where none is named: the environment's, or the installed service's."""
    from edge.config import SYSTEM_FILE

    return Path(os.environ.get(CONFIG_VARIABLE) or SYSTEM_FILE)


def speaker(by: Optional[str]) -> str:
    """Who says something: what `by_option` gave, or else the user."""
    import getpass

    try:
        return printable(by or getpass.getuser())
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"user {os.getuid()}"


def visible(text: str) -> str:
    """Text of somebody else without what would move the cursor or paint."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def warn(sentence: str) -> None:
    """Tell something that does not end the command."""
    with contextlib.suppress(OSError):  # also when nobody reads it
        click.echo(f"Warning: {sentence}", err=True)


def printable(path: str) -> str:
    """A path as text that can be printed: names of files are bytes, and need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def complain(error: object) -> None:
    """Tell what went wrong, each problem on a line of its own."""
    for sentence in problems(error):
        click.echo(f"Error: {sentence}", err=True)


def problems(error: object) -> list[str]:
    """What went wrong, a sentence for each problem, as text that can be printed."""
    return [printable(str(each)) for each in (error.problems if isinstance(error, ConfigError) else (error,))]
