"""The subcommand `edge-deploy train`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from deploy.commands import INTERRUPTED, as_json, reported, say
from deploy.commands.split import near_bits_option, traits
from edge.errors import ConfigError

if TYPE_CHECKING:
    from deploy.pictures.datasets import Report
    from deploy.training.fitting import Epoch
    from deploy.training.report import Metrics

_FOLDER = click.Path(path_type=Path)


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how to train; `train` and `compare` share them."""
    for option in reversed(
        (
            click.option(
                "--mode",
                type=click.Choice(["head", "finetune"]),
                default="head",
                show_default=True,
                help="Train a new head only, or then also the last blocks.",
            ),
            click.option("--blocks", default=4, show_default=True, help="How many of the last blocks to fine-tune."),
            click.option(
                "--hidden",
                type=click.IntRange(1),
                metavar="UNITS",
                help="A hidden dense layer of so many units in the head. [none]",
            ),
            click.option(
                "--dropout", default=0.2, show_default=True, help="Share of the features left out in training."
            ),
            click.option("--epochs", default=30, show_default=True, help="Most epochs for the head."),
            click.option("--finetune-epochs", default=10, show_default=True, help="Most epochs of fine-tuning."),
            click.option(
                "--patience",
                default=10,
                show_default=True,
                help="Stop after so many epochs without a better validation result.",
            ),
            click.option("--batch", default=32, show_default=True, help="Pictures in a step."),
            click.option("--learning-rate", default=1e-3, show_default=True, help="For the head."),
            click.option("--finetune-learning-rate", default=2e-4, show_default=True, help="For fine-tuning."),
            click.option("--warmup-epochs", default=1.0, show_default=True, help="Of fine-tuning: its rate rises."),
            click.option("--label-smoothing", default=0.0, show_default=True, help="Share taken from the right class."),
            click.option(
                "--augment", metavar="KINDS", help="Vary the pictures: flip,crop,colour or some of them. [not]"
            ),
            click.option("--views", default=4, show_default=True, help="Variants of each picture with --augment."),
            click.option("--class-weights", is_flag=True, help="Let rare classes count as much as frequent ones."),
            click.option("--seed", default=0, show_default=True, help="Of the split and of the training."),
            near_bits_option,
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("data", required=False, type=_FOLDER)
@click.option("--backbone", required=True, help="A name from `edge-deploy models`.")
@click.option("--out", metavar="FOLDER", required=True, type=_FOLDER, help="For the results.")
@click.option(
    "--train", "train_folder", metavar="FOLDER", type=_FOLDER, help="Instead of DATA: a folder for each part."
)
@click.option("--validation", "validation_folder", metavar="FOLDER", type=_FOLDER, help="See --train.")
@click.option("--test", "test_folder", metavar="FOLDER", type=_FOLDER, help="See --train.")
@click.option("--split", metavar="FILE", help="A split.csv of DATA to use. [a new one]")
@click.option("--shares", default="80,10,10", show_default=True, help="Percent for training, validation, test.")
@click.option(
    "--weights", metavar="FILE|random", help="Pretrained weights: .h5, .keras, .pth or .tflite. [the published ones]"
)
@click.option("--licence", metavar="TEXT", help="Licence of the weights in --weights FILE.")
@settings_options
@click.option("--cache", metavar="FOLDER", type=_FOLDER, help="For computed features. [~/.cache/edge-deploy]")
@click.option("--json", "json", is_flag=True, help="Print the metrics as one JSON document.")
@reported
def train(
    data: Optional[Path],
    out: Path,
    train_folder: Optional[Path],
    validation_folder: Optional[Path],
    test_folder: Optional[Path],
    cache: Optional[Path],
    json: bool,
    shares: str,
    augment: Optional[str],
    **options: Any,
) -> None:
    """Train a classifier for the class folders in DATA by transfer learning.

    Writes model.keras, labels.txt, split.csv, history.csv, metrics.json and pictures of both into --out. Ctrl-C
    keeps the best so far; the same command goes on from there.
    """
    try:
        from deploy.training import train as training

        settings = training.Settings(
            data=_folders(data, (train_folder, validation_folder, test_folder)),
            shares=_shares(shares),
            augment=kinds(augment),
            **options,
        )
        metrics = training.train(settings, out, cache, Bars())
    except KeyboardInterrupt:
        click.echo("Interrupted: what was computed is kept, run it again to go on.", err=True)
        sys.exit(INTERRUPTED)
    click.echo(as_json(metrics) if json else _summary(metrics, out))
    if metrics.interrupted:
        click.echo("Interrupted: this is the best so far; run it again to go on.", err=True)
        sys.exit(INTERRUPTED)


def _folders(data: Optional[Path], parts: tuple[Optional[Path], ...]) -> tuple[str, ...]:
    given = tuple(str(part) for part in parts if part is not None)
    if data is not None and not given:
        return (str(data),)
    if data is None and len(given) == 3:
        return given
    raise ConfigError("Expected one folder of classes as DATA, or all of --train, --validation and --test.")


def kinds(augment: Optional[str]) -> tuple[str, ...]:
    """What --augment lists."""
    return tuple(part.strip() for part in augment.split(",")) if augment else ()


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(part) / 100 for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--shares {text} was given: expected three percentages such as 80,10,10.") from None
    return train, validation, test


class Bars:
    """Progress on stderr."""

    def step(self, text: str) -> None:
        say(text)

    @contextlib.contextmanager
    def pictures(self, count: Optional[int]) -> Iterator[Callable[[int], object]]:
        from tqdm import tqdm

        with tqdm(total=count, unit="picture", leave=False, disable=None) as bar:
            yield bar.update

    @contextlib.contextmanager
    def epochs(self, epochs: int) -> Iterator[Callable[[Epoch], object]]:
        from tqdm import tqdm

        with tqdm(total=epochs, unit="epoch", disable=None) as bar:

            def tell(epoch: Epoch) -> None:
                bar.set_postfix_str(
                    f"loss {epoch.train_loss:.3f}, accuracy {epoch.train_accuracy:.1%}; "
                    f"validation loss {epoch.validation_loss:.3f}, accuracy {epoch.validation_accuracy:.1%}",
                    refresh=False,
                )
                bar.update(epoch.epoch - bar.n)

            yield tell


def _found(report: Report) -> list[str]:
    """What is worth knowing of the pictures, in a line or two; metrics.json has it all."""
    alike = report.exact_duplicates + report.near_duplicates
    kept = f"{alike} duplicates ({report.near_duplicates} of them near)" if alike else ""
    found = [
        kept,
        traits(report),
        f"{len(report.conflicts)} files in several classes" if report.conflicts else "",
        f"{len(report.skipped)} left out" if report.skipped else "",
        f"{len(report.unlisted)} not in the split" if report.unlisted else "",
    ]
    lines = [f"  found        {', '.join(filter(None, found))}; split.csv tells which"] if any(found) else []
    if report.across_parts:
        groups = len(report.across_parts)
        lines.append(f"  beware       {groups} groups of duplicates lie in several parts: the accuracies are too good")
    return lines


def _summary(metrics: Metrics, out: Path) -> str:
    low, high = metrics.test_interval95
    counts = metrics.pictures
    return "\n".join(
        (
            f"{out}: {metrics.backbone}, {len(metrics.classes)} classes, {metrics.seconds['all']:.0f} s, "
            f"at most {metrics.peak_memory_bytes / 1e6:.0f} MB of memory",
            f"  weights      {metrics.weights}",
            f"  pictures     {counts['train']} training, {counts['validation']} validation, {counts['test']} test",
            *_found(metrics.data),
            f"  validation   {metrics.validation_accuracy:.2%}"
            + (f" (head alone {metrics.head_validation_accuracy:.2%})" if metrics.settings["mode"] != "head" else ""),
            f"  test         {metrics.test_accuracy:.2%} (95 %: {low:.2%} to {high:.2%})",
        )
    )
