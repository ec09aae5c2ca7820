"""The subcommand `edge bench`."""

from __future__ import annotations

from typing import Any

import click

from edge.commands import Finite, configured, json_option, model_options


@click.command()
@model_options
@click.option("--seconds", type=Finite(0, 150, min_open=True), default=10.0, show_default=True)
@json_option
def bench(seconds: float, as_json: bool, **options: Any) -> None:
    """Measure latency on this machine: load, first inference, warm-up and steady state apart."""
    import msgspec

    from edge.measuring import bench as benches

    config = configured(None, options)
    result = benches.bench(
        config.model.path,
        runtime=config.runtime,
        seconds=seconds,
        options=config.model.bare,
    )
    click.echo(msgspec.json.encode(result.as_json()) if as_json else benches.text_of(result))
