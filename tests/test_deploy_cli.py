"""The command as a user runs it, without TensorFlow."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PURITY = """
import sys
from deploy.cli import cli
helps = [[name, "--help"] for name in cli.commands]
for arguments in ([], ["--help"], ["--version"], *helps, ["models"], ["models", "--json"]):
    try:
        cli.main(arguments, standalone_mode=False)
    except Exception as error:
        assert type(error).__name__ == "NoArgsIsHelpError", error
heavy = {"tensorflow", "keras", "numpy", "cv2", "yaml", "ai_edge_litert", "flatbuffers"} & set(sys.modules)
assert not heavy, heavy
"""


def edge_deploy(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def build(*arguments: object, pictures: object = "tests", out: object = "unused") -> subprocess.CompletedProcess[str]:
    return edge_deploy("build", *arguments, "--calibrate", pictures, "--out", out)


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PURITY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnet9000"], "No backbone 'resnet9000': expected one of mobilenet_v2, efficientnet_lite0, "),
        (["efficientnet_lite3"], "give --weights FILE, or --weights random for an untrained model."),
        (["efficientnet_lite3", "--weights", "no/such.pth"], "Cannot read the weights no/such.pth: No such file"),
        (["efficientnet_lite0", "--weights", "README.md"], "README.md is no file of weights that can be read"),
        (["efficientnet_lite0", "--calibration-images", "3"], "3 calibration images were asked for"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, photo_files: dict[str, Path]) -> None:
    done = build("--calibration-images", 2, *arguments, pictures=photo_files["cat"].parent)
    assert done.returncode == 1
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_without_pictures_is_one_sentence() -> None:
    done = build("efficientnet_lite0", pictures="tests/fixtures/models")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: tests/fixtures/models holds no pictures")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    done = build("resnet9000", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("arguments", [["build"], ["build", "efficientnet_lite0"], ["demolish"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = edge_deploy(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr


def test_other_peoples_folders_are_safe(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = build("efficientnet_lite0", "--weights", "random", out=tmp_path)
    assert done.returncode == 1
    assert "holds something other than a model bundle" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_the_extra_is_named(photo_files: dict[str, Path], tmp_path: Path) -> None:
    pictures = next(iter(photo_files.values())).parent
    untrained = ["efficientnet_lite0", "--weights", "random", "--calibration-images", 1]
    done = build(*untrained, pictures=pictures, out=tmp_path / "new")
    assert done.returncode == 1
    assert "in the checkout `.venv/bin/pip install -e '.[convert]'`" in done.stderr
    assert not (tmp_path / "new").exists()
