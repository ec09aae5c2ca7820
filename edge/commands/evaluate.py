"""The subcommand `edge evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional

import click

from edge.commands import configured, json_option, model_options, opened, warn


@click.command()
@model_options
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML lines `folder: label`, for other names.",
)
@click.option("--index-prefix", is_flag=True, help="Folders begin with their class index, as in 003_tiger_shark.")
@json_option
@click.argument("folder", type=click.Path(path_type=Path))
def evaluate(folder: Path, map_file: Optional[Path], index_prefix: bool, as_json: bool, **options: Any) -> None:
    """Measure accuracy on a folder of pictures in folders named after their class."""
    import msgspec
    from tqdm import tqdm

    from edge.cameras import CameraSettings
    from edge.cameras.directory import Directory
    from edge.measuring import evaluate as evaluation
    from edge.measuring.class_folders import truth_of

    with opened(configured(None, options), evaluation.TOP) as classifier:
        truth = truth_of(
            folder,
            classifier.bundle.labels,
            map_file=map_file,
            index_prefix=index_prefix,
            background_offset=classifier.output.background_offset,
        )
        # By class, not by name: a folder may be called "scene" or "0".
        camera = Directory(CameraSettings(source=str(folder)), warn)
        with tqdm(total=len(camera), unit="picture", disable=not sys.stderr.isatty(), leave=False) as bar:
            result = evaluation.evaluate(classifier, camera, truth, lambda _done: bar.update())
    click.echo(msgspec.json.encode(result.as_json()) if as_json else evaluation.text_of(result))
