"""The subcommand `edge export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional

import click

from edge.commands import require_journal
from edge.errors import ConfigError

# As in `edge.report.exports.export` and `edge.report.exports.exported`, which need NumPy.
FORMATS = ("csv", "jsonl", "parquet")
TABLES = ("frames", "windows", "events", "labels", "pictures", "runs")


@click.command()
@click.argument("journal", type=click.Path(path_type=Path), envvar="EDGE_JOURNAL", required=False)
@click.option("--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option("--table", type=click.Choice(TABLES), default="frames", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to; an older file is replaced. [stdout]"
)
def export(journal: Optional[Path], form: str, table: str, out: Optional[Path]) -> None:
    """Write a table of a journal for other programs.

    JOURNAL is what `edge run --journal` writes, also while it does; $EDGE_JOURNAL or the installed
    service's where it is not given.

    frames: those that were kept, each with how many it stands for and the backend that answered; their truth is as
    known today. windows: a minute each, with all frames; latencies are without warm-up, and without what the CPU
    answered in place of an accelerator. Times are UTC. Parquet needs --out, and the extra "parquet".
    """
    path = require_journal(journal)
    if out is None and form == "parquet":
        raise ConfigError("Parquet is no text for a terminal: say where to with --out FILE.")
    from edge.report.exports.export import write

    if out is None:
        write(path, table, form, sys.stdout.buffer)
        return
    from edge.report.exports.files import replacing

    with replacing(out) as file:
        rows = write(path, table, form, file)
    click.echo(f"{out} ({rows} rows)")
