"""The subcommand `edge reload`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Optional

import click

from edge.commands import journal_option, require_journal, service_file, visible
from edge.errors import ConfigError, ControlError, NoDaemonError

_EVERY_S = 0.1


@click.command()
@journal_option
@click.option("--timeout", "timeout_s", type=click.FloatRange(1, 600), default=60.0, help="Seconds to wait. [60]")
def reload(journal: Optional[Path], timeout_s: float) -> None:
    """Have a running daemon read its configuration again; when it refuses, its old one goes on."""
    until_s = time.monotonic() + timeout_s
    try:
        path = require_journal(journal)
        number = _ask(path)["number"]
    except (ConfigError, NoDaemonError):  # also where the file names another journal by now
        if not _hung_up():
            raise
        return
    while time.monotonic() < until_s:
        time.sleep(_EVERY_S)
        try:
            outcome = _ask(path, number=number)["outcome"]
        except NoDaemonError:
            raise ControlError(
                f"The daemon on {path} ended before it took over its configuration: its log tells why."
            ) from None
        except ControlError:
            if time.monotonic() + _EVERY_S >= until_s:
                raise
            continue  # between two runs it has no time to answer
        if outcome is None:
            continue
        if "refused" in outcome:
            raise ControlError(f"The daemon refused, and its old configuration goes on: {visible(outcome['refused'])}")
        click.echo(f"reloaded: {visible(', '.join(outcome['changed'])) or 'nothing has changed'}")
        return
    raise ControlError(f"The daemon on {path} has not taken over its configuration within {timeout_s:g} s.")


def _hung_up() -> bool:
    """Ask without the journal's socket, where systemd tells whom: a broken configuration names no journal.

    Raises:
        ConfigError: the daemon will refuse it.
    """
    from edge.config import effective

    pid = os.environ.get("MAINPID", "")
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), signal.SIGHUP)
    except OSError as error:
        raise ControlError(f"Process {pid} of $MAINPID cannot be told to reload: {error.strerror}.") from None
    effective(service_file(), os.environ, {})
    click.echo(f"process {pid} is told to reload: its log tells how that goes")
    return True


def _ask(journal: Path, **request: Any) -> Any:
    from edge.control.client import ask
    from edge.journal import socket_path

    return ask(socket_path(journal), {"do": "reload", **request}, journal=journal)
