"""Where settings come from: the file, the environment, the command line. The later one has the last word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge.config.document import KEYS, Found, Given, Problem, found_for, found_in, nearest, shown
from edge.errors import ConfigError

SYSTEM_FILE = Path("/etc/edge-runner/config.yaml")
"""The configuration of the installed service."""
LARGEST_BYTES = 100_000
_PREFIX = "EDGE_"
_OTHERS = ("EDGE_CONFIG", "EDGE_MODELS")  # which are no keys
JOURNAL_VARIABLES = ("EDGE_JOURNAL", "EDGE_JOURNAL_PATH")
VARIABLES = {
    JOURNAL_VARIABLES[0]: "journal.path",
    **{_PREFIX + key.upper().replace(".", "_"): key for key in KEYS},
}
"""Keys by the variable of the environment that sets them."""
OPTIONS = {
    "camera": "camera.source",
    "loop": "camera.loop",
    "realtime": "camera.realtime",
    "isp_resize": "camera.isp_resize",
    "model": "model.path",
    "top": "model.top",
    **{name.rpartition(".")[2]: name for name in KEYS if name.startswith("model.bare.")},
    "runtime": "runtime.name",
    "threads": "runtime.threads",
    "device": "runtime.device",
    "performance": "runtime.performance",
    "fallback": "runtime.fallback",
    "journal": "journal.path",
    "fps": "fps",
}
"""Keys by the name of the command line's option that sets them."""


def in_file(path: Path) -> Iterator[Found]:
    """What a configuration file gives.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:  # no file can have a name with a null byte
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"Cannot read the configuration {path}: {why}.") from None
    if len(content) > LARGEST_BYTES:
        raise ConfigError(f"{path} is no configuration: it holds more than {LARGEST_BYTES} bytes.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise ConfigError(f"{path}:{line}: this is no valid YAML: the byte {byte} is no UTF-8; save it so.") from None
    return found_in(text, str(path))


def in_environment(environment: Mapping[str, str]) -> Iterator[Found]:
    """What variables give; one that is empty gives nothing."""
    for name, key in VARIABLES.items():
        if environment.get(name):
            yield from found_for(key, environment[name], name)


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that means nothing here, and nearly is one that does."""
    names = {name[len(_PREFIX) :]: name for name in (*VARIABLES, *_OTHERS)}
    for name in sorted(environment):
        near = nearest(name[len(_PREFIX) :], names) if name.startswith(_PREFIX) else None
        if near and near != name:
            yield f"The environment's {shown(name)} means nothing here: did you mean {near}?"


def in_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Found]:
    """What options of the command line give, by their names in `OPTIONS`; None, "" and () give nothing.

    What only passes on EDGE_JOURNAL, as click does, counts as the environment's.
    """
    for option, key in OPTIONS.items():
        value = options.get(option)
        if value in (None, "", ()):
            continue
        value = str(value) if isinstance(value, Path) else value
        passed_on = [environment.get(name) for name in JOURNAL_VARIABLES] if option == "journal" else []
        if value not in (str(Path(each)) for each in passed_on if each):
            yield Given(key, value, shown(str(value)), "--" + option.replace("_", "-"))


def in_settings(texts: Iterable[str]) -> Iterator[Found]:
    """What `--set key=value` gives."""
    for text in texts:
        key, equals, value = text.partition("=")
        if equals:
            yield from found_for(key.strip(), value, "--set")
        else:
            yield Problem(f"--set {shown(text)}: expected key=value, such as --set camera.fps=15.")
