"""The subcommand `edge truth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import click

from edge.commands import by_option, journal_option, printable, require_journal, speaker, visible, warn


@click.group(invoke_without_command=True)
@journal_option
@click.pass_context
def truth(context: click.Context, journal: Optional[Path]) -> None:
    """Show, set or clear what stands before a running daemon's camera now."""
    if context.invoked_subcommand is None:
        _ask(require_journal(journal))


@truth.command(name="set")
@click.argument("name")
@by_option
@journal_option
@click.pass_context
def set_truth(context: click.Context, name: str, by: Optional[str], journal: Optional[Path]) -> None:
    """Say that every frame from now on shows NAME, a class of the model."""
    _ask(_journal(context, journal), name=printable(name), by=speaker(by))


@truth.command(name="clear")
@by_option
@journal_option
@click.pass_context
def clear_truth(context: click.Context, by: Optional[str], journal: Optional[Path]) -> None:
    """Say that it is not known any more what the frames show."""
    _ask(_journal(context, journal), name=None, by=speaker(by))


def _journal(context: click.Context, journal: Optional[Path]) -> Path:
    """The option may stand before or behind `set`, and in both places comes before the environment's."""
    above = context.parent.params["journal"] if context.parent else None
    here = context.get_parameter_source("journal") is click.core.ParameterSource.COMMANDLINE
    return require_journal(journal if here or above is None else above)


def _ask(journal: Path, **request: Any) -> None:
    from edge.control.client import ask
    from edge.journal import socket_path

    answer = ask(socket_path(journal), {"do": "truth", **request}, journal=journal)
    if answer["truth"] is None:
        click.echo("truth: not known")
    else:
        click.echo(f"truth: {visible(answer['truth'])} (said by {visible(answer['by'])} {_ago(answer['for_s'])})")
    if "note" in answer:
        warn(f"{visible(answer['note']).capitalize()}.")


def _ago(for_s: float) -> str:
    from edge.commands.status import in_units

    return "just now" if for_s < 1 else f"{in_units(round(for_s))} ago"
