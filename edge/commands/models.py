"""The subcommand `edge models`."""

from __future__ import annotations

import click

from edge.commands import json_option


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the model bundles that are found, with the state of their files."""
    import msgspec

    from edge.model import bundle as bundles
    from edge.model.inventory import describe

    rows = [describe(folder) for folder in bundles.found()]
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    if not rows:
        click.echo(f"No bundles in {', '.join(str(folder) for folder in bundles.folders())}.")
    for row in rows:
        click.echo(row.as_text())
