"""What hinders an Edge TPU that is connected, or shall be: what the kernel tells against what libedgetpu lists."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

from edge.runtimes.edgetpu import attached
from edge.runtimes.edgetpu.attached import Node, PciAccelerator, UsbAccelerator
from edge.runtimes.edgetpu.build import Reason
from edge.runtimes.edgetpu.library import Listed
from edge.runtimes.edgetpu.options import numbered

_Accelerator = Union[UsbAccelerator, PciAccelerator]
_RULES = "60-edge-runner.rules"
_GROUP = "plugdev"
"""To which that gives them."""
_REPLUG = "unplug it and plug it in again"
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")
_LONGEST_SAID = 300


def of_device(stage: str, said: str, device: str, listed: Listed, root: Path) -> Reason:
    """Why one does not open, or failed: what the kernel sees wrong with it, else what its end suggests.

    Args:
        stage: what was being done, see `edge.runtimes.edgetpu.diagnosis.explain`.
        said: what the process that held it told, or how it died.
        device: "any", "usb:N" or "pci:N".
        listed: what libedgetpu sees.
        root: where /sys, /dev, /proc and /etc are found.
    """
    connected: dict[str, tuple[_Accelerator, ...]] = {"usb": attached.usb(root), "pci": attached.pci(root)}
    places = {each: _places(each, connected[each], listed) for each in connected}
    kind, _, number = numbered(device).partition(":")
    if device == "any":
        kind, number = "pci" if places["pci"] else "usb", "0"
    if not any(places.values()):
        gone = "it is no longer plugged in" if stage == "inference" else "none is plugged in"
        return Reason(
            f"{gone} (no 1a6e:089a or 18d1:9302 on USB, no 1ac1:089a on PCIe)", "plug it in; `lsusb` shows it"
        )
    if int(number) >= len(places[kind]):
        there = [f"{each}:{n}" for each in ("usb", "pci") for n in range(len(places[each]))]
        return Reason(f"only {', '.join(there)} {'is' if len(there) == 1 else 'are'} connected", "name another, or any")
    accelerator = next((each for each in connected[kind] if name(each) == places[kind][int(number)]), None)
    known: Iterator[Reason] = iter(())
    if isinstance(accelerator, PciAccelerator):
        known = _of_pci(accelerator, said, root)
    elif accelerator is not None:
        known = _of_usb(accelerator, said, root)
    return next(known, None) or _of_words(stage, said, kind)


def _places(kind: str, connected: tuple[_Accelerator, ...], listed: Listed) -> list[str]:
    """Where those of a kind are, in the order in which they are numbered: see `options.by_place`."""
    return sorted({*(name(each) for each in connected), *(each.path for each in listed.devices if each.kind == kind)})


def _of_usb(accelerator: UsbAccelerator, said: str, root: Path) -> Iterator[Reason]:
    """What the kernel knows to be wrong with it, the likeliest first."""
    node = accelerator.node
    if not node.exists:
        yield Reason(f"{node.path} is not there", "give this container the folder /dev/bus/usb and its devices")
    if not node.may_open:
        yield forbidden(node, root)
    if node.holders or accelerator.claimed:
        yield _in_use(node)
    if not accelerator.loaded and "no answer" in said:
        yield Reason(
            f"its firmware is not taken (it stays 1a6e:089a at {accelerator.path})",
            f"{_REPLUG}, without a hub; give a virtual machine or container 18d1:9302 too, which it becomes",
        )


def _of_pci(accelerator: PciAccelerator, said: str, root: Path) -> Iterator[Reason]:
    """The same, on PCIe. HIB errors: coral.ai/docs/m2/get-started, "Troubleshooting on Linux"."""
    large = pages(root)
    if large:
        yield large
    node = accelerator.node
    if node is None:
        yield Reason(
            f"{name(accelerator)} on PCIe has no driver",
            "install gasket-dkms (on Linux 6.12 and newer that of github.com/feranick/gasket-driver, as Coral's does "
            "not build there) and start the machine again",
        )
        return
    if not node.exists:
        yield Reason(f"{node.path} is not there", "give this container the device")
    if not node.may_open:
        yield forbidden(node, root)
    if node.holders:
        yield _in_use(node)
    ails = hanging(accelerator) or too_hot(accelerator)
    if ails:
        yield ails
    if "no answer" in said or "HIB Error" in said:
        yield Reason(
            clause(said),
            "add gasket.dma_bit_mask=32 and pcie_aspm=off to the kernel's command line, on a Raspberry Pi 5 "
            "dtoverlay=pcie-32bit-dma-pi5 to config.txt, and look at `dmesg` for apex",
        )


def _of_words(stage: str, said: str, kind: str) -> Reason:
    """What is left when the kernel sees nothing wrong. Transfers that fail: google-coral/edgetpu issues 11 and 494."""
    again = "start the machine again" if kind == "pci" else _REPLUG
    if kind == "usb" and (stage == "inference" or "no answer" in said or crashed(said)):
        return Reason(
            f"{clause(said)}, as when a transfer on USB fails",
            f"use another cable and port, or a hub with its own power (it draws up to 900 mA), and {again}",
        )
    if stage == "delegate":
        return Reason("libedgetpu lists and refuses it, as when another program uses it", f"end that, or {again}")
    return Reason(clause(said), f"{again}, and compile the model again if that does not help")


def crashed(said: str) -> bool:
    """Whether a process died of a fault of its own, or of libedgetpu's."""
    return any(word in said for word in _CRASHES)


