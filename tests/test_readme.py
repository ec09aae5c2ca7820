"""The commands of README.md run, as they stand, in a folder with the files that they name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.edgetpu import Standin, compiled

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].partition("|")[0].strip()
    for language, block in BLOCKS
    for line in block.splitlines()
    if not language and line.startswith("edge ")
]
# What a README shows and a test cannot wait for, or does not have.
SHORTER = {
    "--seconds 600": "--seconds 2",
    "--seconds 60": "--seconds 1",
    "--config config.yaml": "--config config.yaml --camera scene --frames 3",
}
# They speak to a running daemon.
ASKING = ("edge status", "edge truth")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, np.ndarray], tiny: Any) -> Path:
    """photo.jpg, pictures/, models and config.yaml as README.md names them."""
    path = tmp_path_factory.mktemp("readme")
    coffee = cv2.cvtColor(photos["coffee"], cv2.COLOR_RGB2BGR)
    (path / "pictures" / "espresso").mkdir(parents=True)
    cv2.imwrite(str(path / "photo.jpg"), coffee)
    cv2.imwrite(str(path / "pictures" / "espresso" / "1.jpg"), coffee)
    shutil.copy(tiny["softmax_uint8"], path / "mobilenet.tflite")
    shutil.copy(tiny["softmax_float32"], path / "float.tflite")
    shutil.copy(tiny.labels, path / "labels.txt")
    (path / "config.yaml").write_text(next(block for language, block in BLOCKS if language == "yaml"))
    return path


@pytest.fixture
def edge_tpus(
    folder: Path, tiny: Any, standin: Standin, compiled_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stand-ins for Edge TPUs, and the models that README.md names for them."""
    standin.set(devices="usb,usb")
    monkeypatch.setenv("EDGE_RUNTIME_LIBRARY", standin.library)
    shutil.copytree(compiled_bundle, folder / "my_bundle", dirs_exist_ok=True)
    (folder / "x_edgetpu.tflite").write_bytes(compiled(tiny["softmax_uint8"].read_bytes()))
    shutil.copy(tiny["softmax_uint8"], folder / "x.tflite")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, folder: Path, request: pytest.FixtureRequest) -> None:
    if "edgetpu" in command or "my_bundle" in command:
        request.getfixturevalue("edge_tpus")
        command = command.replace("edge run", "edge run --camera scene --frames 3")
    if "/dev/video" in command or "rtsp://" in command:
        pytest.skip("needs the camera that it names")
    for long, short in SHORTER.items():
        command = command.replace(long, short)
    if ".enabled=true" in command:
        command = f"{command} --camera scene --seconds 1"
    with running(folder) if command.startswith(ASKING) else nullcontext():
        result = edge(folder, *shlex.split(command)[1:])
    assert result.returncode == 0, result.stderr
    assert result.stdout + result.stderr


def edge(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """A daemon that records to the journal that the README names."""
    command = [sys.executable, "-m", "edge", "run", "--camera", "scene", "--journal", "field.db", "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.terminate()
        process.stdout.read()


def test_the_python_lines_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    scope: dict[str, Any] = {}
    exec(next(block for language, block in BLOCKS if language == "python"), scope)
    assert scope["record"].predictions[0].label in ("espresso", "cup")


def test_links_lead_to_files() -> None:
    for path in ROOT.glob("**/README.md"):
        if any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts):
            continue
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert os.path.exists(path.parent / link), f"{path} links to {link}"
