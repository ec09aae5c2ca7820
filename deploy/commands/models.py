"""The subcommand `edge-deploy models`."""

from __future__ import annotations

from typing import NamedTuple, Optional

import click

from deploy.commands import as_json, reported


class Model(NamedTuple):
    """A backbone and where this machine would take its weights from."""

    name: str
    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int
    package: Optional[str]
    """That carries the weights."""
    installed: Optional[bool]
    """Whether it is here; None when there is no such package."""
    url: Optional[str]
    """Where Keras would fetch them."""


@click.command()
@click.option("--json", "json", is_flag=True, help="Print one JSON document.")
@reported
def models(json: bool) -> None:
    """List the backbones: input, parameters, and where this machine would take their weights from.

    Every backbone also takes --weights FILE: .h5, .keras, .weights.h5, .pth or .tflite.
    """
    from deploy.backbones import BACKBONES, weights

    found = [
        Model(
            name=row.name,
            size_px=row.size_px,
            mean=row.mean,
            std=row.std,
            parameters=row.parameters,
            package=row.package.name if row.package else None,
            installed=weights.installed(row.package) is not None if row.package else None,
            url=row.download.url if row.download else None,
        )
        for row in BACKBONES.values()
    ]
    click.echo(as_json([model._asdict() for model in found]) if json else "\n".join([_HEAD, *map(_line, found)]))


_HEAD = f"{'name':<20}{'input':<12}{'parameters':>11}  weights"


def _line(model: Model) -> str:
    if model.package:
        weights = f"package {model.package}: " + ("installed" if model.installed else "not installed")
    elif model.url:
        weights = "fetched by Keras from " + model.url.split("/")[2]
    else:
        weights = "only --weights FILE"
    size = f"{model.size_px} x {model.size_px}"
    return f"{model.name:<20}{size:<12}{model.parameters / 1e6:>9.2f} M  {weights}"
