"""The subcommands of `edge service`."""

from __future__ import annotations

import os
import shlex
import signal
import sys

import click

from edge.errors import ControlError
from edge.resources import UNIT


@click.group()
def service() -> None:
    """Look at the installed service, or start it again, through systemd; each tells the command that it runs."""


@service.command()
def status() -> None:
    """Show whether systemd has it running, since when, and the last lines of its log."""
    _become(["systemctl", "--no-pager", "status", UNIT])


@service.command()
@click.option("-f", "--follow", is_flag=True, help="Wait for more until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, help="The last so many lines. [50]")
def logs(follow: bool, lines: int) -> None:
    """Show the last lines of its log."""
    _become(["journalctl", "--no-pager", "--unit", UNIT, "--lines", str(lines), *["--follow"] * follow])


@service.command()
def restart() -> None:
    """Start it again; does not wait until it is READY, which without a camera takes long."""
    _become(["systemctl", "--no-block", "restart", UNIT])


def _become(command: list[str]) -> None:
    """Tell a command, and be replaced by it, so that its exit code and what it makes of signals are its own.

    Raises:
        ControlError: it is not installed.
    """
    click.echo(f"+ {shlex.join(command)}", err=True)
    sys.stderr.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise ControlError(
            f"{command[0]} cannot be run ({error.strerror}): the service runs on systems with systemd, "
            "where systemd/install.sh installs it."
        ) from None
