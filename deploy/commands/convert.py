"""The subcommand `edge-deploy convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from deploy.commands import as_json, reported, say

if TYPE_CHECKING:
    from deploy.conversion.convert import Report

_PATH = click.Path(path_type=Path)
_RECIPES = ("static_wi8_ai8", "dynamic_wi8", "float16", "float32")


@click.command()
@click.argument("model", type=_PATH, metavar="MODEL.keras")
@click.option(
    "--out", metavar="FOLDER", type=_PATH, required=True, help="The bundle to write; an older one is replaced."
)
@click.option(
    "--recipe",
    type=click.Choice(_RECIPES),
    default=_RECIPES[0],
    show_default=True,
    help="static_wi8_ai8: all in integers, for every device; dynamic_wi8 and float16: smaller, computed in float; "
    "float32: as trained.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER",
    type=_PATH,
    help="Pictures for static_wi8_ai8: those of the training part, where split.csv lies beside the model; else all.",
)
@click.option(
    "--calibration-images", type=click.IntRange(1), default=200, show_default=True, help="How many calibrate, at most."
)
@click.option("--name", metavar="NAME", help="Of the bundle. [that of its folder]")
@click.option("--backbone", metavar="NAME", help="Of a .keras file that edge-deploy did not write.")
@click.option("--labels", metavar="FILE", type=_PATH, help="Its label file, one name a line.")
@click.option(
    "--interpolation", type=click.Choice(["bilinear", "bicubic", "area"]), help="How to resize. [as it was trained]"
)
@click.option("--json", "json", is_flag=True, help="Print one JSON document.")
@reported
def convert(
    model: Path,
    out: Path,
    recipe: str,
    calibrate: Optional[Path],
    calibration_images: int,
    name: Optional[str],
    backbone: Optional[str],
    labels: Optional[Path],
    interpolation: Any,
    json: bool,
) -> None:
    """Convert MODEL.keras, as `edge-deploy train` leaves it, to a bundle for `edge`.

    Its model.tflite holds labels and normalization and runs in other programs too, bare or with labels.txt.
    """
    from deploy.conversion import convert as converter

    request = converter.Request(
        model=model,
        out=out,
        recipe=recipe,
        calibrate=calibrate,
        calibration_images=calibration_images,
        backbone=backbone,
        labels=labels,
        name=name,
        interpolation=interpolation,
    )
    report = converter.convert(request, say, _warn)
    click.echo(as_json(report) if json else _summary(report))


def _warn(sentence: str) -> None:
    click.echo(f"Warning: {sentence}", err=True)


def _summary(report: Report) -> str:
    spec = report.input
    takes = f"(pixel - {_values(spec.mean)}) / {_values(spec.std)}"
    if spec.dtype == "uint8":
        takes = "the pixels as they are"
    golden = report.golden
    return "\n".join(
        [
            f"{report.out}: {report.name}, {report.backbone} with {report.classes} classes, "
            f"{report.bytes / 1e6:.2f} MB, {report.seconds:.0f} s",
            f"  recipe       {report.recipe}: {report.recipe_words}",
            f"  sha256       {report.sha256}",
            f"  input        {spec.width_px} x {spec.height_px} px {spec.dtype}: {takes}",
            f"  weights      {report.weights}",
            f"  calibration  {report.calibration or 'none needed'}",
            f"  golden       seed {golden.golden.seed}, top 5 {list(golden.golden.top5)}, gap {golden.gap:g} steps",
            "  accuracy     not measured here: `edge-deploy verify` measures it and writes it into model.yaml",
            f"  files        {', '.join(report.files)}; for other programs model.tflite and labels.txt are enough",
        ]
    )


def _values(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(values) == 1 else "[" + ", ".join(f"{value:g}" for value in values) + "]"
