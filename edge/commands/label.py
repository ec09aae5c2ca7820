"""The subcommand `edge label`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Optional

import click

from edge.commands import by_option, journal_option, printable, require_journal, speaker, visible, warn


@click.command()
@click.argument("name", required=False)
@click.option("--span", nargs=2, metavar="FROM TO", help="It was NAME in all of that time.")
@click.option("--now", is_flag=True, help="It is NAME from now on, until --until.")
@click.option("--until", metavar="WHEN", help="See --now.")
@click.option("--clear-span", nargs=2, metavar="FROM TO", help="What it was in that time is not known.")
@click.option("--list", "as_list", is_flag=True, help="Show the spans that were labelled; of two the later one holds.")
@click.option("--other", is_flag=True, help="NAME is nothing that the model knows.")
@by_option
@journal_option
def label(
    name: Optional[str],
    span: Optional[tuple[str, str]],
    now: bool,
    until: Optional[str],
    clear_span: Optional[tuple[str, str]],
    as_list: bool,
    other: bool,
    by: Optional[str],
    journal: Optional[Path],
) -> None:
    """Say what was before the camera in a span of time, for the accuracy in reports.

    FROM, TO and WHEN are such as 2026-07-03T14:05 (local, or with an offset such as +02:00), 14:05 (today), now,
    -15min (before now), or +90s, +15min, +2h (after FROM, where there is one, else after now).
    """
    if sum((span is not None, now, clear_span is not None, as_list)) != 1:
        raise click.UsageError(
            "Give one of --span FROM TO NAME, --now NAME --until WHEN, --clear-span FROM TO, --list."
        )
    if now != (until is not None):
        raise click.UsageError("--now and --until belong together.")
    if (name is not None) != (span is not None or now):
        raise click.UsageError("--span and --now need a NAME, and nothing else takes one.")
    if other and name is None:
        raise click.UsageError("--other is for a NAME.")
    path = require_journal(journal)
    if as_list:
        _list(path)
        return
    _label(path, span or clear_span or ("now", until or ""), name, other, speaker(by))


def _label(path: Path, ends: tuple[str, str], name: Optional[str], other: bool, by: str) -> None:
    from edge import utc
    from edge.truth import spans

    now_ns = time.time_ns()
    # Whole seconds are as exact as a person is, and are readable.
    begin_ns, end_ns = utc.parse_span(*ends, now_ns // utc.NS_PER_S * utc.NS_PER_S)
    truth = None if name is None else spans.truth_in(path, printable(name), other)
    number = spans.write(path, begin_ns, end_ns, truth, by, now_ns)
    said = "not known" if truth is None else visible(truth)
    click.echo(f"{number}: {utc.iso(begin_ns)} to {utc.iso(end_ns)}: {said}")
    if end_ns <= now_ns and spans.saw_nothing(path, begin_ns, end_ns):
        warn("The journal has no run in that time.")


def _list(path: Path) -> None:
    from edge import utc
    from edge.truth import spans

    found = spans.read(path)
    for each in found:
        said = "not known" if each.truth is None else visible(each.truth)
        click.echo(
            f"{each.id}: {utc.iso(each.from_utc_ns)} to {utc.iso(each.to_utc_ns)}: {said} "
            f"(said by {visible(each.said_by)} at {utc.iso(each.said_utc_ns // utc.NS_PER_S * utc.NS_PER_S)})"
        )
    if not found:
        click.echo("No span is labelled.")
