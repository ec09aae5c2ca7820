"""The subcommand `edge status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import click

from edge.commands import journal_option, json_option, require_journal, visible

_INDENT = "  "


@click.command()
@journal_option
@json_option
def status(journal: Optional[Path], as_json: bool) -> None:
    """Show what a running daemon does: model, frames, truth, journal, board."""
    import json

    from edge.control.client import ask
    from edge.journal import socket_path

    path = require_journal(journal)
    answer = ask(socket_path(path), {"do": "status"}, journal=path)
    click.echo(json.dumps(answer) if as_json else "\n".join(lines(answer)))


def lines(document: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """A document as lines for a person: names aligned, groups indented, numbers with the units that names end in.

    Inside a group, what holds neither a group nor a sentence is told in one line.
    """
    groups = {name for name, value in document.items() if _is_group(value, depth)}
    width = max((len(_title(name)) for name in document if name not in groups), default=0) + 1
    for name, value in document.items():
        heading = f"{_title(name)}:"
        if name not in groups:
            yield f"{heading:<{width}} {_text(name, value)}"
            continue
        yield heading
        inner = lines(value, depth + 1) if isinstance(value, Mapping) else (_text(name, row) for row in value)
        yield from (_INDENT + line for line in inner)


def in_units(duration_s: float) -> str:
    """A duration in the two largest units that it fills: "250 ms", "12.3 s", "3 min 12 s", "2 d 5 h"."""
    if abs(duration_s) < 1:
        return f"{_number(duration_s * 1000)} ms"
    if abs(duration_s) < 60:
        return f"{_number(duration_s)} s"
    whole = round(abs(duration_s))
    sizes = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    largest = next(index for index, (_, size) in enumerate(sizes) if whole >= size)
    parts = []
    for unit, size in sizes[largest : largest + 2]:
        count, whole = divmod(whole, size)
        parts += [f"{count} {unit}"] if count else []
    return ("-" if duration_s < 0 else "") + " ".join(parts)


def _bytes(number: float) -> str:
    size = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{_number(size)} {unit}"
        size /= 1000
    return f"{_number(size)} TB"


def _number(number: float) -> str:
    """Whole numbers in full, others with three digits that count."""
    if number == int(number) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


_UNITS: dict[str, Callable[[float], str]] = {
    "_bytes": _bytes,
    "_c": lambda number: f"{number:.1f} °C",
    "_mhz": lambda number: f"{_number(number)} MHz",
    "_ms": lambda number: f"{_number(number)} ms",
    "_ns": lambda number: in_units(number / 1e9),
    "_px": lambda number: f"{_number(number)} px",
    "_s": in_units,
}


def _unit(name: str) -> Optional[str]:
    return next((suffix for suffix in _UNITS if name.endswith(suffix) and name != suffix), None)


def _title(name: str) -> str:
    return visible(name.removesuffix(_unit(name) or "").replace("_", " "))


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        unit = _unit(name)
        return _UNITS[unit](value) if unit else _number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(name, each) for each in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{_title(each)} {_text(each, told)}" for each, told in value.items()) or "none"
    return visible(str(value))


def _is_group(value: Any, depth: int) -> bool:
    """Whether it has lines of its own: an object that holds something, or a list of such, which get a line each."""
    if isinstance(value, Mapping):
        return bool(value) and (depth == 0 or any(_is_group(each, 0) or _is_sentence(each) for each in value.values()))
    return (
        isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, Mapping) and each for each in value)
    )


def _is_sentence(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(".")
