"""The subcommand `edge doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from edge.commands import config_option, journal_option, json_option, model_options, printable, set_option

if TYPE_CHECKING:
    from edge.doctor import Section

_WORDS = {"ok": "ok", "note": "note", "warning": "warning", "blocks": "BLOCKS"}
_NAME_WIDTH, _LEVEL_WIDTH = 15, 9


@click.command()
@config_option
@set_option
@click.option("--camera", help="auto, camera, picamera, scene, a device, a video, an address or a folder. [auto]")
@journal_option
@model_options
@json_option
def doctor(config_path: Optional[Path], as_json: bool, **options: Any) -> int:
    """Tell what is wrong with this machine and what to do about it; exit with 1 when something blocks.

    What is meant to run is that of --config, $EDGE_CONFIG or the installed service, and of the other options. Nothing
    is changed. An Edge TPU is tried with MODEL where that is compiled for one. --json is fit to be sent with a report.
    """
    import json

    from edge import doctor as examination

    case = examination.Case(config_path, options)
    sections = []
    for section in examination.examine(case):
        sections.append(section)
        if not as_json:
            click.echo(printable("\n".join(_lines(section))))
    if as_json:
        click.echo(json.dumps(examination.as_json(case, sections)))
    else:
        click.echo(_verdict(sections))
    return 1 if examination.blocked(sections) else 0


def _lines(section: Section) -> Iterator[str]:
    """A section for a person: its name once, a line for each finding, its fix indented below."""
    for number, finding in enumerate(section.findings):
        name = section.name if number == 0 else ""
        yield f"{name:<{_NAME_WIDTH}}{_WORDS[finding.level]:<{_LEVEL_WIDTH}}{finding.what}"
        if finding.fix:
            yield f"{'':<{_NAME_WIDTH + _LEVEL_WIDTH}}-> {finding.fix}"


def _verdict(sections: list[Section]) -> str:
    levels = [finding.level for section in sections for finding in section.findings]
    warnings, blocking = levels.count("warning"), levels.count("blocks")
    told = "nothing blocks" if not blocking else "1 finding blocks" if blocking == 1 else f"{blocking} findings block"
    return f"{told}, {warnings or 'no'} {'warning' if warnings == 1 else 'warnings'}."
