"""`edge doctor` as a whole: on trees of files as other machines, on this one, and when a section itself fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli import cli
from edge.doctor import SECTIONS, Section, as_json, examine
from tests.doctoring import TREES, case, package, program, told, write

SLOW = ("numpy", "runtimes", "models")
"""Sections that start Python, for tests of the others."""


def examined(root: Path, *set_: str) -> dict[str, Section]:
    return {section.name: section for section in examine(case(root, None, *set_))}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SLOW:
        monkeypatch.delitem(SECTIONS, name)
    monkeypatch.setattr("edge.doctor.case.MODULES", ("picamera2",))


def doctor(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *map(str, arguments)], env=environment, standalone_mode=False)


def test_other_machines_are_told_from_their_files(quick: None) -> None:
    found = {}
    for name in ("raspberry_pi_3", "raspberry_pi_4", "raspberry_pi_5", "coral_dev_board", "x86_64"):
        found[name] = examined(TREES / name)
        assert list(found[name]) == list(SECTIONS)
        assert not [
            finding for section in found[name].values() for finding in section.findings if "could not" in finding.what
        ]
    power = {name: [(each.level, each.what) for each in found[name]["power"].findings] for name in found}
    assert power["raspberry_pi_3"][0] == ("warning", "now: soft temperature limit.")
    assert power["raspberry_pi_4"] == [("warning", "now: under-voltage, throttled.")]
    assert "supply" in told(found["raspberry_pi_4"]["power"].findings, "warning")
    assert power["raspberry_pi_5"] == [("ok", "nothing is throttled now, nor was since the start.")]
    assert power["x86_64"] == power["coral_dev_board"] == [("note", "not known: only a Raspberry Pi tells it.")]
    assert "an Edge TPU on PCIe, 44.5 °C" in told(found["coral_dev_board"]["accelerator"].findings, "ok")
    assert "there is no Edge TPU, and none is asked for" in told(
        found["raspberry_pi_5"]["accelerator"].findings, "note"
    )
    assert "a CSI camera would not be seen" in told(found["raspberry_pi_5"]["camera"].findings, "note")
    assert "CSI" not in told(found["x86_64"]["camera"].findings, "note")
    assert "ondemand, 600 to 1400 MHz" in told(found["raspberry_pi_3"]["governor"].findings, "ok")
    assert "no clock of its own" in told(found["raspberry_pi_3"]["clock"].findings, "note")


def test_this_machine_is_well_enough_for_the_drawn_scene(tmp_path: Path) -> None:
    result = doctor("--camera", "scene", "--journal", tmp_path / "field.db", "--json")
    document = json.loads(result.stdout)
    assert result.return_value == 0, document
    assert document["ok"] is True
    assert set(document) == {"ok", "versions", "device", "sections"}
    assert {"edge-runner", "numpy", "msgspec"} <= set(document["versions"])
    assert document["device"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert list(document["sections"]) == list(SECTIONS)
    [model, *_] = document["sections"]["models"]
    assert model["what"].startswith("efficientnet_lite0_int8: answers its golden input as promised on ")


def test_a_person_gets_a_line_and_a_fix_for_each_finding(quick: None, tmp_path: Path) -> None:
    config = write(tmp_path, "config.yaml", "camera: {source: camera, fpss: 3}\nfps: fast\njournal: {path: x.db}\n")
    result = doctor("--config", config, EDGE_CAMERA_SOURC="x")
    assert result.return_value == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("configuration  BLOCKS   ")
    assert "unknown key camera.fpss: did you mean camera.fps?" in lines[0]
    assert lines[1].startswith(" " * 24 + "-> ")
    assert lines[2].startswith(" " * 15 + "BLOCKS   ")
    assert any(line.startswith(" " * 15 + "warning  ") and "EDGE_CAMERA_SOURC" in line for line in lines)
    assert {line[:15].strip() for line in lines[:-1]} - {""} == set(SECTIONS)
    assert lines[-1].startswith("2 findings block, ")
    journal = next(line for line in lines if line.startswith("journal"))
    assert "x.db will be made" in journal  # the one that the file names, whatever else is wrong with it


def test_what_is_sent_holds_no_password_and_no_home(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    camera = "rtsp://ann:secret@camera.local/stream?token=secret"
    journal = write(tmp_path, "field.db", "this is no journal, but something that somebody wrote")
    result = doctor("--camera", camera, "--journal", journal, "--json")
    assert result.return_value == 1
    assert "secret" not in result.stdout
    assert str(tmp_path) not in result.stdout
    assert "~/field.db is no journal but another file" in result.stdout


def test_a_user_without_a_name_or_a_home_is_answered_too(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container has them."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    found = examined(TREES / "x86_64")
    assert found["python"].findings
    assert "RuntimeError" not in str(found)


def test_a_section_that_fails_is_a_finding_itself(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "sections.py", "def one(case):\n    yield from ()\n    1 / 0\n", monkeypatch)
    monkeypatch.setitem(SECTIONS, "clock", "sections:one")
    monkeypatch.setitem(SECTIONS, "disk", "nowhere:one")
    found = examined(TREES / "x86_64")
    assert "could not be looked into: ZeroDivisionError" in told(found["clock"].findings, "warning")
    assert "could not be looked into: ModuleNotFoundError" in told(found["disk"].findings, "warning")


def test_a_section_that_hangs_does_not_keep_the_others(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "hanging.py", "import threading\ndef one(case):\n    threading.Event().wait()\n", monkeypatch)
    monkeypatch.setitem(SECTIONS, "python", "hanging:one")
    monkeypatch.setattr("edge.doctor.LONGEST_S", 0.0)  # so that what a trial may take is left
    found = examined(TREES / "x86_64", "runtime.open_s=1", "runtime.invoke_s=0.05")
    assert "did not end in time" in told(found["python"].findings, "warning")
    assert told(found["clock"].findings, "note")


def test_without_numpy_it_still_tells_that(tmp_path: Path) -> None:
    write(tmp_path, "numpy/__init__.py", "raise ImportError('libopenblas.so.0: cannot open shared object file')\n")
    result = subprocess.run(
        [sys.executable, "-m", "edge", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(result.stdout)
    assert result.returncode == 1, result.stderr
    [finding] = document["sections"]["numpy"]
    assert finding["level"] == "blocks"
    assert "numpy cannot be imported (ImportError: libopenblas.so.0: cannot open" in finding["what"]
    assert document["sections"]["python"][0]["level"] == "ok"


def test_the_system_is_asked_for_this_machine_only(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("systemctl", "timedatectl", "vcgencmd", "dpkg-query"):
        program(tmp_path, name, f"touch {tmp_path}/asked-{name}", monkeypatch)
    examined(TREES / "x86_64")
    assert not list(tmp_path.glob("asked-*"))


def test_as_json_of_nothing_is_well() -> None:
    assert as_json(case(TREES / "x86_64"), [])["ok"] is True
