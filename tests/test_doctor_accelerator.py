"""`edge doctor` about Edge TPUs: the kernel's files as trees, trials with the stand-in for libedgetpu."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from edge.doctor import accelerator
from tests.accelerators import bound_by_permissions, machine
from tests.doctoring import TREES, case, levels, told, write
from tests.edgetpu import Standin

DPKG = """\
Package: libedgetpu1-std
Status: install ok installed
Version: 16.0

Package: python3
Status: install ok installed
Version: 3.11.2-1
"""


def of(standin: Standin, model: Path, *set_: str, **options: object) -> list[str]:
    library = f"runtime.library={standin.library}"
    examined = case(Path("/"), None, library, *set_, model=str(model), **options)
    return [f"{each.level}: {each.what} -> {each.fix}" for each in accelerator.examine(examined)]


def test_without_any_nothing_is_asked(tmp_path: Path) -> None:
    assert levels(accelerator.examine(case(tmp_path))) == ["note"]


def test_one_on_usb(tmp_path: Path) -> None:
    found = list(accelerator.examine(case(machine("usb3", tmp_path / "loaded"))))
    assert "an Edge TPU on USB, 2-1, 5000 Mbit/s, with its firmware." in told(found, "ok")
    assert not told(found, "blocks")
    found = list(accelerator.examine(case(machine("usb3_unloaded", tmp_path / "unloaded"))))
    assert "not opened since it was plugged in" in told(found, "ok")


def test_one_on_usb_2_that_somebody_uses(tmp_path: Path) -> None:
    held = "proc/77/fd/5 -> /dev/bus/usb/001/009\nproc/77/comm = python3"
    found = list(accelerator.examine(case(machine("usb2", tmp_path, held))))
    assert "USB 2 (480 Mbit/s)" in told(found, "warning")
    assert "-> put it into a USB 3 port" in told(found, "warning")
    assert "/dev/bus/usb/001/009 is in use by python3 (77)" in told(found, "note")


def test_the_dev_boards_own(tmp_path: Path) -> None:
    root = Path(shutil.copytree(TREES / "coral_dev_board", tmp_path / "board"))
    found = list(accelerator.examine(case(root)))
    assert "an Edge TPU on PCIe, 44.5 °C." in told(found, "ok")
    assert "/dev/apex_0 is not there, as in a container" in told(found, "warning")
    write(root, "dev/apex_0")
    write(root, "sys/class/apex/apex_0/temp", "91000\n")
    write(root, "proc/self/smaps", "KernelPageSize:       16 kB\n")
    found = told(accelerator.examine(case(root)), "warning")
    assert "91 °C" in found
    assert "kernel=kernel8.img" in found
    assert "as in a container" not in found


def test_one_that_is_not_this_users_to_open(tmp_path: Path) -> None:
    root = machine("usb3", tmp_path)
    (root / "dev/bus/usb/002/005").chmod(0o060)
    with bound_by_permissions():
        found = told(accelerator.examine(case(root)), "warning")
    assert "this user may not open /dev/bus/usb/002/005" in found
    assert "60-edge-runner.rules" in found


def test_one_on_pcie_that_belongs_to_its_drivers_group(tmp_path: Path) -> None:
    """gasket-dkms gives it to a group of its own, in which one must be then."""
    root = machine("pcie", tmp_path, f"etc/group = apex:x:{os.getegid()}:somebody")
    (root / "dev/apex_0").chmod(0o060)
    with bound_by_permissions():
        found = told(accelerator.examine(case(root)), "warning")
    assert "this user may not open /dev/apex_0 (group apex, mode 60). -> `sudo usermod -aG apex " in found
    assert "plugdev" not in found


def test_googles_library_beside_a_newer_runtime_is_named(tmp_path: Path) -> None:
    write(machine("usb3", tmp_path), "var/lib/dpkg/status", DPKG)
    found = list(accelerator.examine(case(tmp_path)))
    assert "libedgetpu.so.1: libedgetpu1-std 16.0." in told(found, "ok")
    assert "before 2.12" in told(found, "warning")
    assert "github.com/feranick/libedgetpu" in told(found, "warning")
    found = accelerator.examine(case(tmp_path, None, runtime="edgetpu"))
    assert "before 2.12" in told(found, "blocks")


def test_a_trial_is_the_stand_ins_and_shows_no_times(standin: Standin, compiled_model: Path) -> None:
    found = of(standin, compiled_model / "model_edgetpu.tflite", runtime="edgetpu")
    assert [each.partition(":")[0] for each in found] == ["ok", "warning"]
    assert "STAND-IN" in found[0]
    assert "was answered by a stand-in for tests, not by an Edge TPU" in found[1]
    assert " ms" not in found[1]
    assert len(standin.opened) == 1


def test_each_one_that_is_asked_for_is_tried(standin: Standin, compiled_model: Path) -> None:
    standin.set(devices="usb,usb")
    model = compiled_model / "model_edgetpu.tflite"
    found = of(standin, model, "runtime.device=[usb:0, usb:1, usb:2]", runtime="edgetpu")
    assert sum("stand-in for tests" in each for each in found) == 2
    [finding] = [each for each in found if each.startswith("blocks: ")]
    assert "usb:0, usb:1" in finding


def test_the_old_abi_crashes_in_the_child(standin: Standin, compiled_model: Path) -> None:
    model = compiled_model / "model_edgetpu.tflite"
    library = f"runtime.library={standin.old_abi}"
    found = of(standin, model, library, runtime="edgetpu")
    [finding] = [each for each in found if each.startswith("blocks: ")]
    assert "built on another TensorFlow" in finding
    assert "github.com/feranick/libedgetpu" in finding


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"devices": ""}, "none is plugged in"),
        ({"faults": "create"}, "libedgetpu lists and refuses it"),
        ({"faults": "prepare"}, "Failed to prepare for TPU"),
        ({"faults": "segv"}, "SIGSEGV"),
        ({"faults": "hang-create"}, "no answer in 1 s"),
    ],
)
def test_what_fails_in_a_trial_is_told_with_what_to_do(
    standin: Standin, compiled_model: Path, state: dict[str, str], words: str
) -> None:
    standin.set(**state)
    model = compiled_model / "model_edgetpu.tflite"
    began_s = time.monotonic()
    found = of(standin, model, "runtime.open_s=1", runtime="edgetpu")
    [finding] = [each for each in found if each.startswith("blocks: ")]
    assert words in finding
    assert " -> " in finding
    assert not finding.endswith("None")
    assert time.monotonic() - began_s < 30


def test_what_fails_in_a_trial_blocks_only_who_needs_it(standin: Standin, compiled_model: Path) -> None:
    standin.set(faults="create")
    model = compiled_model / "model_edgetpu.tflite"
    assert not any(each.startswith("blocks: ") for each in of(standin, model, runtime="edgetpu", fallback="cpu"))
    assert not any(each.startswith("blocks: ") for each in of(standin, model))  # its twin lies beside it
    (compiled_model / "model.tflite").rename(compiled_model / "other.tflite")
    assert any(each.startswith("blocks: ") for each in of(standin, model))


def test_without_the_library(compiled_bundle: Path, compiled_model: Path) -> None:
    gone = "runtime.library=/no/such/libedgetpu.so.1"
    examined = case(Path("/"), None, gone, model=str(compiled_model / "model_edgetpu.tflite"), runtime="edgetpu")
    assert "/no/such/libedgetpu.so.1" in told(accelerator.examine(examined), "blocks")
    # A bundle that has a compiled twin too is as well without.
    found = list(accelerator.examine(case(Path("/"), None, gone, model=str(compiled_bundle))))
    assert "/no/such/libedgetpu.so.1" in told(found, "note")
    assert not told(found, "blocks") + told(found, "warning")


def test_a_model_that_does_not_fit_its_runtime_blocks(standin: Standin, compiled_model: Path) -> None:
    found = of(standin, compiled_model / "model.tflite", runtime="edgetpu")
    assert any("is not compiled for an Edge TPU. -> `edge-deploy compile`" in each for each in found)
    found = of(standin, compiled_model / "model_edgetpu.tflite", runtime="litert")
    assert any(each.startswith("blocks: ") and "the runtime litert is the CPU's" in each for each in found)
    assert not standin.opened


@pytest.mark.hardware
def test_a_real_edge_tpu() -> None:
    found = list(accelerator.examine(case()))
    if levels(found) == ["note"]:
        pytest.skip("no Edge TPU is connected")
    assert "an Edge TPU on " in told(found, "ok")
