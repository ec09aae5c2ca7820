"""Why an Edge TPU cannot be used: one sentence for each cause, with what to do."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from edge.runtimes.edgetpu import attached, build, diagnosis
from edge.runtimes.edgetpu.library import Interpreter, Package, list_devices
from edge.runtimes.settings import RuntimeSettings
from tests.accelerators import GOOGLES, bound_by_permissions, machine
from tests.edgetpu import Standin

NO_LIBRARY = RuntimeSettings(library="/nowhere/libedgetpu.so.1")
"""So that only the tree tells."""
LITERT = Interpreter("ai-edge-litert", "2.3.0")
REFUSED = "Failed to load delegate from libedgetpu.so.1\n"
USBFS = "sys/bus/usb/devices/2-1/2-1:1.0/driver -> ../../../../bus/usb/drivers/usbfs\n"
RELEASES = "github.com/feranick/libedgetpu/releases"


def why(tree: Path, device: str = "any", stage: str = "delegate", said: str = REFUSED) -> str:
    assert ": " not in diagnosis.explain(stage, said, NO_LIBRARY, device, tree).fix
    sentence = diagnosis.why(stage, said, NO_LIBRARY, device, tree)
    assert_one_sentence(sentence)
    return sentence


def assert_one_sentence(text: str) -> None:
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text
    assert not text.endswith("..")


def test_none_is_plugged_in(tmp_path: Path) -> None:
    assert why(tmp_path) == (
        "The Edge TPU cannot be opened because none is plugged in (no 1a6e:089a or 18d1:9302 on USB, no 1ac1:089a on "
        "PCIe): plug it in; `lsusb` shows it."
    )


def test_one_that_was_unplugged(tmp_path: Path) -> None:
    sentence = why(tmp_path, "usb:0", "inference", "its process died of SIGABRT")
    assert sentence.startswith("The Edge TPU usb:0 failed because it is no longer plugged in (")


@pytest.mark.parametrize(
    ("device", "there"),
    [("usb:1", "usb:0 is"), ("pci:0", "usb:0 is"), ("pci", "usb:0 is")],
)
def test_a_number_beyond_what_is_connected(device: str, there: str, tmp_path: Path) -> None:
    sentence = why(machine("usb3", tmp_path), device)
    assert f"because only {there} connected: name another, or any." in sentence


def test_several_that_are_connected_are_named(tmp_path: Path) -> None:
    assert "because only usb:0, usb:1 are connected" in why(machine("usb_two", tmp_path), "usb:7")


def test_no_permission_and_no_rule_yet(tmp_path: Path) -> None:
    tree = machine("usb3", tmp_path, f"etc/group = root:x:{os.getegid()}:")
    (tree / "dev/bus/usb/002/005").chmod(0o060)
    with bound_by_permissions():
        user = pwd.getpwuid(os.geteuid()).pw_name
        assert why(tree, "usb:0") == (
            "The Edge TPU usb:0 cannot be opened because this user may not open /dev/bus/usb/002/005: "
            "`sudo cp systemd/60-edge-runner.rules /etc/udev/rules.d/60-edge-runner.rules && sudo udevadm control "
            f"--reload && sudo udevadm trigger`, `sudo usermod -aG plugdev {user}`, and log in again."
        )


def test_no_permission_though_the_rule_is_there(tmp_path: Path) -> None:
    with bound_by_permissions():
        user = pwd.getpwuid(os.geteuid()).pw_name
    tree = machine("usb3", tmp_path, f"etc/group = plugdev:x:46:{user}\netc/udev/rules.d/60-edge-runner.rules = x")
    (tree / "dev/bus/usb/002/005").chmod(0o000)
    with bound_by_permissions():
        assert why(tree).endswith("/dev/bus/usb/002/005: `sudo udevadm control --reload && sudo udevadm trigger`.")


@pytest.mark.parametrize(("name", "node"), [("usb3", "dev/bus/usb/002/005"), ("pcie", "dev/apex_0")])
def test_a_user_who_is_not_in_the_group(name: str, node: str, tmp_path: Path) -> None:
    tree = machine(name, tmp_path, f"etc/group = plugdev:x:{os.getegid()}:somebody,another")
    (tree / node).chmod(0o060)
    with bound_by_permissions():
        user = pwd.getpwuid(os.geteuid()).pw_name
        assert why(tree).endswith(
            f"this user may not open /{node}: `sudo usermod -aG plugdev {user}`, and log in again."
        )


def test_a_user_who_is_in_the_group_from_the_next_login_on(tmp_path: Path) -> None:
    with bound_by_permissions():
        user = pwd.getpwuid(os.geteuid()).pw_name
    tree = machine("usb3", tmp_path, f"etc/group = plugdev:x:{os.getegid()}:pi,{user}")
    (tree / "dev/bus/usb/002/005").chmod(0o060)
    with bound_by_permissions():
        assert why(tree).endswith(
            f"{user} being in the group plugdev only from the next login on: log in again, or restart the service."
        )


def test_one_that_a_program_uses(tmp_path: Path) -> None:
    lines = f"{USBFS}proc/812/comm = python3\nproc/812/fd/7 -> /dev/bus/usb/002/005"
    assert why(machine("usb3", tmp_path, lines)).endswith(
        "because process 812 (python3) has /dev/bus/usb/002/005 open: end it, or name another device."
    )


def test_one_that_another_users_program_uses(tmp_path: Path) -> None:
    assert why(machine("usb3", tmp_path, USBFS)).endswith(
        "because another user's process has /dev/bus/usb/002/005 open: "
        "`sudo fuser -v /dev/bus/usb/002/005` tells which, end it."
    )


def test_the_process_that_uses_one_on_pcie(tmp_path: Path) -> None:
    tree = machine("pcie", tmp_path, "sys/class/apex/apex_0/device_owner = 77")
    assert "because process 77 has /dev/apex_0 open" in why(tree, "pci:0")


def test_a_container_without_the_node(tmp_path: Path) -> None:
    tree = machine("usb3", tmp_path)
    (tree / "dev/bus/usb/002/005").unlink()
    assert "because /dev/bus/usb/002/005 is not there: give this container" in why(tree)


def test_firmware_that_is_not_taken(tmp_path: Path) -> None:
    sentence = why(machine("usb3_unloaded", tmp_path), "usb:0", said="no answer in 60 s")
    assert "its firmware is not taken (it stays 1a6e:089a at /sys/bus/usb/devices/4-2)" in sentence
    assert "18d1:9302" in sentence


def test_numbers_follow_the_paths(tmp_path: Path) -> None:
    lines = "proc/9/fd/3 -> /dev/bus/usb/002/006\nproc/8/fd/3 -> /dev/bus/usb/002/005"
    tree = machine("usb_two", tmp_path, lines)
    assert "process 8 has" in why(tree, "usb:0")
    assert "process 9 has" in why(tree, "usb:1")


def test_pcie_comes_first_where_any_is_asked_for(tmp_path: Path) -> None:
    machine("usb3", tmp_path, "proc/5/fd/3 -> /dev/bus/usb/002/005")
    tree = machine("pcie", tmp_path, "proc/4/fd/3 -> /dev/apex_0")
    assert "process 4 has /dev/apex_0 open" in why(tree, "any")


def test_pages_that_the_driver_of_pcie_cannot_use(tmp_path: Path) -> None:
    tree = machine("pcie_pi5", tmp_path)
    assert why(tree) == (
        "The Edge TPU cannot be opened because this kernel's pages are of 16 KiB and the driver (gasket) needs 4: on a "
        "Raspberry Pi 5 put kernel=kernel8.img into /boot/firmware/config.txt and start it again."
    )
    assert_one_sentence(diagnosis.large_pages(tree) or "")
    assert diagnosis.large_pages(machine("pcie", tmp_path / "other")) is None


def test_no_driver_for_pcie(tmp_path: Path) -> None:
    tree = machine("pcie_pi5", tmp_path, "proc/self/smaps = KernelPageSize: 4 kB")
    assert "because 0000:01:00.0 on PCIe has no driver: install gasket-dkms" in why(tree)


def test_one_on_pcie_that_hangs(tmp_path: Path) -> None:
    tree = machine("pcie", tmp_path, "sys/class/apex/apex_0/temp = -88700")
    assert "because it hangs: switch the machine off" in why(tree)


def test_transfers_on_pcie_that_never_end(tmp_path: Path) -> None:
    sentence = why(machine("pcie", tmp_path), "pci:0", "inference", "no answer in 2 s")
    assert sentence.startswith(
        "The Edge TPU pci:0 failed because there was no answer in 2 s: add gasket.dma_bit_mask=32"
    )


def test_what_the_driver_of_pcie_tells_is_a_warning(tmp_path: Path) -> None:
    tree = machine("pcie", tmp_path, "sys/class/apex/apex_0/temp = 91200")
    assert "because it is at 91 °C and slows itself down from 85 °C on: cool it." in why(tree)
    assert diagnosis.ailing(attached.pci(tree)[0]) == (
        "Of /dev/apex_0 the driver tells that it is at 91 °C and slows itself down from 85 °C on: cool it."
    )
    hangs = machine("pcie", tmp_path / "hangs", "sys/class/apex/apex_0/status = DEAD")
    assert diagnosis.ailing(attached.pci(hangs)[0]) == (
        "Of /dev/apex_0 the driver tells that it hangs: switch the machine off and on again, and cool it."
    )
    assert diagnosis.ailing(attached.pci(machine("pcie", tmp_path / "well"))[0]) is None


def test_a_clock_that_the_package_does_not_give_is_a_warning() -> None:
    std, most = Package("libedgetpu1-std", "16.0tf2.19.1-1"), Package("libedgetpu1-max", "16.0tf2.19.1-1")
    sentence = diagnosis.held_back(RuntimeSettings(performance="max"), std)
    assert sentence is not None
    assert_one_sentence(sentence)
    assert "libedgetpu1-std gives an Edge TPU on USB no more than high" in sentence
    assert diagnosis.held_back(RuntimeSettings(performance="high"), std) is None
    assert diagnosis.held_back(RuntimeSettings(performance="max"), most) is None
    assert diagnosis.held_back(RuntimeSettings(performance="max"), None) is None


def test_usb_2_is_a_warning_once_the_firmware_is_loaded(tmp_path: Path) -> None:
    sentence = diagnosis.slow_link(attached.usb(machine("usb2", tmp_path))[0])
    assert sentence is not None
    assert sentence.startswith("The Edge TPU at /sys/bus/usb/devices/1-3 is on USB 2 (480 Mbit/s) and works slower: ")
    assert diagnosis.slow_link(attached.usb(machine("usb3", tmp_path / "3"))[0]) is None
    unloaded = machine("usb3_unloaded", tmp_path / "unloaded", "sys/bus/usb/devices/4-2/speed = 480")
    assert diagnosis.slow_link(attached.usb(unloaded)[0]) is None


@pytest.mark.parametrize(
    "said", ["its process died of SIGABRT (F driver/usb/usb_driver.cc:1148] transfer in failed)", "no answer in 2 s"]
)
def test_a_transfer_on_usb_that_fails(said: str, tmp_path: Path) -> None:
    sentence = why(machine("usb3", tmp_path), "usb:0", "inference", said)
    assert f"{said}, as when a transfer on USB fails: use another cable" in sentence


def test_one_that_only_libedgetpu_sees_and_refuses(standin: Standin, tmp_path: Path) -> None:
    settings = RuntimeSettings(library=standin.library)
    standin.set(devices="usb,usb")
    assert diagnosis.why("delegate", REFUSED, settings, "usb:1", tmp_path) == (
        "The Edge TPU usb:1 cannot be opened because libedgetpu lists and refuses it, as when another program uses it: "
        "end that, or unplug it and plug it in again."
    )
    assert "only usb:0, usb:1 are connected" in diagnosis.why("delegate", REFUSED, settings, "usb:2", tmp_path)
    standin.set(devices="")
    assert "none is plugged in" in diagnosis.why("delegate", REFUSED, settings, "usb:1", tmp_path)


def test_a_crash_when_the_model_is_loaded_points_to_the_build(standin: Standin, tmp_path: Path) -> None:
    settings = RuntimeSettings(library=standin.old_abi)
    sentence = diagnosis.why("allocate", "its process died of SIGSEGV", settings, "usb", tmp_path)
    assert_one_sentence(sentence)
    assert "its process died of SIGSEGV, as when libedgetpu is built on another TensorFlow than " in sentence
    assert RELEASES in sentence


def test_a_model_for_a_newer_runtime(tmp_path: Path) -> None:
    said = (
        "Failed to prepare for TPU. Failed precondition: Package requires runtime version (14), which is newer than "
        "this runtime version (13).Node number 1 (EdgeTpuDelegateForCustomOp) failed to prepare."
    )
    sentence = why(machine("usb3", tmp_path), "any", "allocate", said)
    assert "compiled for Edge TPU runtime 14 and this libedgetpu has 13: " in sentence
    assert "`edgetpu_compiler --min_runtime_version 13`" in sentence


def test_whatever_else_is_said_is_told(tmp_path: Path) -> None:
    sentence = why(machine("usb3", tmp_path), "any", "allocate", "Something\n  new. ")
    assert 'because TensorFlow Lite says "Something new": unplug it' in sentence


# Loading the library


def not_loaded(library: str, said: str, root: Path, interpreter: Interpreter = LITERT) -> str:
    problem, fix = build.not_loaded(said, library, interpreter, root)
    assert ": " not in fix
    assert_one_sentence(f"{problem}: {fix}.")
    return f"{problem}: {fix}"


MISSING = "libedgetpu.so.1: cannot open shared object file: No such file or directory"


def test_the_library_is_missing(tmp_path: Path) -> None:
    tree = machine("usb3", tmp_path)
    told = not_loaded("libedgetpu.so.1", MISSING, tree)
    assert told.startswith(
        "libedgetpu.so.1 is not installed: `sudo apt install ./libedgetpu1-std_16.0tf2.19.1-1.bookworm"
    )
    assert told.endswith(f".deb`, a file from {RELEASES} (PyPI has none)")
    old = not_loaded("libedgetpu.so.1", MISSING, tree, Interpreter("tflite-runtime", "2.11.0"))
    assert old.endswith("install libedgetpu1-std from Coral's apt repository (coral.ai/software) (PyPI has none)")


def elf(path: Path, machine: int) -> Path:
    """The head of a library for some processor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytearray(Path(sys.executable).read_bytes()[:64])
    head[18:20] = machine.to_bytes(2, "little")
    path.write_bytes(head)
    return path


