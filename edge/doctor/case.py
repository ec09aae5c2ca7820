"""What is examined: a machine, and what it is meant to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from edge import device
from edge.doctor.imports import Imports

if TYPE_CHECKING:
    from edge.config import Config

MODULES = ("numpy", "cv2", "ai_edge_litert.interpreter", "tflite_runtime.interpreter", "picamera2")


class Meant(NamedTuple):
    """What the machine is meant to do."""

    config: Config
    """Where the configuration cannot be used: the defaults, with the journal that it names."""
    origins: dict[str, str]
    """Who gave a key its value."""
    problems: tuple[str, ...]
    """Why the configuration cannot be used; a sentence each."""


class Case:
    """A machine, and what it is meant to do; each part is looked at when it is first asked for."""

    def __init__(self, file: Optional[Path], options: Mapping[str, Any], root: Path = device.ROOT) -> None:
        """Remember.

        Args:
            file: the configuration; None for the installed service's, where there is one.
            options: the command line's; see `edge.config.effective`.
            root: where /proc, /sys, /dev and /etc are; for another than "/" no program of the system is asked.
        """
        self._named = file
        self.root = root
        self._options = options
        self.imports = Imports(MODULES)

    @cached_property
    def file(self) -> Optional[Path]:
        """The configuration; None for none."""
        return self._named or (self._installed if _is_there(self._installed) else None)

    @property
    def _installed(self) -> Path:
        from edge.config import SYSTEM_FILE

        return self.root / str(SYSTEM_FILE).lstrip("/")

    @property
    def is_services(self) -> bool:
        """Whether the configuration is the installed service's, which another user runs."""
        return self.file is not None and (self._named is None or self.file == self._installed)

    @cached_property
    def meant(self) -> Meant:
        """What the configuration, the environment and the command line say."""
        # Here, because it brings numpy, and what is wrong with that is to be told.
        from edge.config import Config, effective, journal_in
        from edge.config.sources import JOURNAL_VARIABLES
        from edge.errors import ConfigError

        try:
            config, origins = effective(self.file, os.environ, self._options)
        except ConfigError as error:
            named = [str(self._options.get("journal") or ""), *map(os.environ.get, JOURNAL_VARIABLES)]
            in_file = journal_in(self.file) if self.file else None
            path = next(filter(None, named), str(in_file) if in_file else None)
            return Meant(_with_journal(Config(), path), {}, error.problems)
        return Meant(config, origins, ())

    @property
    def config(self) -> Config:
        """What the machine is meant to do."""
        return self.meant.config

    @property
    def trials_s(self) -> float:
        """How long trials of Edge TPUs may take."""
        try:
            settings = self.config.runtime
        except Exception:  # numpy cannot be imported, which is told elsewhere; and there will be no trial
            return 0.0
        return len(settings.devices) * (settings.open_s + settings.invoke_s)

    @cached_property
    def board(self) -> device.Device:
        """The board."""
        return device.read(self.root)

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether the device tree says so."""
        return (self.board.model or "").startswith("Raspberry Pi")

    def text(self, path: str) -> Optional[str]:
        """A file below the root, None where it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text("utf-8", "replace")
        except OSError:
            return None


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:  # reading it will tell
        return True
    except OSError:
        return False
    return True


def _with_journal(config: Config, path: Optional[str]) -> Config:
    import msgspec

    return msgspec.structs.replace(config, journal=msgspec.structs.replace(config.journal, path=path))
