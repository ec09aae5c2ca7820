"""The subcommands of `edge-deploy`: each module holds one, which parses, calls and prints.

They import what they need when they run, so that `--help` needs nothing heavy.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable

import click

from edge.errors import EdgeError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


def reported(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--debug`; its errors become one sentence on stderr and exit code 1, Ctrl-C exit code 130."""

    @click.option("--debug", is_flag=True, help="Print the traceback of an error.")
    @functools.wraps(function)
    def run(*arguments: Any, debug: bool, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (EdgeError, OSError) as error:
            if debug:
                raise
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            if debug:
                raise
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)

    return run


def as_json(document: Any) -> str:
    """A result as one JSON document, indented."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def say(step: str) -> None:
    """Tell the person at the terminal which step begins."""
    click.echo(f"{step} …", err=True)
