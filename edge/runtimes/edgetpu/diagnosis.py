"""Why an Edge TPU cannot be used, and what to do about it: one sentence.

libedgetpu gives no reason itself (TensorFlow Lite only says "Failed to load delegate"), so the reason is put together
from what the kernel knows, what libedgetpu lists, and how the process that held the device ended.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

from edge.runtimes.edgetpu import attached, library
from edge.runtimes.edgetpu.attached import Node, PciAccelerator, UsbAccelerator
from edge.runtimes.edgetpu.build import abi_problem, advice, not_loaded, packaged
from edge.runtimes.edgetpu.options import numbered
from edge.runtimes.settings import RuntimeSettings

__all__ = ["abi_problem", "heat", "large_pages", "slow_link", "why"]

ROOT = Path("/")
_Accelerator = Union[UsbAccelerator, PciAccelerator]
_RULES = "60-edge-runner.rules"
_REPLUG = "unplug it and plug it in again"
_ABI_WORDS = re.compile(
    "unresolved custom op: edgetpu-custom-op"
    "|Unsupported data type in custom op handler"
    "|single_input_size != input->bytes"
)
"""Of TensorFlow Lite about a delegate whose structures are others; google-coral/edgetpu issues 71, 192, 259, 812."""
_RUNTIME_WORDS = re.compile(r"requires runtime version \((\d+)\), which is newer than this runtime version \((\d+)\)")
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")


def why(stage: str, said: str, settings: RuntimeSettings, device: str, root: Path = ROOT) -> str:
    """Why the Edge TPU could not be opened or failed, and what to do: one sentence.

    Starts a process and looks into /proc: takes some 50 ms, up to 12 s when libedgetpu hangs. To be called when the
    process that held the device is gone.

    Args:
        stage: "start", "library", "delegate", "allocate", "first inference" or "inference".
        said: what the process that held it told, or how it died.
        settings: as it was to be opened.
        device: "any", "usb:N" or "pci:N".
        root: where /sys, /dev, /proc, /etc and /var are found.
    """
    said = " ".join(said.split()).rstrip(".")
    doing = "failed" if stage == "inference" else "cannot be opened"
    named = "Edge TPU" if device == "any" else f"Edge TPU {numbered(device)}"
    return f"The {named} {doing}: {_reason(stage, said, settings, device, root)}."


def slow_link(accelerator: UsbAccelerator) -> Optional[str]:
    """What an Edge TPU on USB 2 is worth a warning for; None on USB 3, and before its firmware is loaded."""
    speed = accelerator.speed_mbit_s
    if not accelerator.loaded or speed is None or speed >= attached.USB_3_MBIT_S:
        return None
    return (
        f"The Edge TPU at {accelerator.path} is on USB 2 ({speed} Mbit/s) and works slower: "
        "put it into a USB 3 port, a blue one, with the cable that came with it."
    )


def heat(accelerator: PciAccelerator) -> Optional[str]:
    """What an Edge TPU that slows itself down is worth a warning for; None below that, and where it is not known."""
    temperature_c = accelerator.temperature_c
    if temperature_c is None or temperature_c < attached.SLOWS_FROM_C:
        return None
    return f"The Edge TPU at {_name(accelerator)} {_hot(temperature_c)}."


def large_pages(root: Path = ROOT) -> Optional[str]:
    """Why this kernel cannot drive an Edge TPU on PCIe; None when its pages are of 4 KiB or their size is not known."""
    reason = _pages(root)
    return f"No Edge TPU on PCIe works here: {reason}." if reason else None


def _reason(stage: str, said: str, settings: RuntimeSettings, device: str, root: Path) -> str:
    interpreter = library.interpreter(settings)
    if stage == "library":
        return not_loaded(said, settings.library, interpreter, root)
    if stage == "start":
        return f"{said}: this is how its process ended before it loaded libedgetpu"
    runtime = _RUNTIME_WORDS.search(said)
    if runtime:
        return (
            f"the model is compiled for Edge TPU runtime {runtime[1]} and this libedgetpu has {runtime[2]}: install a "
            f"newer libedgetpu, or compile it again with `edgetpu_compiler --min_runtime_version {runtime[2]}`"
        )
    listed = library.list_devices(settings.library)
    if stage in ("allocate", "first inference") and (_ABI_WORDS.search(said) or any(word in said for word in _CRASHES)):
        known = abi_problem(listed.version, packaged(settings.library, root), interpreter)
        if known:
            return known[0].lower() + known[1:].rstrip(".")
        if stage == "allocate":
            package = f"{interpreter.package} {interpreter.version}" if interpreter else "this TensorFlow Lite"
            return (
                f"{said} while the model was loaded, as when libedgetpu is built on another TensorFlow than {package}: "
                f"{advice(interpreter, root)}"
            )
    return _of_device(stage, said, device, listed, root)


def _of_device(stage: str, said: str, device: str, listed: library.Listed, root: Path) -> str:
    kind, _, number = ("usb", "", "") if device == "any" else numbered(device).partition(":")
    connected: dict[str, tuple[_Accelerator, ...]] = {"usb": attached.usb(root), "pci": attached.pci(root)}
    counts = {name: max(listed.count(name), len(connected[name])) for name in connected}
    if device == "any":
        kind, number = "pci" if counts["pci"] else "usb", "0"
    if not any(counts.values()):
        gone = "it is no longer plugged in" if stage == "inference" else "none is plugged in"
        return f"{gone} (no 1a6e:089a or 18d1:9302 on USB, no 1ac1:089a on PCIe): plug it in, and look with `lsusb`"
    if int(number) >= counts[kind]:
        there = [f"{name}:{n}" for name in ("usb", "pci") for n in range(counts[name])]
        return f"only {', '.join(there)} {'is' if len(there) == 1 else 'are'} connected: name another, or `any`"
    accelerator = _pick(kind, int(number), connected[kind], listed)
    known: Iterator[str] = iter(())
    if isinstance(accelerator, PciAccelerator):
        known = _of_pci(accelerator, said, root)
    elif accelerator is not None:
        known = _of_usb(accelerator, said, root)
    return next(known, None) or _of_words(stage, said, kind)


def _pick(
    kind: str, number: int, connected: tuple[_Accelerator, ...], listed: library.Listed
) -> Optional[_Accelerator]:
    """The one that libedgetpu means; what it could not be asked is counted in its order."""
    paths = [device.path for device in listed.devices if device.kind == kind]
    if paths:
        return next((each for each in connected if _name(each) == paths[number : number + 1][0]), None)
    ordered = sorted(connected, key=lambda each: isinstance(each, UsbAccelerator) and each.loaded)
    return ordered[number]


def _of_usb(accelerator: UsbAccelerator, said: str, root: Path) -> Iterator[str]:
    """What the kernel knows to be wrong with it, the likeliest first."""
    node = accelerator.node
    if not node.exists:
        yield f"{node.path} is not there: give this container the folder /dev/bus/usb and its devices"
    if not node.may_open:
        yield _forbidden(node, root)
    if node.holders or accelerator.claimed:
        yield _in_use(node)
    if not accelerator.loaded and "no answer" in said:
        yield (
            f"its firmware is not taken (it stays 1a6e:089a at {accelerator.path}): {_REPLUG}, without a hub; "
            "a virtual machine or container must be given 18d1:9302 too, which it becomes"
        )


def _of_pci(accelerator: PciAccelerator, said: str, root: Path) -> Iterator[str]:
    """The same, on PCIe. HIB errors: coral.ai/docs/m2/get-started, "Troubleshooting on Linux"."""
    pages = _pages(root)
    if pages:
        yield pages
    node = accelerator.node
    if node is None:
        yield (
            f"{_name(accelerator)} on PCIe has no driver: install gasket-dkms (from Linux 6.12 on the one of "
            "github.com/feranick/gasket-driver, as Coral's does not build there) and start the machine again"
        )
        return
    if not node.exists:
        yield f"{node.path} is not there: give this container the device"
    if not node.may_open:
        yield _forbidden(node, root)
    if node.holders:
        yield _in_use(node)
    if not accelerator.alive:
        yield f"the driver tells that {node.path} hangs: switch the machine off and on again, and cool it"
    if accelerator.temperature_c is not None and accelerator.temperature_c >= attached.SLOWS_FROM_C:
        yield f"it {_hot(accelerator.temperature_c)}"
    if "no answer" in said or "HIB Error" in said:
        yield (
            f"{said}: add gasket.dma_bit_mask=32 and pcie_aspm=off to the kernel's command line, on a Raspberry Pi 5 "
            "dtoverlay=pcie-32bit-dma-pi5 to config.txt, and look at `dmesg` for apex"
        )


def _of_words(stage: str, said: str, kind: str) -> str:
    """What is left when the kernel sees nothing wrong. Transfers that fail: google-coral/edgetpu issues 11 and 494."""
    again = "start the machine again" if kind == "pci" else _REPLUG
    if kind == "usb" and (stage == "inference" or "no answer" in said or any(word in said for word in _CRASHES)):
        return (
            f"{said}, as when a transfer on USB fails: use another cable and port, or a hub with its own power "
            f"(it draws up to 900 mA), and {again}"
        )
    if stage == "delegate":
        return f"it is there and libedgetpu refuses it ({said}), as when another program uses it: end that, or {again}"
    return f"{said}: {again}, and compile the model again if that does not help"


def _forbidden(node: Node, root: Path) -> str:
    refused = f"this user may not open {node.path}"
    for_group = node.mode & 0o060 == 0o060 and node.group not in ("root", "0")
    if for_group:
        user = _user()
        if user in _members(node.group, root):
            return f"{refused}: log in again (restart a service), as {user} is in the group {node.group} only then"
        return f"{refused}: `sudo usermod -aG {node.group} {user}`, and log in again"
    rules = f"/etc/udev/rules.d/{_RULES}"
    if (root / rules[1:]).exists():
        return f"{refused}: `sudo udevadm control --reload` for {rules} to count, and {_REPLUG}"
    return f"{refused}: `sudo cp systemd/{_RULES} {rules} && sudo udevadm control --reload`, and {_REPLUG}"


def _in_use(node: Node) -> str:
    if not node.holders:
        return f"another user's process has {node.path} open: `sudo fuser -v {node.path}` tells which, end it"
    holders = ", ".join(f"{holder.pid} ({holder.name})" if holder.name else f"{holder.pid}" for holder in node.holders)
    return f"process {holders} has {node.path} open: end it, or name another device"


def _pages(root: Path) -> Optional[str]:
    size = attached.page_bytes(root)
    if size is None or size <= 4096:
        return None
    return (
        f"this kernel's pages are of {size // 1024} KiB and the driver (gasket) needs 4: on a Raspberry Pi 5 put "
        "kernel=kernel8.img into /boot/firmware/config.txt and start it again"
    )


def _hot(temperature_c: float) -> str:
    return f"is at {temperature_c:.0f} °C and slows down from {attached.SLOWS_FROM_C:.0f} °C on: cool it"


def _name(accelerator: _Accelerator) -> str:
    """As libedgetpu names it, else where it is on the bus."""
    if isinstance(accelerator, UsbAccelerator):
        return accelerator.path
    return accelerator.node.path if accelerator.node else accelerator.address or "PCIe"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "$USER"


def _members(group: str, root: Path) -> list[str]:
    try:
        lines = (root / "etc/group").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return next(
        (line.split(":")[3].split(",") for line in lines if line.startswith(f"{group}:") and line.count(":") == 3), []
    )
