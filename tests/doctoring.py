"""What the tests of `edge doctor` share: trees of files as machines, programs on PATH, findings in short."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

import pytest

from edge.doctor import Case, Finding

TREES = Path(__file__).parent / "fixtures" / "devices"


def case(root: Path = Path("/"), file: Optional[Path] = None, *set_: str, **options: Any) -> Case:
    """A machine, with what the command line says: `key=value` texts as of --set, and options by their names."""
    return Case(file, {"set_": set_, **options}, root)


def levels(findings: Iterable[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def told(findings: Iterable[Finding], level: str) -> str:
    """What was found of a level, each with its fix."""
    return "\n".join(f"{finding.what} -> {finding.fix}" for finding in findings if finding.level == level)


def write(root: Path, path: str, text: str = "") -> Path:
    """A file of a tree."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is found before the system's."""
    path = write(folder / "programs", name, f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")


def package(folder: Path, path: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python module that is found before those that are installed, here and in processes that are started."""
    module = write(folder / "packages", path, code)
    for parent in list(module.parents)[: path.count("/")]:
        (parent / "__init__.py").touch()
    packages = str(folder / "packages")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", packages)
