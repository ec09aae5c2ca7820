"""The board, read from trees of files and from the machine that runs the tests."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from edge import device

TREES = Path(__file__).parent / "fixtures" / "devices"
NAMES = sorted(tree.name for tree in TREES.iterdir() if tree.is_dir())
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20
ZONE = Path("sys/class/thermal/thermal_zone0")


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(TREES / name, folder / name))


def live_of(tree: Path) -> dict[str, object]:
    document = device.read_live(tree)
    return {name: getattr(document, name) for name in document.__struct_fields__ if name != "monotonic_ns"}


def with_vcgencmd(tree: Path, script: str) -> Path:
    program = tree / "usr" / "bin" / "vcgencmd"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return tree


def test_a_pi_3_at_its_soft_temperature_limit():
    board = device.read(TREES / "raspberry_pi_3")
    assert board.model == "Raspberry Pi 3 Model B Plus Rev 1.3"
    assert (board.processors, board.machine, board.kernel) == (4, "aarch64", "6.6.31+rpt-rpi-v8")
    assert board.os == "Debian GNU/Linux 12 (bookworm)"
    assert (board.clock_mhz, board.clock_min_mhz, board.clock_max_mhz) == (1400.0, 600.0, 1400.0)
    assert board.throttled == 0x80008
    assert board.throttled_now == board.throttled_since_boot == ("soft temperature limit",)
    assert live_of(TREES / "raspberry_pi_3") == {
        "temperature_c": 42.932,
        "clock_mhz": 1400.0,
        "throttled": 0x80008,
        "governor": "ondemand",
        "memory_available_bytes": 832 * MIB,
        "resident_bytes": 31020 * PAGE_BYTES,
        "load_1min": 2.31,
        "coral_temperature_c": None,
        "throttled_lately": True,
    }


def test_a_pi_4_whose_supply_is_too_weak():
    board = device.read(TREES / "raspberry_pi_4")
    assert (board.model, board.os) == ("Raspberry Pi 4 Model B Rev 1.5", "Debian GNU/Linux 13 (trixie)")
    assert board.memory_total_bytes == 7819 * MIB
    assert (board.temperature_c, board.clock_mhz, board.clock_max_mhz) == (43.329, 600.0, 1800.0)
    assert (board.throttled, board.throttled_now) == (0x50005, ("under-voltage", "throttled"))
    assert board.boot_id == "b1a4c7e0-52d3-4f7c-8a61-0c9e4d2f7a58"
    assert device.read_live(TREES / "raspberry_pi_4").throttled == 0x50005


def test_a_pi_5_that_nothing_holds_back():
    board = device.read(TREES / "raspberry_pi_5")
    assert (board.model, board.kernel) == ("Raspberry Pi 5 Model B Rev 1.0", "6.1.0-rpi7-rpi-2712")
    assert (board.temperature_c, board.clock_mhz, board.governor) == (52.1, 2400.0, "ondemand")
    assert (board.throttled, board.throttled_now, board.throttled_since_boot) == (0, (), ())
    assert board.as_json()["throttled"] == 0  # known to be none, which differs from not known


def test_a_coral_dev_board_tells_its_edge_tpu():
    board = device.read(TREES / "coral_dev_board")
    assert (board.model, board.os) == ("Freescale i.MX8MQ Phanbell", "Mendel GNU/Linux 5 (Eagle)")
    assert board.accelerators == ("Edge TPU (PCIe)",)
    assert (board.temperature_c, board.coral_temperature_c) == (65.0, 44.55)
    assert (board.clock_mhz, board.clock_max_mhz) == (500.0, 1500.0)
    assert not {"governor", "throttled", "throttled_now", "throttled_since_boot", "machine"} & set(board.as_json())


def test_what_is_not_there_is_left_out():
    document = device.read(TREES / "x86_64").as_json()
    assert document["cpu"] == "AMD EPYC"
    assert document["memory_total_bytes"] > document["memory_available_bytes"] > 2**30
    absent = {"model", "temperature_c", "clock_mhz", "governor", "throttled", "throttled_now", "coral_temperature_c"}
    assert not absent & set(document)
    live = device.read_live(TREES / "x86_64")
    assert set(live.as_json()) == {"monotonic_ns", "memory_available_bytes", "resident_bytes", "load_1min"}


def test_an_empty_tree_tells_nothing_but_python(tmp_path):
    assert set(device.read(tmp_path).as_json()) == {"python"}
    assert set(device.read_live(tmp_path).as_json()) == {"monotonic_ns"}


def test_this_machine_is_read():
    board, live = device.read(), device.read_live()
    assert board.kernel
    assert board.machine
    assert board.boot_id
    assert board.memory_total_bytes > board.memory_available_bytes > 0
    assert 0 < live.resident_bytes < board.memory_total_bytes
    assert live.monotonic_ns < device.read_live().monotonic_ns
    assert 0 not in (board.temperature_c, board.clock_mhz)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"garbage\n", b"throttled=\n", b"\0\0", b"-5\n", b"\xff\xfe" * 40_000])
def test_damaged_files_count_as_absent(tmp_path, name, content):
    tree = copy_of(name, tmp_path)
    for path in tree.rglob("*"):
        if path.is_file() and path.name not in ("type", "scaling_governor"):
            path.write_bytes(content)
    board = device.read(tree)
    assert (board.clock_mhz, board.throttled, board.boot_id) == (None, None, None)
    assert (board.processors, board.memory_total_bytes, board.load_1min) == (None, None, None)
    assert (device.read_live(tree).resident_bytes, board.memory_available_bytes) == (None, None)
    assert board.temperature_c in (None, -0.005)  # in thousandths, and possible outdoors


@pytest.mark.parametrize("name", NAMES)
def test_files_that_cannot_be_read_count_as_absent(tmp_path, name):
    tree = copy_of(name, tmp_path)
    broken = [path for path in tree.rglob("*") if path.is_file() and path.name != "type"]
    for number, path in enumerate(broken):
        path.unlink()
        if number % 3 == 0:
            path.symlink_to("/proc/self/mem")  # EIO, as a driver gives that has lost its device
        elif number % 3 == 1:
            os.mkfifo(path)  # nobody ever writes into it
        else:
            path.mkdir()
    assert not set(device.read(tree).as_json()) - {"python", "accelerators"}


def test_an_edge_tpu_that_hangs_has_no_temperature(tmp_path):
    tree = copy_of("coral_dev_board", tmp_path)
    (tree / "sys/class/apex/apex_0/temp").write_text("-89700\n")
    assert device.read_live(tree).coral_temperature_c is None
    second = tree / "sys/class/apex/apex_1"
    second.mkdir()
    (second / "temp").write_text("51300\n")
    assert device.read_live(tree).coral_temperature_c == 51.3
    assert device.read(tree).accelerators == ("Edge TPU (PCIe)", "Edge TPU (PCIe)")


@pytest.mark.parametrize(
    ("ids", "named"), [(("1a6e", "089a"), True), (("18d1", "9302"), True), (("18d1", "4ee7"), False)]
)
def test_an_edge_tpu_on_usb(tmp_path, ids, named):
    port = tmp_path / "sys/bus/usb/devices/2-1"
    port.mkdir(parents=True)
    for name, text in zip(("idVendor", "idProduct", "speed"), (*ids, "5000")):
        (port / name).write_text(f"{text}\n")
    assert device.read(tmp_path).accelerators == (("Edge TPU (USB, 5000 Mbit/s)",) if named else None)


def test_since_boot_is_told_by_vcgencmd_alone(tmp_path):
    """The kernel's file forgets after 2 s."""
    tree = copy_of("raspberry_pi_3", tmp_path)
    with_vcgencmd(tree, "echo throttled=0x50008")
    assert device.read(tree).throttled_since_boot == ("under-voltage", "throttled")
    assert device.read_live(tree).throttled == 0x80008
    (tree / "usr/bin/vcgencmd").unlink()
    board = device.read(tree)
    assert (board.throttled, board.throttled_now) == (0x80008, ("soft temperature limit",))
    assert board.throttled_since_boot is None


