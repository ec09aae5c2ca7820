"""The configuration: YAML, environment and command line to frozen records; all that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

from edge.config import sources
from edge.config.checking import Judged, judge
from edge.config.document import Found, Given
from edge.config.settings import DEFAULT_MODEL, Config, ModelSettings
from edge.config.sources import SYSTEM_FILE, misspelt
from edge.errors import ConfigError

__all__ = [
    "DEFAULT_MODEL",
    "SYSTEM_FILE",
    "Config",
    "Effective",
    "ModelSettings",
    "effective",
    "journal_in",
    "judged",
    "misspelt",
    "read",
]


class Effective(NamedTuple):
    """A configuration, and who said what."""

    config: Config
    origins: dict[str, str]
    """Who gave a key its value; keys that have their defaults are left out."""


def read(path: Path) -> Config:
    """Read a configuration file alone; what it leaves out has the defaults of `Config`.

    Raises:
        ConfigError: see `effective`.
    """
    return effective(path, {}, {}).config


def effective(path: Optional[Path], environment: Mapping[str, str], options: Mapping[str, Any]) -> Effective:
    """The configuration that holds: defaults, under the file, under the environment, under the command line.

    Args:
        path: the file; None: there is none.
        environment: `EDGE_` and a key's path in capitals, such as EDGE_CAMERA_SOURCE; EDGE_JOURNAL is journal.path.
        options: the command line's, by their names in `sources.OPTIONS`, and the texts of `--set` as "set_", which
            have the last word.

    Raises:
        ConfigError: the file cannot be read or is not YAML; keys are unknown, types wrong, or values impossible: a
            sentence for each of all the problems.
    """
    found = judged(path, environment, options)
    if found.problems:
        raise ConfigError(*found.problems)
    return Effective(found.config, found.origins)


def judged(path: Optional[Path], environment: Mapping[str, str], options: Mapping[str, Any]) -> Judged:
    """What is right of a configuration, and all that is wrong; see `effective`.

    Raises:
        ConfigError: the file cannot be read, is too large, or is not UTF-8.
    """

    def found() -> Iterator[Found]:
        if path:
            yield from sources.in_file(path)
        yield from sources.in_environment(environment)
        yield from sources.in_options(options, environment)
        yield from sources.in_settings(options.get("set_") or ())

    return judge(found())


def journal_in(path: Path) -> Optional[Path]:
    """The journal that a configuration file names, whatever else is wrong with it; None: none, or it cannot be read."""
    try:
        found = list(sources.in_file(path))
    except ConfigError:
        return None
    named = [each.value for each in found if isinstance(each, Given) and each.key == "journal.path"]
    return Path(named[-1]) if named and isinstance(named[-1], str) else None
