"""The subcommand `edge-deploy build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from deploy.commands import as_json, reported, say

if TYPE_CHECKING:
    from deploy.conversion.build import Report


@click.command()
@click.argument("backbone")
@click.option(
    "--calibrate",
    "pictures",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="Pictures: a part calibrates, the rest measures the accuracy, with the truth from folders named NNN_anything, "
    "NNN being the class index from 0.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="The bundle to write; an older one is replaced.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="How many calibrate.",
)
@click.option(
    "--weights",
    metavar="FILE|random",
    help="A .pth, .h5, .keras or .tflite file, or an untrained model. [the published weights]",
)
@click.option("--licence", metavar="TEXT", help="Licence of the weights in --weights FILE, for the contract.")
@click.option("--data", metavar="TEXT", help="What the pictures are, for the contract. [the folder's name]")
@click.option(
    "--interpolation",
    type=click.Choice(["bilinear", "bicubic", "area"]),
    help="How to resize. [the backbone's]",
)
@click.option(
    "--most-drop", type=float, default=0.5, show_default=True, help="Points of top-1 that quantization may cost."
)
@click.option(
    "--least-agreement",
    type=float,
    help="Percent of top-1 as in float. [98 for lite0, 97 for lite1 to 4]",
)
@click.option("--json", "json", is_flag=True, help="Print one JSON document.")
@reported
def build(
    backbone: str,
    pictures: Path,
    out: Path,
    calibration_images: int,
    weights: Optional[str],
    licence: Optional[str],
    data: Optional[str],
    interpolation: Any,
    most_drop: float,
    least_agreement: Optional[float],
    json: bool,
) -> None:
    """Build a bundle: BACKBONE quantized to full integer, verified against its float twin.

    BACKBONE is a name from `edge-deploy models`, which also tells where its weights come from.
    """
    from deploy.conversion import build as builder

    request = builder.Request(
        backbone=backbone,
        pictures=pictures,
        out=out,
        calibration_images=calibration_images,
        weights=weights,
        licence=licence,
        data=data,
        interpolation=interpolation,
        most_drop_points=most_drop,
        least_agreement_percent=least_agreement,
    )
    report = builder.build(request, say)
    click.echo(as_json(report) if json else _summary(report))


def _summary(report: Report) -> str:
    lines = [
        f"{report.out}: {report.name}, {report.bytes / 1e6:.2f} MB, {report.parameters / 1e6:.2f} M parameters, "
        f"{report.seconds:.0f} s",
        f"  sha256       {report.sha256}",
        f"  weights      {report.weights}",
    ]
    seen = report.comparison
    if (
        seen
        and seen.top1 is not None
        and seen.top5 is not None
        and seen.float_top1 is not None
        and seen.float_top5 is not None
    ):
        low, high = seen.top1_interval95 or (0.0, 1.0)
        lines += [
            f"  int8         top-1 {seen.top1:.2%} (95 %: {low:.2%} to {high:.2%}), top-5 {seen.top5:.2%}, "
            f"{seen.labelled} pictures",
            f"  float        top-1 {seen.float_top1:.2%}, top-5 {seen.float_top5:.2%}",
        ]
    elif seen:
        lines.append("  accuracy     not measured: no folder is named NNN_anything, NNN being the class index")
    else:
        lines.append("  accuracy     not measured: the weights are random")
    golden = report.golden
    lines.append(
        f"  golden       seed {golden.golden.seed}, top 5 {list(golden.golden.top5)}, gap {golden.gap:g} steps"
    )
    lines += [f"  {bar.name:<13}{bar.measured} (required: {bar.required})" for bar in report.bars]
    return "\n".join(lines)
