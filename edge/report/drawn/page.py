"""A report as one page that needs no network: text, tables, and pictures as inline SVG."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import ConfigError
from edge.extras import how_to_install
from edge.report import words
from edge.report.drawn import answers, head, plots, tables
from edge.report.drawn.drawing import PALETTE, Picture, quietly
from edge.report.figures import JournalFigures, Report

TEMPLATE = Path(__file__).with_name("report.html.j2")


class View(NamedTuple):
    """One journal as the template shows it."""

    journal: JournalFigures
    id: str
    period: str
    tiles: list[head.Tile]
    sentences: list[str]
    pictures: list[Picture]
    latency: dict[str, list[tables.LatencyRow]]
    accuracy: list[list[str]]
    classes: list[tuple[str, list[list[str]], answers.Confusion, int]]
    """Of each source: its title, its rows, its confusion, and how many classes are not among the rows."""
    predicted: list[tuple[str, str, str, float]]
    events: list[tuple[str, str, bool, str]]
    runs: list[list[str]]
    machines: list[tables.Facts]


def require() -> None:
    """See that a page can be made, before any time is spent on what is to be on it.

    Raises:
        ConfigError: matplotlib or Jinja2 is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"The page needs {name}, which is not installed: {how_to_install('report')}; or take --json."
            )


def page(report: Report) -> str:
    """The report as HTML; the same report always gives the same page.

    Raises:
        ConfigError: matplotlib or Jinja2 is not installed.
    """
    require()
    import jinja2

    with quietly():
        import matplotlib  # noqa: F401
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    several = len(report.journals) > 1
    text = environment.get_template(TEMPLATE.name).render(
        report=report,
        views=[_view(journal, f"journal-{place}", several) for place, journal in enumerate(report.journals)],
        pictures=plots.of_all(report) if several else [],
        merged=tables.latency(report.latency) if several else {},
        rows=tables.side_by_side(report.journals),
        machines=[tables.machine(journal) for journal in report.journals],
        columns=tables.SIDE_BY_SIDE,
        latency_columns=list(tables.LATENCY_COLUMNS.values()),
        palette=PALETTE,
        made=words.utc(report.made_utc_s),
        most_events=tables.MOST_EVENTS,
        number=words.number,
        listed=words.listed,
    )
    # The template begins with its macros, and their line ends.
    return text.strip() + "\n"


def _view(journal: JournalFigures, name: str, several: bool) -> View:
    return View(
        journal=journal,
        id=name,
        period=head.period(journal),
        tiles=head.tiles(journal),
        sentences=head.sentences(journal),
        # Side by side, each is in the pictures of all: its own would make the page as many times as large.
        pictures=[] if several else plots.of_one(journal, name),
        latency=tables.latency(journal.latency),
        accuracy=answers.accuracy(journal.accuracy),
        classes=[
            (
                head.title(each, journal),
                answers.classes(each),
                answers.confusion(each),
                max(0, len(each.classes) - answers.MOST_ROWS),
            )
            for each in journal.accuracy
            if each.classes
        ],
        predicted=answers.predicted(journal),
        events=tables.events(journal),
        runs=tables.runs(journal),
        machines=tables.machines(journal),
    )


def _shown(value: Any) -> Any:
    """What the template writes: text without what HTML cannot hold, and words for what is not known."""
    if value is None:
        return words.NOT_KNOWN
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return words.clean(value)
    return value