@pytest.mark.parametrize(
    ("release", "machine", "told"),
    [
        ("bookworm", 0xB7, "`sudo apt install ./libedgetpu1-std_16.0tf2.19.1-1.bookworm_arm64.deb`, a file from "),
        ("trixie", 0xB7, "`sudo apt install ./libedgetpu1-std_16.0tf2.19.1-1.trixie_arm64.deb`, a file from "),
        ("noble", 0x3E, "`sudo apt install ./libedgetpu1-std_16.0tf2.19.1-1.ubuntu24.04_amd64.deb`, a file from "),
        ("bookworm", 0x28, "where you see whether there is one for bookworm on armhf"),
        ("forky", 0xB7, "where you see whether there is one for forky on arm64"),
        (None, 0xF3, "where you see whether there is one for this system"),
    ],
)
def test_the_package_for_a_system_is_named(
    release: str | None, machine: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(elf(tmp_path / "python", machine)))
    if release:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/os-release").write_text(f"ID=x\nVERSION_CODENAME={release}\n")
    advice = build.advice(LITERT, tmp_path)
    assert told in advice
    assert RELEASES in advice


def test_the_library_is_for_another_processor(tmp_path: Path) -> None:
    """The dynamic loader calls it missing, which `list_devices` shows for a path."""
    other = 0xB7 if Path(sys.executable).read_bytes()[18] != 0xB7 else 0x3E
    path = elf(tmp_path / "usr/lib/arm-linux-gnueabihf/libedgetpu.so.1", 0x28)
    assert f"{path} is for 32-bit ARM and this Python for 64-bit " in not_loaded("libedgetpu.so.1", MISSING, tmp_path)
    path = elf(tmp_path / "libedgetpu.so.1", other)
    problem = list_devices(str(path)).problem
    assert problem == f"{path}: cannot open shared object file: No such file or directory"
    assert f"{path} is for 64-bit " in not_loaded(str(path), problem, tmp_path)


