"""The subcommand `edge classify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edge.commands import complain, configured, json_option, model_options, opened, printable
from edge.errors import EdgeError

SHOWN = 0.0005  # a person is not shown what would print as 0.000


@click.command()
@model_options
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Predictions for each picture.")
@json_option
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
def classify(images: tuple[str, ...], top: int, as_json: bool, **options: Any) -> int:
    """Classify picture files. Prints JSON lines with --json or into a pipe."""
    import msgspec

    from edge.images import read_rgb

    failed = False
    with opened(configured(None, options), top) as classifier:
        for image in images:
            try:
                record = classifier.classify(read_rgb(Path(image)))
            except EdgeError as error:
                failed = True
                complain(error)
                continue
            stages = {name: value for name, value in record.timings.as_ms().items() if name not in ("wait", "age")}
            if as_json or not sys.stdout.isatty():
                line = {
                    "path": printable(image),
                    "predictions": record.predictions,
                    "timings_ms": stages,
                    "backend": record.backend,
                }
                click.echo(msgspec.json.encode(line))
            else:
                told = ", ".join(f"{name} {value:.1f} ms" for name, value in stages.items())
                click.echo(f"{printable(image)}  ({told}, {record.backend})")
                for prediction in (each for each in record.predictions if each.score >= SHOWN):
                    click.echo(f"  {prediction.score:5.3f}  {prediction.label}")
    return int(failed)
