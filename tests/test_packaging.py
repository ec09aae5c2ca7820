"""The wheel: installed anywhere, it brings the model, its labels and the systemd files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MODEL, ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked by pip; its dependencies are those of this environment."""
    source = tmp_path_factory.mktemp("source")
    for name in ("edge", "deploy", "models", "systemd"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source, source], check=True)
    wheel = next(source.glob("edge_runner-*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    return target


def python(installed: Path, code: str, cwd: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_model_is_found_from_any_directory(installed: Path, tmp_path: Path) -> None:
    code = f"""
import numpy as np
from edge import Classifier
with Classifier.open({MODEL!r}) as classifier:
    print(classifier.bundle.path)
    print(len(classifier.classify(np.zeros((48, 64, 3), np.uint8)).predictions))
"""
    path, count = python(installed, code, tmp_path).splitlines()
    assert Path(path).is_relative_to(installed)
    assert count == "5"


def test_the_systemd_files_are_inside(installed: Path, tmp_path: Path) -> None:
    printed = python(installed, "from edge.resources import shipped; print(shipped('systemd'))", tmp_path)
    folder = Path(printed.strip())
    assert folder.is_relative_to(installed)
    shipped = {path.name for path in (ROOT / "systemd").iterdir() if path.is_file()}
    assert {path.name for path in folder.iterdir() if path.is_file()} == shipped


def test_the_commands_are_installed(installed: Path, tmp_path: Path) -> None:
    for command in ("edge", "edge-deploy"):
        run = f"runpy.run_path({str(installed / 'bin' / command)!r}, run_name='__main__')"
        code = f"import runpy, sys; sys.argv = [{command!r}, '--help']; {run}"
        assert "Usage" in python(installed, code, tmp_path)