def test_the_library_is_there_and_not_found(tmp_path: Path) -> None:
    path = elf(tmp_path / "usr/local/lib/libedgetpu.so.1", Path(sys.executable).read_bytes()[18])
    told = not_loaded("libedgetpu.so.1", MISSING, tmp_path)
    assert told == f"{path} is there and the loader does not find it: `sudo ldconfig`"


def test_a_library_by_a_path_where_none_is(tmp_path: Path) -> None:
    path = str(tmp_path / "libedgetpu.so")
    problem = list_devices(path).problem
    assert problem is not None
    told = not_loaded(path, problem, tmp_path)
    assert told == f"there is no {path}: correct runtime.library, or leave it out"


def test_the_file_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "libedgetpu.so.1"
    path.write_text("<html>404</html>")
    problem = list_devices(str(path)).problem
    assert problem is not None
    assert not_loaded(str(path), problem, tmp_path).startswith(f"{path} is no library: install libedgetpu1-std")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "libusb-1.0.so.0: cannot open shared object file: No such file or directory",
            "libedgetpu.so.1 needs libusb-1.0.so.0, which is not installed: `sudo apt install libusb-1.0-0`, or ",
        ),
        (
            "libflatbuffers.so.2: cannot open shared object file: No such file or directory",
            "libedgetpu.so.1 needs libflatbuffers.so.2, which is not installed: "
            "`sudo apt install the package that has libflatbuffers.so.2`, or ",
        ),
        (
            "/lib/aarch64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by libedgetpu.so.1)",
            "libedgetpu.so.1 is built for a newer system, one with GLIBC_2.38: ",
        ),
        (
            "libedgetpu.so.1: undefined symbol: edgetpu_list_devices",
            "libedgetpu.so.1 has no edgetpu_list_devices, as libedgetpu has: ",
        ),
        ("no answer in 10 s", "libedgetpu.so.1 hangs, with no answer in 10 s: unplug the Edge TPU and plug it in"),
        ("its process died of SIGILL", "libedgetpu.so.1 could not be loaded (its process died of SIGILL): "),
    ],
)
def test_what_the_loader_tells(said: str, told: str, tmp_path: Path) -> None:
    assert not_loaded("libedgetpu.so.1", said, tmp_path).startswith(told)