@pytest.mark.parametrize(
    "script", ["exit 1", "echo nonsense", "echo VCHI initialization failed; exit 255", "echo throttled=0x5; exit 3"]
)
def test_a_vcgencmd_that_fails_tells_nothing(tmp_path, script):
    assert device.read_live(with_vcgencmd(tmp_path, script)).throttled is None


def test_a_vcgencmd_that_cannot_be_started_tells_nothing(tmp_path):
    (with_vcgencmd(tmp_path, "") / "usr/bin/vcgencmd").write_text("#!/no/such/interpreter\n")
    assert device.read_live(tmp_path).throttled is None


def test_a_vcgencmd_that_never_returns_is_ended(tmp_path):
    """Also what it started, which holds its output open."""
    with_vcgencmd(copy_of("raspberry_pi_5", tmp_path), f"sleep 600 & echo $! $$ > {tmp_path}/ids; wait")
    live = device.read_live(tmp_path / "raspberry_pi_5")
    assert (live.throttled, live.temperature_c) == (None, 52.1)
    for process in (tmp_path / "ids").read_text().split():
        state = Path(f"/proc/{process}/stat")
        give_up_s = time.monotonic() + 5  # one that was killed may have to be scheduled once more to be gone
        while state.exists() and state.read_text().split()[2] != "Z" and time.monotonic() < give_up_s:
            time.sleep(0.01)
        assert not state.exists() or state.read_text().split()[2] == "Z"  # whoever adopted it may not have looked yet


@pytest.mark.parametrize("name", NAMES)
def test_trees_are_small_and_hold_nothing_private(name):
    files = [path for path in (TREES / name).rglob("*") if path.is_file()]
    assert len(files) < 25
    assert not any("Serial" in path.read_text() for path in files)


@pytest.mark.hardware
def test_a_real_raspberry_pi():
    board, live = device.read(), device.read_live()
    if "Raspberry Pi" not in (board.model or ""):
        pytest.skip(f"no Raspberry Pi: {board.model or board.cpu}")
    assert 0 < live.temperature_c < 100
    assert board.clock_min_mhz <= live.clock_mhz <= board.clock_max_mhz
    assert live.throttled is not None
    assert live.throttled & ~0xF000F == 0
    assert live.governor
    assert 0 < live.resident_bytes < live.memory_available_bytes < board.memory_total_bytes
    assert board.processors in (1, 4)