def clause(said: str) -> str:
    """What was said, as for after "because"."""
    if not said:
        return "libedgetpu gives no reason"
    if said.startswith("no answer"):
        return f"there was {said}"
    if said.startswith("its process"):
        return said
    return f"its process died of {said}" if said in _CRASHES else f'TensorFlow Lite says "{said[:_LONGEST_SAID]}"'


def forbidden(node: Node, root: Path) -> Reason:
    """What to do about a node that this user may not open."""
    problem = f"this user may not open {node.path}"
    for_group = node.mode & 0o060 == 0o060 and node.group not in ("root", "0")
    if for_group:
        user = _user()
        if user in _members(node.group, root):
            return Reason(
                f"{problem}, {user} being in the group {node.group} only from the next login on",
                "log in again, or restart the service",
            )
        return Reason(problem, f"`sudo usermod -aG {node.group} {user}`, and log in again")
    rules, user = f"/etc/udev/rules.d/{_RULES}", _user()
    copied = "" if (root / rules[1:]).exists() else f"sudo cp systemd/{_RULES} {rules} && "
    member = user in _members(_GROUP, root)
    joined = "" if member else f", `sudo usermod -aG {_GROUP} {user}`, and log in again"
    return Reason(problem, f"`{copied}sudo udevadm control --reload && sudo udevadm trigger`{joined}")


def _in_use(node: Node) -> Reason:
    if not node.holders:
        return Reason(
            f"another user's process has {node.path} open", f"`sudo fuser -v {node.path}` tells which, end it"
        )
    holders = ", ".join(f"{holder.pid} ({holder.name})" if holder.name else f"{holder.pid}" for holder in node.holders)
    return Reason(f"process {holders} has {node.path} open", "end it, or name another device")


def pages(root: Path) -> Optional[Reason]:
    """Why this kernel cannot drive an Edge TPU on PCIe."""
    size = attached.page_bytes(root)
    if size is None or size <= 4096:
        return None
    return Reason(
        f"this kernel's pages are of {size // 1024} KiB and the driver (gasket) needs 4",
        "on a Raspberry Pi 5 put kernel=kernel8.img into /boot/firmware/config.txt and start it again",
    )


def hanging(accelerator: PciAccelerator) -> Optional[Reason]:
    """That it hangs."""
    return None if accelerator.alive else Reason("it hangs", "switch the machine off and on again, and cool it")


def too_hot(accelerator: PciAccelerator) -> Optional[Reason]:
    """That it slows itself down."""
    temperature_c = accelerator.temperature_c
    if temperature_c is None or temperature_c < attached.SLOWS_FROM_C:
        return None
    return Reason(
        f"it is at {temperature_c:.0f} °C and slows itself down from {attached.SLOWS_FROM_C:.0f} °C on", "cool it"
    )


def name(accelerator: _Accelerator) -> str:
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
