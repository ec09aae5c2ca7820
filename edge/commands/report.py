"""The subcommand `edge report`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edge.commands import json_option, require_journal

_MEGABYTE = 1_000_000


@click.command()
@click.argument("journals", nargs=-1, type=click.Path(path_type=Path), metavar="[JOURNAL]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="report.html",
    show_default=True,
    help="The page; an older one is replaced.",
)
@json_option
def report(journals: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Make a page of what journals tell: latency, accuracy, temperature, drops and what went wrong.

    JOURNAL is what `edge run --journal` writes, also while it does; $EDGE_JOURNAL or the installed service's where none
    is given. Several are shown side by side and merged. The page needs the extra "report" (matplotlib, Jinja2), --json
    does not.
    """
    import msgspec

    from edge.report.gather import gather

    named = os.environ.get("EDGE_JOURNAL")
    paths = journals or (require_journal(Path(named) if named else None),)
    if as_json and click.get_current_context().get_parameter_source("out") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--out is for the page, and --json prints: give one of them.")
    if as_json:
        click.echo(msgspec.json.encode(gather(paths)))
        return
    from edge.report.drawn.page import page, require
    from edge.report.exports.files import replacing

    require()
    with replacing(out) as file:  # first, so that nobody waits for a page that cannot be written
        document = page(gather(paths)).encode()
        file.write(document)
    click.echo(f"{out} ({len(document) / _MEGABYTE:.1f} MB)")
