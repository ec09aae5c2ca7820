"""The files that ship beside the code, from a checkout as from an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

UNIT = "edge-runner"
"""The service's name in systemd, its user's, and that of its folders."""


def shipped(folder: Literal["models", "systemd"]) -> Path:
    """The folder of that name: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / folder
    return installed if installed.is_dir() else package.parent / folder
