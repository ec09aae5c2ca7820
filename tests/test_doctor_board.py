"""`edge doctor` about the board, the disk, the clock and the service."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.doctor import board, clock, disk, service
from edge.doctor.processes import properties
from tests.doctoring import TREES, case, levels, program, told, write

MOUNTS = """\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:5 / /dev rw,nosuid - devtmpfs udev rw
24 22 0:26 / /var/lib/in\\040memory rw,nosuid - tmpfs tmpfs rw
25 22 8:1 / /mnt/disk rw shared:9 - ext4 /dev/sda1 rw
"""


def tree(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(TREES / name, folder / name))


def test_a_board_that_tells_nothing_is_not_known(tmp_path: Path) -> None:
    for section in (board.power, board.governor, board.temperature):
        assert levels(section(case(tmp_path))) == ["note"]


def test_a_pi_without_vcgencmd_is_told_how_to_get_it(tmp_path: Path) -> None:
    root = tree("raspberry_pi_5", tmp_path)
    (root / "usr/bin/vcgencmd").unlink()
    assert "sudo apt install" in told(board.power(case(root)), "note")


def test_what_was_since_the_start_is_a_warning_too(tmp_path: Path) -> None:
    root = tree("raspberry_pi_5", tmp_path)
    write(root, "usr/bin/vcgencmd", "#!/bin/sh\necho throttled=0x50000\n").chmod(0o755)
    found = told(board.power(case(root)), "warning")
    assert found.startswith("at some time since the start: under-voltage, throttled. -> use the supply")


def test_a_governor_that_saves_power_is_a_warning(tmp_path: Path) -> None:
    root = tree("raspberry_pi_4", tmp_path)
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    assert "the lowest clock" in told(board.governor(case(root)), "warning")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("sys/class/thermal/thermal_zone0/temp", "the processor has 86.0 °C: from 80 °C on"),
        ("sys/class/apex/apex_0/temp", "the Edge TPU on PCIe has 86.0 °C: from 85 °C on"),
    ],
)
def test_what_is_too_hot_is_a_warning(tmp_path: Path, path: str, words: str) -> None:
    root = tree("coral_dev_board", tmp_path)
    write(root, path, "86000\n")
    found = list(board.temperature(case(root)))
    assert sorted(levels(found)) == ["ok", "warning"]
    assert words in told(found, "warning")


def test_an_sd_card_is_named(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/mountinfo", MOUNTS)
    write(tmp_path, "sys/devices/mmc0/block/mmcblk0/device/type", "SD\n")
    (tmp_path / "sys/devices/mmc0/block/mmcblk0/mmcblk0p2").mkdir()
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/179:2").symlink_to("../../devices/mmc0/block/mmcblk0/mmcblk0p2")
    [finding] = disk.examine(case(tmp_path, None, "journal.path=/var/lib/edge-runner/field.db"))
    assert finding.level == "ok"
    assert finding.what.endswith("GB are free at /, on an SD card.")
    many = "journal.max_bytes_per_day=2000000000"
    found = disk.examine(case(tmp_path, None, "journal.path=/var/lib/edge-runner/field.db", many))
    assert "2000 MB a day, on an SD card, which wears" in told(found, "warning")


def test_a_journal_in_memory_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/mountinfo", MOUNTS)
    (tmp_path / "var/lib/in memory").mkdir(parents=True)
    found = disk.examine(case(tmp_path, None, "journal.path=/var/lib/in memory/field.db"))
    assert "is in memory (tmpfs)" in told(found, "warning")


def test_a_full_disk_is_a_warning(tmp_path: Path) -> None:
    found = disk.examine(case(tmp_path, None, f"journal.min_free_bytes={10**12}"))
    assert "below 1e+06 MB (journal.min_free_bytes) frames get no rows" in told(found, "warning")


@given(st.text(alphabet="0123456789:/ -\\\n\tabc", max_size=80))
def test_no_mountinfo_is_too_odd(text: str) -> None:
    disk.mount_of(Path("/a/b"), text)
    assert disk.mount_of(Path("/mnt/disk/x"), f"{text}\n{MOUNTS}") is not None


def test_the_mount_that_holds_a_folder() -> None:
    places = {path: disk.mount_of(Path(path), MOUNTS) for path in ("/var", "/mnt/disk/a/b", "/mnt/diskette", "/dev")}
    assert {path: mount and mount.kind for path, mount in places.items()} == {
        "/var": "ext4",
        "/mnt/disk/a/b": "ext4",
        "/mnt/diskette": "ext4",
        "/dev": "devtmpfs",
    }
    assert places["/mnt/disk/a/b"] != places["/mnt/diskette"]


def test_a_clock_that_is_set_over_the_network(tmp_path: Path) -> None:
    assert "timedatectl does not tell" in told(clock.examine(case(tmp_path)), "note")
    write(tmp_path, "run/systemd/timesync/synchronized")
    assert levels(clock.examine(case(tmp_path))) == ["ok"]


@pytest.mark.parametrize(
    ("script", "level", "words"),
    [
        ("echo NTP=yes; echo NTPSynchronized=yes", "ok", "over the network"),
        ("echo CanNTP=no; echo NTP=no; echo NTPSynchronized=no", "warning", "no program for network time is installed"),
        ("echo NTP=no; echo NTPSynchronized=no", "warning", "switched off"),
        ("echo NTP=yes; echo NTPSynchronized=no", "warning", "has not been set"),
        ("echo something; exit 1", "note", "not known"),
    ],
)
def test_what_timedatectl_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, level: str, words: str
) -> None:
    if Path("/run/systemd/timesync/synchronized").exists():
        pytest.skip("this machine's clock is set over the network")
    program(tmp_path, "timedatectl", script, monkeypatch)
    [finding, *_] = clock.examine(case())
    assert finding.level == level
    assert words in finding.what


def installed(root: Path) -> Path:
    write(root, "etc/systemd/system/edge-runner.service", "[Unit]\n")
    write(root, "etc/group", "video:x:44:edge-runner,ann\nplugdev:x:46:ann\napex:x:999:\nx:y\n")
    (root / "opt/edge-runner").mkdir(parents=True)
    (root / "opt/edge-runner/current").symlink_to("0.1.0")
    return root


def test_a_service_that_is_not_installed_is_a_note(tmp_path: Path) -> None:
    assert "sudo ./systemd/install.sh" in told(service.examine(case(tmp_path)), "note")


def test_an_installed_service_by_its_files(tmp_path: Path) -> None:
    root = installed(tmp_path)
    found = list(service.examine(case(root)))
    assert "does not start with the machine (disabled)" in told(found, "warning")
    for group in ("plugdev", "apex"):
        assert f"its user edge-runner is not in the group {group}, " in told(found, "warning")
    assert "video" not in told(found, "warning")
    assert "systemctl does not tell" in told(found, "note")
    link = root / "etc/systemd/system/multi-user.target.wants/edge-runner.service"
    link.parent.mkdir()
    link.symlink_to("/etc/systemd/system/edge-runner.service")
    assert "version 0.1.0, and starts with the machine" in told(service.examine(case(root)), "ok")


@pytest.mark.parametrize(
    ("said", "level", "words"),
    [
        ("ActiveState=active StatusText=30.0_fps", "ok", "it runs: 30.0_fps"),
        ("ActiveState=activating SubState=start StatusText=waiting", "warning", "gave no result yet: waiting"),
        ("ActiveState=activating SubState=auto-restart Result=watchdog", "warning", "started again (watchdog)"),
        ("ActiveState=failed Result=exit-code ExecMainStatus=78", "blocks", "(exit code 78). -> `edge config check`"),
        ("ActiveState=failed Result=signal ExecMainStatus=9", "blocks", "(signal). -> `edge service logs`"),
        ("ActiveState=inactive", "warning", "it does not run (inactive)"),
        ("ActiveState=active NRestarts=3 Result=oom-kill", "note", "again 3 times because it ended (oom-kill)"),
        ("", "note", "not known whether it runs"),
    ],
)
def test_what_systemctl_says(said: str, level: str, words: str) -> None:
    assert words in told(service.judge(properties(said.replace(" ", "\n")), enabled=True), level)


def test_systemctl_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.path.exists("/etc/systemd/system/edge-runner.service"):
        pytest.skip("the service is installed here")
    program(tmp_path, "systemctl", "echo ActiveState=failed", monkeypatch)
    assert levels(service.examine(case())) == ["note"]  # what is not installed has no state


@given(st.text(max_size=200))
def test_properties_are_those_lines_that_have_a_value(text: str) -> None:
    assert all(f"{name}={value}" in text for name, value in properties(text).items())
