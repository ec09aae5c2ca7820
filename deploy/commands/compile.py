"""The subcommand `edge-deploy compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.commands import as_json, reported, say

if TYPE_CHECKING:
    from deploy.compilation.twins import Report


@click.command("compile")
@click.argument("model", metavar="BUNDLE|FILE.tflite")
@click.option("--compiler", metavar="PATH", help="Coral's compiler. [edgetpu_compiler on PATH]")
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds for one try.",
)
@click.option(
    "--tries",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="It fails by chance now and then, and is run again then.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write a bundle with both models, or the compiled file, there. [into the bundle, or beside the file]",
)
@click.option(
    "--allow-cpu-operators",
    is_flag=True,
    help="Accept operators that stay on the CPU; they cost more time than they look.",
)
@click.option("--json", "json", is_flag=True, help="Print one JSON document, with every row of the compiler's log.")
@reported
def compile_(model: str, timeout: float, json: bool, **options: Any) -> None:
    """Compile a model for an Edge TPU with Coral's edgetpu_compiler (x86-64 Linux).

    A bundle gets the compiled twin beside its model, and a section about it in its contract; the model stays, for
    devices without an Edge TPU and for the time when one fails. What cannot be compiled is told first.
    """
    from deploy.compilation import twins

    report = twins.run(twins.Request(model=model, timeout_s=timeout, **options), say)
    click.echo(as_json(report) if json else _summary(report))


def _summary(report: Report) -> str:
    from deploy.compilation.log import MAPPED

    said = report.log
    again = f", at try {len(report.failures) + 1}" if report.failures else ""
    total = (said.tpu_operators or 0) + (said.cpu_operators or 0)
    parts = {None: "", 1: ", in one part"}.get(said.subgraphs, f", in {said.subgraphs} parts")
    lines = [
        f"{report.file}: {report.bytes / 1e6:.3g} MB, edgetpu_compiler {report.compiler}, "
        f"{report.seconds:.1f} s{again}",
        f"  sha256       {report.sha256}",
        f"  Edge TPU     {said.tpu_operators} of {total} operators{parts}",
    ]
    lines += [
        f"  CPU          {row.count} {row.operator}: {row.status}" for row in said.operators if row.status != MAPPED
    ]
    if said.on_chip_bytes is not None and said.off_chip_bytes is not None:
        sent = _size(said.off_chip_bytes)
        slow = f"{sent} are sent anew for each inference, which costs time" if said.off_chip_bytes else "all of them"
        lines.append(f"  parameters   {_size(said.on_chip_bytes)} stay on the chip, {slow}")
    return "\n".join([*lines, f"  twin         {report.twin}: the same inputs and outputs, for the CPU"])


def _size(number_bytes: int) -> str:
    return f"{number_bytes / 2**20:.2f} MiB" if number_bytes >= 2**20 else f"{number_bytes / 2**10:.2f} KiB"
