"""The command `edge-deploy`: its subcommands are in `deploy.commands`."""

from __future__ import annotations

import click

from deploy.commands.build import build
from deploy.commands.compare import compare
from deploy.commands.compile import compile_
from deploy.commands.convert import convert
from deploy.commands.inspect import inspect
from deploy.commands.models import models
from deploy.commands.split import split
from deploy.commands.train import train
from deploy.commands.verify import verify
from deploy.commands.wheelhouse import wheelhouse
from edge import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edge-deploy")
def cli() -> None:
    """Make the models that `edge` runs, and gather what a device needs. For a laptop or server, not for the device."""


for command in (models, split, train, convert, verify, inspect, compare, compile_, build, wheelhouse):
    cli.add_command(command)


def main() -> None:
    """Entry point of `edge-deploy`."""
    cli()


if __name__ == "__main__":
    main()
