"""The subcommand `edge compare`."""

from __future__ import annotations

from typing import Optional

import click

from edge.commands import json_option

# As in `edge.stats`, which needs NumPy.
STAGES = ("wait", "preprocess", "invoke", "postprocess", "age")


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--stage", type=click.Choice(STAGES), help="Only this stage. [all]")
@json_option
def compare(a: str, b: str, stage: Optional[str], as_json: bool) -> None:
    """Compare two recordings: is B faster or more often right than A, or can it not be told?

    A and B are a journal, or JOURNAL:RUN, where RUN is 1, 2, ... in the order of time, `last`, or the beginning of a
    run's id: `edge compare field.db:1 field.db:last`. Only steady samples are compared: none of the warm-up, none
    while the board was throttled, and none that the CPU answered in place of an accelerator.
    """
    import msgspec

    from edge.report.comparison.compare import compare as compared
    from edge.report.comparison.text import text_of

    comparison = compared(a, b, [stage] if stage else STAGES)
    click.echo(msgspec.json.encode(comparison) if as_json else text_of(comparison))
