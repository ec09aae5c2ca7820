"""What an examination finds, and how grave it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Optional

import msgspec

Level = Literal["ok", "note", "warning", "blocks"]
"""All is well; worth knowing, or not known; wrong, but it works; with this it does not work."""
_HOME = re.compile(r"/home/[^/\s:'\"]+")


class Finding(msgspec.Struct, frozen=True):
    """One line of an examination."""

    level: Level
    what: str
    fix: Optional[str] = None
    """What to do about it."""


class Section(msgspec.Struct, frozen=True):
    """What was found about one thing."""

    name: str
    findings: tuple[Finding, ...]


def ok(what: str) -> Finding:
    """All is well."""
    return Finding("ok", what)


def note(what: str, fix: Optional[str] = None) -> Finding:
    """Worth knowing, or not known."""
    return Finding("note", what, fix)


def warning(what: str, fix: str) -> Finding:
    """It works, and something is wrong."""
    return Finding("warning", what, fix)


def blocks(what: str, fix: str) -> Finding:
    """With this, what is configured does not work."""
    return Finding("blocks", what, fix)


def fit_to_send(finding: Finding) -> Finding:
    """A finding that may be shown to others: no passwords, no name of a home folder, nothing that paints."""
    return Finding(finding.level, _harmless(finding.what), None if finding.fix is None else _harmless(finding.fix))


def _harmless(text: str) -> str:
    from edge.privacy import without_passwords

    line = " ".join(without_passwords(text).split())
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    try:
        home = str(Path.home())
    except (RuntimeError, KeyError):  # a user without a name, as in a container
        home = ""
    if len(home) > 1:
        line = re.sub(rf"{re.escape(home)}(?![\w-]|\.\w)", "~", line)
    return _HOME.sub("~", line)