# The library's build against TensorFlow Lite


@pytest.mark.parametrize(
    ("version", "package", "interpreter", "fits"),
    [
        (GOOGLES, Package("libedgetpu1-std", "16.0"), LITERT, False),
        (GOOGLES, None, LITERT, False),
        (GOOGLES, None, Interpreter("tflite-runtime", "2.14.0"), False),
        (GOOGLES, None, Interpreter("tflite-runtime", "2.12.0"), False),
        (GOOGLES, None, Interpreter("tflite-runtime", "2.11.0"), True),
        (GOOGLES, None, Interpreter("tflite-runtime", "2.5.0.post1"), True),
        (None, Package("libedgetpu1-max", "16.0tf2.17.1-1"), LITERT, True),
        (None, Package("libedgetpu1-max", "16.0tf2.11.1-1"), LITERT, False),
        ("BuildLabel(N/A), RuntimeVersion(14)", None, LITERT, True),
        (GOOGLES, None, None, True),
    ],
)
def test_which_build_fits(
    version: str | None, package: Package | None, interpreter: Interpreter | None, fits: bool, tmp_path: Path
) -> None:
    reason = build.mismatch(version, package, interpreter, tmp_path)
    assert (reason is None) == fits
    if reason is not None:
        assert "is built on a TensorFlow before 2.12 and crashes in " in reason.problem
        assert RELEASES in reason.fix


@pytest.mark.parametrize(
    "said",
    [
        "its process died of SIGSEGV",
        "Encountered unresolved custom op: edgetpu-custom-op.Node number 0 failed to prepare.",
    ],
)
def test_googles_build_is_named_when_it_crashed(said: str, tmp_path: Path) -> None:
    lines = "var/lib/dpkg/status = Package: libedgetpu1-std"
    tree = machine("usb3", tmp_path, lines)
    status = "Package: libedgetpu1-std\nStatus: install ok installed\nVersion: 16.0\n"
    (tree / "var/lib/dpkg/status").write_text(status)
    settings = RuntimeSettings(library="libedgetpu-that-is-not-there.so.1")
    sentence = diagnosis.why("allocate", said, settings, "usb:0", tree)
    assert_one_sentence(sentence)
    assert "because this libedgetpu (libedgetpu1-std 16.0) is built on a TensorFlow before 2.12" in sentence
    assert "`sudo apt install ./libedgetpu1-std_16.0tf2.19.1-1.bookworm" in sentence
    # A library of one's own is not the package's.
    assert build.packaged("/opt/libedgetpu.so.1", tree) is None
