"""The board, read from recorded trees and from the machine that runs the tests."""

import shutil
from pathlib import Path

import pytest

from edge import device

TREES = Path(__file__).parent / "fixtures" / "device"


def test_pi4_through_the_kernels_files():
    board = device.read(TREES / "pi4")
    assert board.model == "Raspberry Pi 4 Model B Rev 1.5"
    assert (board.processors, board.machine, board.kernel) == (4, "aarch64", "5.15.32-v8")
    assert (board.temperature_c, board.clock_mhz, board.governor) == (42.932, 600.0, "ondemand")
    assert board.throttled == 0x80008
    assert board.throttled_now == ("soft temperature limit",)
    assert board.throttled_since_boot == ("soft temperature limit",)


def test_pi5_through_vcgencmd():
    board = device.read(TREES / "pi5")
    assert board.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert board.os == "Debian GNU/Linux 12 (bookworm)"
    assert (board.throttled, board.throttled_now, board.throttled_since_boot) == (0, (), ())
    assert board.as_json()["throttled"] == 0  # known to be none, which differs from not known


def test_what_is_not_there_is_left_out():
    document = device.read(TREES / "x86").as_json()
    assert document["cpu"] == "AMD EPYC"
    assert document["memory_total_bytes"] > document["memory_available_bytes"] > 2**30
    absent = {"model", "temperature_c", "clock_mhz", "governor", "throttled", "throttled_now", "throttled_since_boot"}
    assert not absent & set(document)


def test_an_empty_tree_tells_nothing_but_python(tmp_path):
    assert set(device.read(tmp_path).as_json()) == {"python"}
    assert device.read_live(tmp_path) == device.Live()


def test_this_machine_is_read():
    board = device.read()
    assert board.kernel
    assert board.machine
    assert board.memory_total_bytes > board.memory_available_bytes > 0
    assert 0 not in (board.temperature_c, board.clock_mhz)


@pytest.mark.parametrize("text", ["", "garbage\n", "throttled=\n", "\0\0"])
def test_damaged_files_count_as_absent(tmp_path, text):
    tree = tmp_path / "board"
    shutil.copytree(TREES / "pi4", tree)
    for path in tree.rglob("*"):
        if path.is_file():
            path.write_text(text)
    board = device.read(tree)
    assert (board.temperature_c, board.clock_mhz, board.throttled) == (None, None, None)
    assert (board.processors, board.memory_total_bytes, board.load_1min) == (None, None, None)


@pytest.mark.parametrize(
    "script", ["exit 1", "echo nonsense", "echo VCHI initialization failed; exit 255", "echo throttled=0x5; exit 3"]
)
def test_a_vcgencmd_that_fails_tells_nothing(tmp_path, script):
    program = tmp_path / "usr" / "bin" / "vcgencmd"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert device.read_live(tmp_path).throttled is None


@pytest.mark.parametrize(
    ("text", "bits"), [("throttled=0x50005\n", 0x50005), ("throttled=0x0", 0), ("80000\n", 0x80000), ("x", None)]
)
def test_throttled_text(text, bits):
    assert device.parse_throttled(text) == bits


def test_throttled_words():
    assert device.throttled_now(0x50005) == ("under-voltage", "throttled")
    assert device.throttled_since_boot(0x50005) == ("under-voltage", "throttled")
    assert device.throttled_since_boot(0x2) == ()


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ([0, 0, 0], ()),
        ([0x50000, 0x50000], ()),  # before the run
        ([0, 0x4, 0x40000], ("throttled",)),
        ([0x40000, 0x50000], ("under-voltage",)),  # came and went between two readings
        ([0x2], ("frequency capped",)),
    ],
)
def test_throttled_during_a_run(readings, words):
    assert device.throttled_during(readings) == words
