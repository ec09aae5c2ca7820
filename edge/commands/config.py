"""The subcommand `edge config`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

import click

from edge.commands import CONFIG_VARIABLE, json_option, printable, service_file, set_option, visible, warn
from edge.errors import ConfigError

file_argument = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """Check or show the configuration: FILE, $EDGE_CONFIG, or that of the installed service."""


@config.command()
@file_argument
@set_option
def check(file: Optional[Path], set_: tuple[str, ...]) -> None:
    """Tell all that is wrong with FILE, the environment and --set; exit with 1 when something is."""
    from edge.config import judged, misspelt
    from edge.config.advice import warnings

    path = file or service_file()
    found = judged(path, os.environ, {"set_": set_})
    count = 0
    for sentence in (*misspelt(os.environ), *warnings(found.config, found.origins, found.wrong)):
        warn(visible(printable(sentence)))
        count += 1
    if found.problems:
        raise ConfigError(*found.problems)
    told = f"can be used; see the {count} warnings" if count > 1 else "can be used; see the warning"
    click.echo(printable(f"{path}: {told if count else 'all is well'}."))


@config.command()
@file_argument
@set_option
@json_option
def show(file: Optional[Path], set_: tuple[str, ...], as_json: bool) -> None:
    """Show each key's value, and where it comes from: default, a line of FILE, a variable, --set."""
    import json

    from edge.config import effective
    from edge.config.document import KEYS
    from edge.config.settings import value_of

    path = file or service_file()
    nothing = file is None and CONFIG_VARIABLE not in os.environ and not path.exists()
    found = effective(None if nothing else path, os.environ, {"set_": set_})
    rows = [(key, _harmless(value_of(found.config, key)), found.origins.get(key, "default")) for key in KEYS]
    if as_json:
        click.echo(json.dumps({key: {"value": value, "from": origin} for key, value, origin in rows}))
        return
    texts = [(key, _text(value), visible(origin)) for key, value, origin in rows]
    wide, widest = (max(len(row[column]) for row in texts) for column in (0, 1))
    for key, value, origin in texts:
        click.echo(printable(f"{key:<{wide}}  {value:<{min(widest, 40)}}  {origin}"))


def _harmless(value: Any) -> Any:
    """A value without a password that stands in it."""
    from edge.privacy import without_passwords

    return without_passwords(value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    import json

    return visible(value) if isinstance(value, str) else json.dumps(value)
