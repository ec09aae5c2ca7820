"""systemd/: what can be told of the unit and its installer without a systemd; the rest is tried in tests/vm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import config
from tests.conftest import ROOT

SYSTEMD = ROOT / "systemd"
WHEEL = "edge_runner-1.2.3-py3-none-any.whl"
PYTHON = "/usr/bin/python3"


@pytest.fixture
def folder() -> Iterator[Path]:
    """The scripts and a wheel where every user may read them."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        shutil.copytree(SYSTEMD, path / "systemd")
        (path / WHEEL).touch()
        yield path


def install(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, str(folder / "systemd" / "install.sh"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def installable() -> None:
    if not shutil.which("systemctl"):
        pytest.skip("systemctl is not installed")
    usable = subprocess.run(["sh", SYSTEMD / "venv.sh", PYTHON], check=False, capture_output=True, text=True)
    if usable.returncode:
        pytest.skip(f"{PYTHON}: {usable.stderr.strip()}")


def test_a_dry_run_prints_the_commands_in_their_order_and_runs_none(folder: Path, installable: None) -> None:
    (folder / "wheels").mkdir()
    before = sorted(folder.rglob("*"))
    result = install(folder, "--dry-run", "--offline", "wheels", f"--wheel={WHEEL}")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    steps = [
        rf"venv\.sh {PYTHON} /opt/edge-runner/1\.2\.3 .*--no-index --find-links \S+/wheels \S+/{WHEEL}$",
        r"edge config check /etc/edge-runner/config\.yaml$",
        r"mv .*/etc/systemd/system/edge-runner\.service$",
        r"mv .* /opt/edge-runner/current$",
        r"systemctl --quiet enable edge-runner$",
        r"systemctl --no-block start edge-runner$",
    ]
    lines = iter(result.stdout.splitlines())
    for step in steps:
        assert any(re.search(step, line) for line in lines), f"{step} is missing or too early in:\n{result.stdout}"
    assert sorted(folder.rglob("*")) == before
    assert not Path("/opt/edge-runner/1.2.3").exists()


@pytest.mark.parametrize(
    ("asked", "installed"),
    [
        ("mqtt,web", r"\[mqtt,web\]"),
        (" web,,mqtt, web", r"\[web,mqtt\]"),
        ("none,web", r"\[web\]"),
        ("none", ""),
        (",", ""),
    ],
)
def test_extras_that_are_asked_for_are_installed(folder: Path, installable: None, asked: str, installed: str) -> None:
    offers(folder / WHEEL, "mqtt", "web")
    result = install(folder, "--dry-run", "--wheel", WHEEL, "--extras", asked)
    assert result.returncode == 0, result.stderr
    (pip,) = (line.replace("\\", "") for line in result.stdout.splitlines() if " sh " in line)
    assert re.search(rf"venv\.sh {PYTHON} \S+ .*/{WHEEL}{installed}$", pip)


def test_an_extra_that_is_not_there_is_named_with_those_that_are(folder: Path, installable: None) -> None:
    offers(folder / WHEEL, "mqtt", "web")
    refused = [
        install(folder, "--dry-run", "--wheel", WHEEL, "--extras", each).stderr for each in ("web,mqt", "*", "mqtt]")
    ]
    assert refused == [
        f"edge-runner: --extras: edge-runner 1.2.3 has no {name}: expected some of mqtt, web, or none to have none of "
        "them.\n"
        for name in ("mqt", "*", "mqtt]")
    ]


def offers(wheel: Path, *extras: str) -> None:
    """Make it a wheel that has these extras."""
    with zipfile.ZipFile(wheel, "w") as file:
        lines = ["Metadata-Version: 2.1", "Name: edge-runner", *(f"Provides-Extra: {extra}" for extra in extras)]
        file.writestr("edge_runner-1.2.3.dist-info/METADATA", "\n".join(lines) + "\n")


def test_python_below_a_home_is_refused(folder: Path, installable: None) -> None:
    python = folder / "python3"
    python.write_text(
        f'#!/bin/sh\n[ "$2" = "import sys; print(sys.base_prefix)" ] && exec echo /home/pi/own\nexec {PYTHON} "$@"\n'
    )
    python.chmod(0o755)
    result = install(folder, "--dry-run", "--wheel", WHEEL, "--python", str(python))
    assert result.returncode == 1
    assert result.stderr == (
        f"edge-runner: {python} lives in a home folder, which the service does not see: "
        "give one of the system (--python /usr/bin/python3).\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--wheels"], "unknown argument --wheels"),
        (["--wheel"], "--wheel needs a value"),
        (["--purge"], "--purge goes with --uninstall only"),
        (["--dry-run", "--wheel", "none.whl"], "--wheel none.whl: there is no such file"),
        (["--dry-run", "--wheel", "systemd/venv.sh"], "expected a wheel of edge-runner"),
        (["--dry-run", "--offline", "none"], "--offline none: expected a folder of wheels"),
        (["--dry-run", "--offline", "systemd"], "holds no edge_runner-*.whl"),
        (["--dry-run"], "is not in a checkout of edge-runner: give --wheel FILE"),
        (["--dry-run", "--python", "no-such-python"], "no-such-python was not found: install Python 3.9 to 3.13"),
        (["--dry-run", "--wheel", WHEEL, "--extras", "web"], "cannot be read: expected a wheel of edge-runner"),
        (["--rollback", "--extras", "web"], "--extras goes with an installation or an upgrade only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_sentence(
    folder: Path, installable: None, arguments: list[str], sentence: str
) -> None:
    result = install(folder, *arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_only_root_can_install(folder: Path, installable: None) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    result = install(folder, "--wheel", WHEEL, before=nobody if os.geteuid() == 0 else ())
    assert result.returncode == 1
    assert "only root can install a service: sudo " in result.stderr
    assert result.stderr.rstrip().endswith(f"/systemd/install.sh --wheel {WHEEL}")


def test_the_unit_is_clean_and_hardened(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "edge-runner.service"
    text = (SYSTEMD / "edge-runner.service").read_text()
    unit.write_text(text.replace("/opt/edge-runner/current/bin/edge", shutil.which("true") or "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in scored.stderr:
        pytest.skip("this systemd cannot score a unit that is not loaded")
    assert scored.returncode == 0, scored.stdout


def test_the_first_configuration_waits_for_a_camera_and_records(folder: Path) -> None:
    given = config.read(folder / "systemd" / "config.yaml")
    assert given.camera.source == "camera"
    assert given.journal.path == "/var/lib/edge-runner/field.db"
