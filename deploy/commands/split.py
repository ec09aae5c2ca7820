"""The subcommand `edge-deploy split`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from deploy.commands import as_json, reported
from edge.errors import ConfigError

if TYPE_CHECKING:
    from deploy.pictures.datasets import Dataset, Report

_MOST_NAMED = 10

near_bits_option = click.option(
    "--near-bits",
    type=click.IntRange(-1, 128),
    help="Pictures of a class stay on one side when at most so many bits of 256 differ between their perceptual "
    "hashes; -1: only equal files. [76]",
)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    required=True,
    help="The CSV file to write; an older one is replaced.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another one gives another split.")
@click.option(
    "--shares",
    metavar="A,B,C",
    default="80,10,10",
    show_default=True,
    help="Percent for training, validation and test.",
)
@near_bits_option
@click.option(
    "--copy",
    "copy",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Also make DIR/train/CLASS, DIR/validation/CLASS and DIR/test/CLASS, of hard links where the file system "
    "has them; `edge evaluate DIR/test` then measures on the device.",
)
@click.option("--json", "json", is_flag=True, help="Print one JSON document.")
@reported
def split(
    data: Path, out: Path, seed: int, shares: str, near_bits: Optional[int], copy: Optional[Path], json: bool
) -> None:
    """Divide DATA, a folder with a folder of pictures for each class, into training, validation and test.

    Each class is divided by the same shares. Duplicates, exact and near, stay on one side.
    """
    from tqdm import tqdm

    from deploy.pictures import copies, datasets, split_files

    percent = _percent(shares)
    split_files.check_target(out)
    if copy is not None:
        copies.require_free(copy)
    with tqdm(unit="picture", disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(_done: int, total: int) -> None:
            bar.total = total
            bar.update()

        dataset = datasets.split(data, seed, [share / 100 for share in percent], near_bits, progress)
    datasets.write_split(dataset, out)
    if copy is not None:
        copies.copy_parts(dataset, copy)
    click.echo(as_json(dataset.report()) if json else summary(dataset))


def _percent(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"The shares are {text!r}: expected three percentages such as 80,10,10.") from None


def summary(dataset: Dataset) -> str:
    """A data set's report for a person."""
    from deploy.pictures.datasets import PARTS

    report = dataset.report()
    rows = [(name, *(str(counts[part]) for part in PARTS)) for name, counts in report.counts.items()]
    total = ("all", *(str(sum(counts[part] for counts in report.counts.values())) for part in PARTS))
    table = [("class", *PARTS), *rows, total]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in table
    ]
    lines.append(
        f"duplicates: {report.exact_duplicates} equal files, {report.near_duplicates} near duplicates, all on the side "
        "of what they are like; the column group tells which"
    )
    lines += _listed("the same file in several classes", [", ".join(paths) for paths in report.conflicts])
    lines += _listed("duplicates in several parts", [", ".join(paths) for paths in report.across_parts])
    lines += [f"used as they are: {traits(report)}"] if traits(report) else []
    lines += _listed("left out", report.skipped)
    lines += _listed("not in the split, as they came later", report.unlisted)
    return "\n".join(lines)


def traits(report: Report) -> str:
    """How many pictures are of an unusual kind, such as "3 grey, 1 CMYK"; empty when none is."""
    return ", ".join(f"{count} {_TRAIT_WORDS[trait]}" for trait, count in report.traits.items() if count)


_TRAIT_WORDS = {"tiny": "smaller than 32 px", "grey": "grey", "cmyk": "CMYK", "rotated": "rotated by EXIF"}


def _listed(title: str, entries: Sequence[str]) -> list[str]:
    shown = [f"  {entry}" for entry in entries[:_MOST_NAMED]]
    more = len(entries) - len(shown)
    return [f"{title}: {len(entries)}", *shown, *([f"  and {more} more"] if more else [])] if entries else []
