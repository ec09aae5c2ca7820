"""edge-runner's own wheel: built from the checkout that this runs from, or a file."""

from __future__ import annotations

import os
import shutil
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple, Optional

from deploy.wheelhouse import pip_process
from edge.errors import ConfigError, WheelhouseError

_FOLDERS = ("edge", "deploy", "models", "systemd")
_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


class Wheel(NamedTuple):
    """A wheel of edge-runner."""

    path: Path
    version: str
    extras: tuple[str, ...]


def find(given: Optional[Path], scratch: Path) -> Wheel:
    """The wheel to gather for.

    Args:
        given: a wheel; None builds one from the checkout, uncommitted changes included.
        scratch: an existing folder for what is built.

    Raises:
        ConfigError: the file is no wheel of edge-runner, or there is neither a file nor a checkout.
        WheelhouseError: it could not be built.
    """
    return _read(given if given else _build(scratch))


def _read(path: Path) -> Wheel:
    try:
        with zipfile.ZipFile(path) as file:
            name = next(each for each in file.namelist() if each.endswith(".dist-info/METADATA"))
            facts = HeaderParser().parsestr(file.read(name).decode())
    except FileNotFoundError:
        raise ConfigError(f"--wheel {path}: there is no such file.") from None
    except (zipfile.BadZipFile, StopIteration, UnicodeDecodeError, IsADirectoryError):
        raise ConfigError(f"--wheel {path}: expected a wheel, and this is none.") from None
    if facts["Name"] != "edge-runner" or not path.name.startswith("edge_runner-"):
        raise ConfigError(f"--wheel {path}: expected a wheel of edge-runner, edge_runner-VERSION-py3-none-any.whl.")
    return Wheel(path.resolve(), facts["Version"], tuple(facts.get_all("Provides-Extra", [])))


def _build(scratch: Path) -> Path:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "setup.cfg").is_file():
        raise ConfigError(
            "edge-runner is an installed package here: name its wheel with --wheel FILE, or run this from a checkout."
        )
    # A copy, because setuptools leaves files behind in what it builds, and takes in those of an earlier build.
    source = scratch / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    try:
        for name in _FOLDERS:
            shutil.copytree(checkout / name, source / name, ignore=ignored)
        for name in _FILES:
            shutil.copy2(checkout / name, source)
    except shutil.Error as error:
        raise WheelhouseError(f"Cannot copy {checkout}: {error.args[0][0][2]}.") from None
    newest_s = max(path.stat().st_mtime for path in source.rglob("*") if path.is_file())
    epoch = os.environ.get("SOURCE_DATE_EPOCH", str(int(newest_s)))  # the same files make the same wheel
    arguments = ["wheel", "--no-deps", "--wheel-dir", scratch / "built", source]
    pip_process.run(arguments, scratch, environment={"SOURCE_DATE_EPOCH": epoch})
    (wheel,) = (scratch / "built").glob("edge_runner-*.whl")
    return wheel
