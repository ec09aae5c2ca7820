"""The subcommand `edge-deploy verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from deploy.commands import as_json, reported, say

if TYPE_CHECKING:
    from deploy.verification.against import Report

_MOST_CLASSES = 10
_FEW_CLASSES = 5  # of which the top 5 are all


@click.command()
@click.argument("bundle")
@click.option(
    "--against",
    metavar="FILE|FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="The float model that it was made of: model.keras, a .tflite file, or a bundle.",
)
@click.option(
    "--data",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="Pictures in folders named after their class, or NNN_anything, NNN being the class index from 0.",
)
@click.option(
    "--split",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Measure on one part of this split of the data. [split.csv beside --against, where it is one; else all]",
)
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    help="Which part of the split. [test]",
)
@click.option("--backbone", metavar="NAME", help="Of a .keras file that edge-deploy did not write.")
@click.option("--max-drop", type=float, default=1.0, show_default=True, help="Points of top-1 that may be lost.")
@click.option("--pictures", type=click.IntRange(0), default=10, show_default=True, help="Changed pictures to show.")
@click.option("--no-write", is_flag=True, help="Do not write the accuracy into the bundle's model.yaml.")
@click.option("--json", "json", is_flag=True, help="Print one JSON document, with all classes, pictures and layers.")
@reported
def verify(
    bundle: str,
    against: Path,
    data: Path,
    split: Optional[Path],
    part: Any,
    backbone: Optional[str],
    max_drop: float,
    pictures: int,
    no_write: bool,
    json: bool,
) -> None:
    """Measure what quantization cost BUNDLE: its accuracy and its float model's, on the same pictures.

    Both run as .tflite files, as on the device. Exits 1 when more than --max-drop is lost.
    """
    from tqdm import tqdm

    from deploy.verification import against as measuring
    from edge.model.bundle import locate

    request = measuring.Request(bundle, against, data, split, part, backbone, max_drop)
    with tqdm(unit="picture", disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(_done: int, total: int) -> None:
            bar.total = total
            bar.update()

        report = measuring.run(request, say, progress)
    click.echo(as_json(report) if json else _summary(report, pictures))
    if not no_write:
        measuring.write_accuracy(locate(bundle), report)
    measuring.require_held(report)


def _summary(report: Report, most_pictures: int) -> str:
    seen = report.comparison
    many = len(report.skipped)
    skipped = f", {many} more could not be read" if many else ""
    lines = [f"{report.model} against {report.against} on {report.pictures}: {seen.images} pictures{skipped}"]
    if report.warning:
        lines.append(f"  caution      {report.warning}")
    lines += [
        f"  float        {_accuracy(seen.float_top1, seen.float_top5, report)}",
        f"  quantized    {_accuracy(seen.top1, seen.top5, report)}{_interval(seen.top1_interval95, 100, ' %')}",
        f"  drop         {report.drop_points:.2f} points{_interval(seen.drop_interval95_points, 1, ' points')}, "
        f"allowed {report.max_drop_points:g}",
        f"  agreement    {seen.agreement:.2%}: {len(report.changed)} of {seen.images} pictures changed",
    ]
    lines += _classes(report) + _pictures(report, most_pictures) + _layers(report)
    if report.skipped:
        lines += ["", "Could not be read:", *(f"  {reason}" for reason in report.skipped[:most_pictures])]
    return "\n".join(lines)


def _accuracy(top1: Optional[float], top5: Optional[float], report: Report) -> str:
    return f"top-1 {top1:.2%}" + (f", top-5 {top5:.2%}" if report.classes > _FEW_CLASSES else "")


def _interval(ends: Optional[tuple[float, float]], factor: float, unit: str) -> str:
    return f" (95 %: {ends[0] * factor:.2f} to {ends[1] * factor:.2f}{unit})" if ends else ""


def _classes(report: Report) -> list[str]:
    moved = [told for told in report.per_class if told.drop_points]
    if not moved:
        return []
    shown = sorted(moved, key=lambda told: -abs(told.drop_points))[:_MOST_CLASSES]
    more = f" (the most of {len(moved)})" if len(moved) > len(shown) else ""
    return ["", f"Classes that changed{more}:"] + [
        f"  {told.float_top1:7.1%} -> {told.top1:7.1%} of {told.images:5d}  {told.label}" for told in shown
    ]


def _pictures(report: Report, most: int) -> list[str]:
    shown = report.changed[:most]
    if not shown:
        return []
    more = f" ({len(shown)} of {len(report.changed)})" if len(report.changed) > len(shown) else ""
    return ["", f"Pictures that changed{more}:"] + [
        f"  {told.path}: {told.truth}; float {told.float_label} {told.float_score:.2f}, "
        f"quantized {told.label} {told.score:.2f}"
        for told in shown
    ]


def _layers(report: Report) -> list[str]:
    if report.layers.problem:
        return ["", f"Layers were not compared: {report.layers.problem}"]
    return ["", f"Layers with the least signal to noise, on {report.layers.pictures} pictures:"] + [
        f"  {layer.snr_db:6.1f} dB  {layer.operator:18s} {layer.name}" for layer in report.worst_layers
    ]
