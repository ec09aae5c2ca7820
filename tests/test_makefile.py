"""What `make` would do; nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed (sudo apt install make)")


def would_run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    of_make = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "EXTRAS", "PYTHON")  # which may run this test
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    command = ["make", "--dry-run", *arguments, f"VENV={tmp_path}/venv"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("extras", ["mqtt,web", "mqtt web", " mqtt,  web,"])
@pytest.mark.parametrize("target", ["run", "test"])
def test_extras_with_commas_or_spaces_between(tmp_path: Path, target: str, extras: str) -> None:
    done = would_run(tmp_path, target, f"EXTRAS={extras}")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/venv --editable '.[mqtt,web]'" in done.stdout


def test_without_extras_there_are_none(tmp_path: Path) -> None:
    assert "--editable .\n" in would_run(tmp_path, "run").stdout
    assert ".[" not in would_run(tmp_path, "run", "EXTRAS=").stdout


def test_an_extra_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    done = would_run(tmp_path, "run", "EXTRAS=mqtt,webb")
    assert done.returncode == 2
    assert "EXTRAS has webb: expected some of tflite convert report parquet mqtt prometheus web" in done.stderr
    assert done.stdout == ""
