"""The subcommand `edge review`."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import click

from edge.commands import by_option, journal_option, json_option, printable, require_journal, speaker, visible, warn

if TYPE_CHECKING:
    import sqlite3

    from edge.review.store import Picture, Said

_HELP = (
    "Answer with a number, a name or its beginning (=NAME where it looks like one of these), s (skip), o (other: "
    "nothing that a class names), u (undo) or q (quit)."
)
_MOST_TOLD = 8
_LARGEST_ID = 2**63 - 1  # in SQLite


@click.command()
@journal_option
@by_option
@click.option("--open", "open_viewer", is_flag=True, help="Show each picture in the desktop's viewer (xdg-open).")
@click.option("--list", "as_list", is_flag=True, help="List the kept pictures and their labels instead.")
@click.option(
    *("--set", "setting"),
    type=(click.IntRange(1, _LARGEST_ID), str),
    metavar="ID NAME",
    help="Label one picture without asking; (no class) for other.",
)
@json_option
def review(
    journal: Optional[Path],
    by: Optional[str],
    open_viewer: bool,
    as_list: bool,
    setting: Optional[tuple[int, str]],
    as_json: bool,
) -> None:
    """Tell what kept pictures really show, for accuracy in the field.

    They come in random order, so that you may stop at any time: what you have labelled is a random sample.
    """
    from edge.journal import pictures_folder
    from edge.review import store

    if sum((as_list, bool(setting), open_viewer)) > 1 or (as_json and not as_list):
        raise click.UsageError("--list, --set and --open exclude each other, and --json goes with --list.")
    path = require_journal(journal).absolute()
    if as_list:
        _list(path, as_json)
        return
    with contextlib.closing(store.open_to_label(path)) as connection:
        if setting:
            _set(connection, *setting, speaker(by))
        else:
            viewer = _viewer() if open_viewer else None
            _Session(connection, pictures_folder(path), speaker(by), viewer).run()


def _viewer() -> Optional[str]:
    viewer = shutil.which("xdg-open")
    if viewer is None:
        warn("There is no xdg-open here, so pictures are not opened: open them by their paths.")
    return viewer


def _list(path: Path, as_json: bool) -> None:
    import msgspec

    from edge.journal import pictures_folder, schema
    from edge.review import store

    with contextlib.closing(schema.connect_to_read(path)) as connection:
        found = store.pictures(connection)
    files = [pictures_folder(path) / each.file if each.file else None for each in found]
    paths = [printable(str(file)) if file and file.is_file() else None for file in files]
    if as_json:
        told = [{**msgspec.to_builtins(each), "path": path} for each, path in zip(found, paths)]
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
        return
    for each, file in zip(found, paths):
        best = each.predictions[0]
        said = f"{each.label} (said by {each.said_by})" if each.label else "none"
        click.echo(
            f"{each.id}: {_utc(each)}, {best.score:.2f} {visible(best.label)}, {each.stratum}, stands for "
            f"{each.stands_for:g}; label: {visible(said)}; {file or 'picture deleted'}"
        )
    done = sum(each.label is not None for each in found)
    click.echo(
        f"{_count(len(found))}, {done} labelled." if found else "No pictures were kept: see review.keep_pictures."
    )


def _set(connection: sqlite3.Connection, picture_id: int, name: str, by: str) -> None:
    from edge.review import store

    picture = store.picture(connection, picture_id)
    labels = store.labels_of(connection, picture.model_id)
    truth = store.NO_CLASS if name == store.NO_CLASS else _label_of(printable(name), labels)
    store.label(connection, picture.run_id, picture.sequence, truth, by)
    click.echo(f"{picture.id}: {visible(truth)}")


def _label_of(text: str, labels: Sequence[str]) -> str:
    """The class that is called so, or the only one whose name begins so.

    Raises:
        LabelError: there is none, or there are several.
    """
    from edge.errors import LabelError
    from edge.labels import plain
    from edge.truth.live import label_of

    try:
        return label_of(text, labels)
    except LabelError:
        begin = plain(text)
        found = [
            label
            for label in dict.fromkeys(labels)
            if begin and any(plain(name).startswith(begin) for name in (label, *label.split(",")))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
            told = ", ".join(map(repr, found[:_MOST_TOLD]))
            raise LabelError(f"{text!r} begins {told}{more}: type more of it.") from None
        raise


class _Session:
    """Goes through pictures with a person."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, by: str, viewer: Optional[str]) -> None:
        from edge.review import store

        self._connection, self._folder, self._by, self._viewer = connection, folder, by, viewer
        self._pictures = store.unlabelled(connection, folder)
        random.shuffle(self._pictures)
        self._viewers: list[subprocess.Popen[bytes]] = []
        self._said: list[Optional[Said]] = []  # the label of each picture that was gone through; None: skipped

    def run(self) -> None:
        """Ask until there are no more pictures or the person has enough."""
        if not self._pictures:
            click.echo("No pictures wait for a label.")
            return
        click.echo(f"{_count(len(self._pictures))} to label. {_HELP}")
        try:
            while len(self._said) < len(self._pictures):
                self._show(self._pictures[len(self._said)])
                if not self._ask(self._pictures[len(self._said)]):
                    break
        except (EOFError, KeyboardInterrupt):
            click.echo()
        done = sum(each is not None for each in self._said)
        click.echo(f"{done} labelled, {len(self._pictures) - done} still wait.")

    def _show(self, picture: Picture) -> None:
        path = self._folder / picture.file
        click.echo(f"\n{len(self._said) + 1} of {len(self._pictures)}: {printable(str(path))}")
        click.echo(f"{_utc(picture)}{_here(picture)}")
        for number, prediction in enumerate(picture.predictions, start=1):
            click.echo(f"  {number}  {prediction.score:.2f}  {visible(prediction.label)}")
        if self._viewer:
            null: Any = subprocess.DEVNULL
            # Not waited for: some viewers stay until they are closed.
            viewer = subprocess.Popen(
                [self._viewer, path], stdin=null, stdout=null, stderr=null, start_new_session=True
            )
            self._viewers.append(viewer)

    def _ask(self, picture: Picture) -> bool:
        """Until there is an answer; returns whether to go on."""
        from edge.errors import LabelError
        from edge.review import store

        labels = store.labels_of(self._connection, picture.model_id)
        commands: dict[str, Callable[[], object]] = {"s": lambda: self._said.append(None), "u": self._undo}
        while True:
            text = printable(input("What is it? ")).strip()
            if text == "q":
                return False
            if text in commands:
                commands[text]()
                return True
            if not text or text == "?":
                click.echo(_HELP)
                continue
            try:
                truth = store.NO_CLASS if text == "o" else _truth(text, picture, labels)
            except LabelError as error:
                click.echo(visible(str(error)))
                continue
            self._said.append(store.label(self._connection, picture.run_id, picture.sequence, truth, self._by))
            click.echo(f"-> {visible(truth)}")
            return True

    def _undo(self) -> None:
        from edge.review import store

        if not self._said:
            click.echo("Nothing to undo.")
            return
        slip = self._said.pop()
        if slip is not None:
            store.unsay(self._connection, slip)


def _truth(text: str, picture: Picture, labels: Sequence[str]) -> str:
    if text.isdecimal() and 1 <= int(text) <= len(picture.predictions):
        return picture.predictions[int(text) - 1].label
    return _label_of(text[1:] if text.startswith("=") else text, labels)


def _count(pictures: int) -> str:
    return "1 picture" if pictures == 1 else f"{pictures} pictures"


def _utc(picture: Picture) -> str:
    if picture.utc_ns is None:
        return "time unknown"
    return f"{datetime.fromtimestamp(picture.utc_ns // 10**9, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _here(picture: Picture) -> str:
    if picture.utc_ns is None:
        return ""
    return f" ({datetime.fromtimestamp(picture.utc_ns // 10**9).astimezone():%Y-%m-%d %H:%M:%S %Z} here)"
