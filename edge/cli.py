"""The command `edge`: its subcommands are in `edge.commands`. The only place that exits."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any

import click

from edge import __version__
from edge.commands import complain
from edge.commands.bench import bench
from edge.commands.classify import classify
from edge.commands.compare import compare
from edge.commands.config import config
from edge.commands.doctor import doctor
from edge.commands.evaluate import evaluate
from edge.commands.export import export
from edge.commands.label import label
from edge.commands.models import models
from edge.commands.reload import reload
from edge.commands.report import report
from edge.commands.review import review
from edge.commands.run import run
from edge.commands.service import service
from edge.commands.status import status
from edge.commands.truth import truth
from edge.errors import EdgeError


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has seen enough, such as `head`, ends it as if all had been told."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # here, because click would make an exit code of 1 of it
            # Keep Python from complaining when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edge")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Classify pictures and live cameras with quantized TensorFlow Lite models."""


for command in (
    run,
    classify,
    evaluate,
    bench,
    models,
    status,
    service,
    reload,
    truth,
    label,
    review,
    report,
    export,
    compare,
    config,
    doctor,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; the only place that exits."""
    code = _main()
    if threading.active_count() > 1:
        # Left behind: a thread that is stuck in a driver. Should it wake while Python winds down, OpenCV would abort.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # gone, closed, never there
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _main() -> int:
    try:
        return int(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 1
    except Exception as error:
        if "--debug" in sys.argv[1:2]:
            raise
        if isinstance(error, (EdgeError, OSError)):
            complain(error)
        else:
            detail = " ".join(str(error).split())
            complain(f"{type(error).__name__}: {detail} (unexpected; `edge --debug …` shows where).")
        return 1


if __name__ == "__main__":
    main()
