"""Which Edge TPUs are connected, as the kernel tells it; asks no library and opens no device.

Identities: debian/edgetpu-accelerator.rules of google-coral/libedgetpu (USB), apex_driver.c of google/gasket-driver
(PCIe, 1ac1:089a), whose gasket_core.c has the files of /sys/class/apex. libusb opens a device of USB as
/dev/bus/usb/BUS/DEVICE, three digits each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import msgspec

ROOT = Path("/")
UNLOADED, LOADED = ("1a6e", "089a"), ("18d1", "9302")
"""Vendor and product of an Edge TPU on USB, before and after libedgetpu loaded its firmware at the first opening."""
_PCI = ("0x1ac1", "0x089a")
USB_3_MBIT_S = 5000
"""SuperSpeed; USB 2 has 480."""
SLOWS_FROM_C = 85.0
"""An Edge TPU on PCIe halves its clock here, and again at 90 and 95 °C: DEFAULT_TRIP_POINT0_TEMP of apex_driver.c."""
_DEAD_BELOW_C = -40.0  # one that hangs shows about -88 °C: google-coral/edgetpu issue 843
_PAGE = re.compile(r"^KernelPageSize:\s*(\d+) kB$", re.MULTILINE)
_MOST_BYTES = 1 << 16


class Holder(msgspec.Struct, frozen=True):
    """A process that has a device open."""

    pid: int
    name: str
    """Empty where it is not known."""


class Node(msgspec.Struct, frozen=True):
    """The file in /dev through which a device is opened."""

    path: str
    """As a program opens it."""
    exists: bool
    may_open: bool
    """Whether this user may read and write it."""
    group: str
    """That it belongs to: its name, or its number where it has none."""
    mode: int
    """Permission bits."""
    holders: tuple[Holder, ...]
    """Those that can be seen: other users' processes only by root, or where a driver names its owner."""


class UsbAccelerator(msgspec.Struct, frozen=True):
    """An Edge TPU on USB."""

    path: str
    """As libedgetpu names it: its folder below /sys/bus/usb/devices."""
    loaded: bool
    """With firmware, that is, opened at least once since it was plugged in."""
    speed_mbit_s: Optional[int]
    """Of its link."""
    claimed: bool
    """A program uses it; known whoever's it is."""
    node: Node


class PciAccelerator(msgspec.Struct, frozen=True):
    """An Edge TPU on PCIe."""

    address: Optional[str]
    """On the bus, for example "0000:01:00.0"; None where only the driver tells of it."""
    driver: Optional[str]
    """What drives it: "apex", or None."""
    node: Optional[Node]
    """None without the driver."""
    temperature_c: Optional[float]
    """None where it is not known."""
    alive: bool
    """What its driver tells does not say that it hangs."""


def usb(root: Path = ROOT) -> tuple[UsbAccelerator, ...]:
    """The Edge TPUs on USB, in the order of their paths.

    Args:
        root: where /sys, /dev and /proc are found.
    """
    found = []
    for folder in sorted((root / "sys/bus/usb/devices").glob("*")):
        identity = (_text(folder / "idVendor"), _text(folder / "idProduct"))
        if identity not in (UNLOADED, LOADED):
            continue
        bus, device = _number(folder / "busnum"), _number(folder / "devnum")
        speed = _text(folder / "speed")
        found.append(
            UsbAccelerator(
                path=f"/sys/bus/usb/devices/{folder.name}",
                loaded=identity == LOADED,
                speed_mbit_s=int(float(speed)) if re.fullmatch(r"\d{1,6}(\.\d)?", speed) else None,
                claimed=any(_link(interface / "driver") == "usbfs" for interface in folder.glob("*:*")),
                node=_node(root, f"/dev/bus/usb/{bus or 0:03d}/{device or 0:03d}"),
            )
        )
    return tuple(found)


def pci(root: Path = ROOT) -> tuple[PciAccelerator, ...]:
    """The Edge TPUs on PCIe: those on the bus, and those of which only the driver tells, as in a container.

    Args:
        root: see `usb`.
    """
    classes = {folder: _link(folder / "device") for folder in sorted((root / "sys/class/apex").glob("apex_*"))}
    found = []
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        if (_text(folder / "vendor"), _text(folder / "device")) != _PCI:
            continue
        apex = next((name for name, address in classes.items() if address == folder.name), None)
        if apex is not None:
            del classes[apex]
        found.append(_pci(root, folder.name, _link(folder / "driver"), apex))
    return (*found, *(_pci(root, address, "apex", apex) for apex, address in classes.items()))


def page_bytes(root: Path = ROOT) -> Optional[int]:
    """Size of the kernel's pages in bytes; a Raspberry Pi 5 has 16384 with its own kernel and 4096 with kernel8.img."""
    found = _PAGE.search(_text(root / "proc/self/smaps"))
    return int(found[1]) * 1024 if found else None


def _pci(root: Path, address: Optional[str], driver: Optional[str], apex: Optional[Path]) -> PciAccelerator:
    if apex is None:
        return PciAccelerator(address, driver, node=None, temperature_c=None, alive=True)
    read = _text(apex / "temp")
    temperature_c = int(read) / 1000 if re.fullmatch(r"-?\d{1,7}", read) else None
    hangs = temperature_c is not None and temperature_c < _DEAD_BELOW_C
    return PciAccelerator(
        address,
        driver,
        _node(root, f"/dev/{apex.name}", _number(apex / "device_owner")),
        temperature_c=None if hangs else temperature_c,
        alive=not hangs and _text(apex / "status") in ("", "ALIVE"),
    )


def _node(root: Path, path: str, owner: Optional[int] = None) -> Node:
    """A node; `owner` is the process that its driver tells of, 0 or None for none."""
    file = root / path[1:]
    try:
        found = file.stat()
    except OSError:
        return Node(path, exists=False, may_open=False, group="", mode=0, holders=())
    seen = tuple(holders(path, root))
    if owner and owner not in {holder.pid for holder in seen}:
        seen = (*seen, Holder(owner, _text(root / f"proc/{owner}/comm")))
    return Node(
        path,
        exists=True,
        may_open=os.access(file, os.R_OK | os.W_OK, effective_ids=True),
        group=_group(root, found.st_gid),
        mode=found.st_mode & 0o7777,
        holders=seen,
    )


def holders(path: str, root: Path = ROOT) -> Iterator[Holder]:
    """The processes that have a file of /dev open; of other users' only root is told.

    Args:
        path: as a program opens it.
        root: see `usb`.
    """
    processes = [folder for folder in (root / "proc").glob("[0-9]*") if folder.name.isdigit()]
    for folder in sorted(processes, key=lambda folder: int(folder.name)):
        try:
            with os.scandir(folder / "fd") as files:
                held = any(os.readlink(file.path) == path for file in files)
        except OSError:  # another user's, or it ended
            continue
        if held:
            yield Holder(int(folder.name), _text(folder / "comm"))


def _group(root: Path, number: int) -> str:
    lines = (line.split(":") for line in _text(root / "etc/group").splitlines())
    return next((fields[0] for fields in lines if len(fields) > 2 and fields[2] == str(number)), str(number))


def _link(path: Path) -> Optional[str]:
    """The last part of what a link leads to; None without one."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def _number(path: Path) -> Optional[int]:
    text = _text(path)
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _text(path: Path) -> str:
    """A file's text without the space around it; empty when it cannot be read."""
    try:
        # Not blocking, for a pipe that somebody put in a file's place.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return (file.read(_MOST_BYTES) or b"").decode("utf-8", errors="replace").strip()
    except OSError:
        return ""
