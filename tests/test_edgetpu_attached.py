"""Which Edge TPUs the kernel shows, from trees of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.runtimes.edgetpu import attached
from edge.runtimes.edgetpu.attached import Holder
from tests.accelerators import bound_by_permissions, machine


def test_no_edge_tpu_is_an_empty_answer(tmp_path: Path) -> None:
    assert attached.usb(tmp_path) == attached.pci(tmp_path) == ()
    assert attached.page_bytes(tmp_path) is None


def test_one_on_usb_3_whose_firmware_is_loaded(tmp_path: Path) -> None:
    (found,) = attached.usb(machine("usb3", tmp_path))
    assert found.path == "/sys/bus/usb/devices/2-1"
    assert (found.loaded, found.speed_mbit_s, found.claimed) == (True, 5000, False)
    assert found.node.path == "/dev/bus/usb/002/005"
    assert (found.node.exists, found.node.may_open, found.node.holders) == (True, True, ())


def test_one_that_was_not_used_yet_has_its_other_identity(tmp_path: Path) -> None:
    (found,) = attached.usb(machine("usb3_unloaded", tmp_path))
    assert (found.loaded, found.node.path) == (False, "/dev/bus/usb/004/007")


def test_one_on_usb_2(tmp_path: Path) -> None:
    (found,) = attached.usb(machine("usb2", tmp_path))
    assert (found.loaded, found.speed_mbit_s) == (True, 480)


@pytest.mark.parametrize("speed", ["", "unknown", "-1", "1e9"])
def test_a_speed_that_is_none_is_not_known(speed: str, tmp_path: Path) -> None:
    (found,) = attached.usb(machine("usb3", tmp_path, f"sys/bus/usb/devices/2-1/speed = {speed}"))
    assert found.speed_mbit_s is None


def test_what_disappears_while_it_is_read_does_no_harm(tmp_path: Path) -> None:
    tree = machine("usb3", tmp_path)
    for name in ("busnum", "devnum", "speed"):
        (tree / "sys/bus/usb/devices/2-1" / name).unlink()
    (found,) = attached.usb(tree)
    assert (found.speed_mbit_s, found.node.exists, found.node.may_open) == (None, False, False)


def test_a_program_that_uses_it_is_named(tmp_path: Path) -> None:
    lines = """
        proc/812/comm = frigate.detecto
        proc/812/fd/0 -> /dev/null
        proc/812/fd/7 -> /dev/bus/usb/002/005
        proc/90/comm = python3
        proc/90/fd/3 -> /dev/bus/usb/002/005
        proc/91/fd/3 -> /dev/bus/usb/002/0055
        sys/bus/usb/devices/2-1/2-1:1.0/driver -> ../../../../bus/usb/drivers/usbfs
    """
    (found,) = attached.usb(machine("usb3", tmp_path, lines))
    assert found.claimed
    assert found.node.holders == (Holder(90, "python3"), Holder(812, "frigate.detecto"))


def test_a_program_of_another_user_is_known_by_its_claim(tmp_path: Path) -> None:
    lines = "sys/bus/usb/devices/2-1/2-1:1.0/driver -> ../../../../bus/usb/drivers/usbfs"
    (found,) = attached.usb(machine("usb3", tmp_path, lines))
    assert (found.claimed, found.node.holders) == (True, ())


def test_this_very_process_is_seen_to_hold_a_file() -> None:
    with open("/dev/zero", "rb"):
        held = {holder.pid for holder in attached.holders("/dev/zero")}
    assert os.getpid() in held


def test_permission_is_this_users(tmp_path: Path) -> None:
    tree = machine("usb3", tmp_path, f"etc/group = plugdev:x:{os.getegid()}:pi")
    node = tree / "dev/bus/usb/002/005"
    node.chmod(0o060)
    with bound_by_permissions():
        (found,) = attached.usb(tree)
        assert (found.node.exists, found.node.may_open) == (True, False)
        assert (found.node.group, found.node.mode) == ("plugdev", 0o060)
    node.chmod(0o666)
    with bound_by_permissions():
        assert attached.usb(tree)[0].node.may_open


def test_one_on_pcie_with_its_driver(tmp_path: Path) -> None:
    (found,) = attached.pci(machine("pcie", tmp_path))
    assert (found.address, found.driver, found.temperature_c, found.alive) == ("0000:01:00.0", "apex", 44.55, True)
    assert found.node is not None
    assert (found.node.path, found.node.may_open, found.node.holders) == ("/dev/apex_0", True, ())


def test_the_driver_of_pcie_names_who_has_it(tmp_path: Path) -> None:
    lines = "sys/class/apex/apex_0/device_owner = 1234\nproc/1234/comm = frigate"
    (found,) = attached.pci(machine("pcie", tmp_path, lines))
    assert found.node is not None
    assert found.node.holders == (Holder(1234, "frigate"),)


def test_one_on_pcie_without_a_driver(tmp_path: Path) -> None:
    tree = machine("pcie_pi5", tmp_path)
    (found,) = attached.pci(tree)
    assert (found.address, found.driver, found.node, found.temperature_c) == ("0000:01:00.0", None, None, None)
    assert attached.page_bytes(tree) == 16_384


@pytest.mark.parametrize("line", ["temp = -88700", "status = DEAD", "status = LAMED"])
def test_one_that_hangs_is_not_alive(line: str, tmp_path: Path) -> None:
    (found,) = attached.pci(machine("pcie", tmp_path, f"sys/class/apex/apex_0/{line}"))
    assert not found.alive
    assert found.temperature_c is None or found.temperature_c > 0


def test_a_driver_without_a_bus_is_seen_too(tmp_path: Path) -> None:
    """As in a container, or on a Coral Dev Board whose tree has no more."""
    (found,) = attached.pci(Path(__file__).parent / "fixtures/devices/coral_dev_board")
    assert (found.address, found.driver) == (None, "apex")
    assert found.node is not None
    assert (found.node.path, found.node.exists) == ("/dev/apex_0", False)


def test_the_size_of_pages_is_the_kernels() -> None:
    assert attached.page_bytes() == os.sysconf("SC_PAGE_SIZE")
