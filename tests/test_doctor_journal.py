"""`edge doctor` about the configuration and the journal."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.control.server import Control
from edge.doctor import configuration, journal, models
from edge.journal import socket_path
from tests.accelerators import bound_by_permissions
from tests.doctoring import case, levels, told, write


def of(path: Path) -> list[str]:
    return [f"{each.level}: {each.what} -> {each.fix}" for each in journal.examine(case(Path("/"), None, journal=path))]


def test_none_and_a_new_one(tmp_path: Path) -> None:
    assert levels(journal.examine(case())) == ["note"]
    [new, nobody] = of(tmp_path / "field.db")
    assert new.startswith("ok: ")
    assert "will be made with the first run" in new
    assert "nobody records" in nobody


def test_another_file_blocks(tmp_path: Path) -> None:
    notes = write(tmp_path, "notes.txt", "Buy milk.\n" * 100)
    [finding] = of(notes)
    assert finding.startswith(f"blocks: {notes} is no journal but another file")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    assert "but no journal of edge" in of(tmp_path / "other.db")[0]
    assert "is a folder" in of(tmp_path)[0]


def test_one_of_somebody_else_is_not_judged(tmp_path: Path) -> None:
    theirs = write(tmp_path, "theirs/field.db", "nobody's business")
    for path in (theirs, theirs.parent):
        path.chmod(0)
        with bound_by_permissions():
            [finding] = of(theirs)
        assert finding.startswith(f"warning: this user may not look at {theirs}")
        path.chmod(0o700)


def test_a_place_where_this_user_may_make_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with bound_by_permissions():
        [finding, _] = of(tmp_path / "new" / "field.db")
    tmp_path.chmod(0o700)
    assert finding.startswith(f"warning: this user may not make {tmp_path}/new/field.db. -> give another place")


def test_the_services_journal_that_is_not_for_this_user_is_no_fault(tmp_path: Path) -> None:
    theirs = write(tmp_path, "var/lib/edge-runner/field.db")
    write(tmp_path, "etc/edge-runner/config.yaml", f"journal:\n  path: {theirs}\n")
    theirs.parent.chmod(0)
    with bound_by_permissions():
        [finding] = journal.examine(case(tmp_path))
    theirs.parent.chmod(0o700)
    assert (finding.level, finding.what) == ("note", f"this user may not look at {theirs}; the service may.")


def test_one_that_a_daemon_writes(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    command = [sys.executable, "-m", "edge", "run", "--camera", "scene", "--json", "--journal", str(path)]
    daemon = subprocess.Popen([*command, "--set", "journal.commit_s=0.1"], stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout is not None
        for _ in range(20):
            daemon.stdout.readline()
        found = of(path)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=30)
    assert any(f"ok: {path}: 1 run" in finding for finding in found)
    assert any("a daemon, since " in finding and "records to it" in finding for finding in found)
    [file, nobody] = of(path)
    assert file.startswith(f"ok: {path}: 1 run, 0.")
    assert nobody.startswith("note: nobody records to")


def test_a_daemon_that_cannot_record(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    status = {"journal": {"why": "the disk is full"}, "since_utc": "2026-01-01", "frames": 3, "backend": "cpu"}
    control = Control(socket_path(path), {"status": lambda _: status})
    try:
        assert any(finding.startswith("warning: ") and "the disk is full" in finding for finding in of(path))
    finally:
        control.close()


def test_the_configuration_that_is_named(tmp_path: Path) -> None:
    good = write(tmp_path, "good.yaml", "camera: {source: scene}\n")
    assert told(configuration.examine(case(Path("/"), good)), "ok") == f"{good} can be used. -> None"
    bad = write(tmp_path, "bad.yaml", "camera: {fps: none}\nmodel: {paht: x}\n")
    found = list(configuration.examine(case(Path("/"), bad)))
    assert levels(found) == ["blocks", "blocks"]
    assert "bad.yaml:1: camera.fps is none" in told(found, "blocks")
    assert "did you mean model.path?" in told(found, "blocks")
    doubtful = write(tmp_path, "doubtful.yaml", "motion: {threshold: 0.5}\n")
    assert "has no effect without gate: motion" in told(configuration.examine(case(Path("/"), doubtful)), "warning")
    assert "Cannot read" in told(configuration.examine(case(Path("/"), tmp_path / "absent.yaml")), "blocks")


def test_without_a_file_a_model_is_told_of_once(tiny: Any) -> None:
    for of in (["model.path=my_bundle"], [f"model.path={tiny['softmax_uint8']}", "runtime.name=edgetpu"]):
        found = list(configuration.examine(case(Path("/"), None, *of)))
        assert (levels(found), told(found, "warning")) == (["note"], "")
    found = list(configuration.examine(case(Path("/"), None, "runtime.device=usb:0")))
    assert told(found, "warning").endswith("-> correct it.")


def test_the_installed_services_configuration(tmp_path: Path) -> None:
    assert levels(configuration.examine(case(tmp_path))) == ["note"]
    write(tmp_path, "etc/edge-runner/config.yaml", "fps: never\n")
    assert "fps is never" in told(configuration.examine(case(tmp_path)), "blocks")


@pytest.mark.parametrize("option", ["runtime", "model"])
def test_an_option_that_is_wrong_blocks(option: str) -> None:
    examined = case(Path("/"), None, **{option: "nonsense"})
    section = configuration if option == "runtime" else models
    assert "nonsense" in told(section.examine(examined), "blocks")
