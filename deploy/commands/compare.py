"""The subcommand `edge-deploy compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional

import click

from deploy.commands import INTERRUPTED, as_json, reported
from deploy.commands.train import Bars, kinds, settings_options
from edge.errors import ConfigError

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("data", type=_FOLDER)
@click.option(
    "--backbones",
    required=True,
    metavar="NAMES",
    help="With commas between; NAME:finetune trains the last blocks too, NAME:random measures size and speed only.",
)
@click.option("--out", metavar="FOLDER", required=True, type=_FOLDER, help="For the results.")
@click.option("--weights", multiple=True, metavar="NAME=FILE", help="Pretrained weights of one backbone.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Seeded splits for each model.")
@click.option("--calibration-images", type=click.IntRange(1), default=200, show_default=True, help="For int8.")
@settings_options
@click.option("--cache", metavar="FOLDER", type=_FOLDER, help="For computed features. [~/.cache/edge-deploy]")
@click.option("--json", "json", is_flag=True, help="Print the result as one JSON document.")
@reported
def compare(
    data: Path,
    backbones: str,
    out: Path,
    weights: tuple[str, ...],
    seeds: int,
    calibration_images: int,
    cache: Optional[Path],
    json: bool,
    augment: Optional[str],
    **options: Any,
) -> None:
    """Train, convert, verify and measure several backbones on DATA, and print the table.

    What is finished in --out is not done again, but for the latencies, which are measured together at the end.
    """
    try:
        from deploy.comparison import report as comparison_report
        from deploy.comparison.compare import Request, compare, entry
        from deploy.training.settings import Settings, check_out

        entries = tuple(entry(text, options["mode"]) for text in backbones.split(","))
        settings = Settings(backbone=entries[0].backbone, data=(str(data),), augment=kinds(augment), **options)
        check_out(settings, out)
        request = Request(entries, settings, _weights(weights), seeds, out, cache, calibration_images)
        result = compare(request, Bars())
        text = as_json(result) if json else comparison_report.markdown(result)
    except KeyboardInterrupt:
        click.echo("Interrupted: what is finished is kept, run it again to go on.", err=True)
        sys.exit(INTERRUPTED)
    click.echo(text)


def _weights(given: tuple[str, ...]) -> dict[str, str]:
    from deploy.backbones import backbone

    weights = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not equals or not file:
            raise ConfigError(f"--weights {text} was given: expected NAME=FILE.")
        weights[backbone(name).name] = file
    return weights
