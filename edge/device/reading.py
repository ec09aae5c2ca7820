"""Reads the board's files; what they mean is `edge.device.parsing`'s."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import msgspec

from edge.device import parsing

ROOT = Path("/")
_CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
_MODEL_FILES = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_CPU_ZONES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "bcm2835_thermal", "x86_pkg_temp")
_MOST_BYTES = 1 << 20
_VCGENCMD_S = 0.6
_KILLED_S = 0.1
# Before and after a program gave it its firmware. Source: Coral's udev rules.
_USB_EDGE_TPUS = {("1a6e", "089a"), ("18d1", "9302")}


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was read of the board; a field that could not be read is None and left out of JSON."""

    model: Optional[str] = None
    """As the device tree names it, for example "Raspberry Pi 4 Model B Rev 1.2"."""
    cpu: Optional[str] = None
    """Processor's name, where the kernel tells one (x86)."""
    processors: Optional[int] = None
    machine: Optional[str] = None
    """For example "aarch64"."""
    kernel: Optional[str] = None
    os: Optional[str] = None
    python: Optional[str] = None
    boot_id: Optional[str] = None
    """Drawn anew at each start of the machine: what has the same has the same monotonic clock."""
    accelerators: Optional[tuple[str, ...]] = None
    """Edge TPUs and how they are connected, for example "Edge TPU (PCIe)"."""
    memory_total_bytes: Optional[int] = None
    memory_available_bytes: Optional[int] = None
    load_1min: Optional[float] = None
    """Runnable processes, averaged over a minute."""
    temperature_c: Optional[float] = None
    coral_temperature_c: Optional[float] = None
    """Of the hottest Edge TPU on PCIe; one on USB does not tell."""
    clock_mhz: Optional[float] = None
    """Of processor 0."""
    clock_min_mhz: Optional[float] = None
    """The lowest that the governor may choose."""
    clock_max_mhz: Optional[float] = None
    """The highest that the governor may choose."""
    governor: Optional[str] = None
    throttled: Optional[int] = None
    """Raspberry Pi throttling bits."""
    throttled_now: Optional[tuple[str, ...]] = None
    throttled_since_boot: Optional[tuple[str, ...]] = None
    """Only vcgencmd tells."""

    def as_json(self) -> dict[str, Any]:
        """The fields that are known."""
        return _known(self)


class Live(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changes while a program runs; what could not be read is None and left out of JSON."""

    monotonic_ns: int
    """When it was read."""
    temperature_c: Optional[float] = None
    """Of the processor."""
    clock_mhz: Optional[float] = None
    """Of processor 0, as the governor asked for it; firmware that throttles may give less."""
    throttled: Optional[int] = None
    """Raspberry Pi throttling bits; see `Sensors` for how long bits 16 to 19 stay."""
    governor: Optional[str] = None
    memory_available_bytes: Optional[int] = None
    resident_bytes: Optional[int] = None
    """Of this process."""
    load_1min: Optional[float] = None
    """Runnable processes, averaged over a minute."""
    coral_temperature_c: Optional[float] = None
    """Of the hottest Edge TPU on PCIe; one on USB does not tell."""
    throttled_lately: bool = False
    """Bits 16 to 19 tell of the last seconds, not of all the time since the machine's start; see `Sensors`."""

    def as_json(self) -> dict[str, Any]:
        """The fields that are known."""
        return _known(self)


class Sensors:
    """The live sensors below a root; remembers where they are, and a vcgencmd that does not end.

    The throttling bits come from the kernel's file where there is one (Raspberry Pi's kernels from 4.14 until they
    took it out in March 2025), else from vcgencmd. In vcgencmd's, bits 16 to 19 tell what was since the start of
    the machine. In the kernel's, which is up to 2 s old, they tell of the 2 s before it: the kernel's driver
    clears its own at each look. Source: raspberrypi-hwmon.c and raspberrypi.c of Raspberry Pi's kernels.
    """

    def __init__(self, root: Path = ROOT) -> None:
        """Look for them.

        Args:
            root: see `read`.
        """
        self._root = root
        self._zone = _processor_zone(root)
        # First, as there is no process to start; the kernel's log gets one warning that the file is outdated.
        self._throttled_file = next((root / "sys/devices/platform").glob("soc*/*firmware/get_throttled"), None)
        self._vcgencmd = shutil.which("vcgencmd", path=None if root == ROOT else str(root / "usr/bin"))
        self._stuck: Optional[subprocess.Popen[str]] = None

    @property
    def starts_a_process(self) -> bool:
        """Whether each reading starts vcgencmd, which takes some milliseconds of a core."""
        return self._throttled_file is None and self._vcgencmd is not None

    def read(self) -> Live:
        """Read them all. Takes 0.7 s at most, unless a driver hangs."""
        memory = parsing.parse_meminfo(_text(self._root / "proc/meminfo"))
        return Live(
            temperature_c=None if self._zone is None else parsing.parse_millidegrees(_text(self._zone / "temp")),
            clock_mhz=parsing.parse_khz(_text(self._root / _CPUFREQ / "scaling_cur_freq")),
            throttled=self._throttled(),
            governor=parsing.parse_governor(_text(self._root / _CPUFREQ / "scaling_governor")),
            memory_available_bytes=memory.get("MemAvailable"),
            resident_bytes=parsing.parse_resident(_text(self._root / "proc/self/statm"), os.sysconf("SC_PAGE_SIZE")),
            load_1min=parsing.parse_loadavg(_text(self._root / "proc/loadavg")),
            coral_temperature_c=_coral_temperature_c(self._root),
            monotonic_ns=time.monotonic_ns(),
            throttled_lately=self._throttled_file is not None,
        )

    def _throttled(self) -> Optional[int]:
        if self._throttled_file is not None:
            return parsing.parse_throttled(_text(self._throttled_file))
        return self.ask_vcgencmd()

    def ask_vcgencmd(self) -> Optional[int]:
        """The throttling bits as vcgencmd tells them; None without it, or when it fails or hangs."""
        if self._vcgencmd is None or (self._stuck is not None and self._stuck.poll() is None):
            return None
        self._stuck = None
        try:
            # A session of its own, so that what it started can be ended with it.
            process = subprocess.Popen(
                [self._vcgencmd, "get_throttled"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError:
            return None
        try:
            output, _ = process.communicate(timeout=_VCGENCMD_S)
        except subprocess.TimeoutExpired:
            self._end(process)
            return None
        return parsing.parse_throttled(output) if process.returncode == 0 else None

    def _end(self, process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(OSError):  # it ended just now, or is another user's
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        try:
            process.wait(_KILLED_S)
        except subprocess.TimeoutExpired:
            self._stuck = process  # in the driver, where no signal reaches it: do not start another behind it


def read(root: Path = ROOT) -> Device:
    """Read the board.

    Args:
        root: where /proc, /sys and /etc are found; another than "/" for a tree of files, which also brings
            its own usr/bin/vcgencmd.
    """
    sensors = Sensors(root)
    live = sensors.read()
    told = live.throttled if sensors.starts_a_process else sensors.ask_vcgencmd()
    throttled = live.throttled if told is None else told
    memory = parsing.parse_meminfo(_text(root / "proc/meminfo"))
    cpuinfo = _text(root / "proc/cpuinfo")
    return Device(
        model=next((name for file in _MODEL_FILES if (name := parsing.parse_name(_text(root / file)))), None),
        cpu=parsing.parse_cpu_name(cpuinfo),
        processors=parsing.parse_processors(cpuinfo),
        machine=parsing.parse_name(_text(root / "proc/sys/kernel/arch"))
        or (platform.machine() if root == ROOT else None),
        kernel=parsing.parse_name(_text(root / "proc/sys/kernel/osrelease")),
        os=parsing.parse_os_release(_text(root / "etc/os-release")),
        python=".".join(str(part) for part in sys.version_info[:3]),
        boot_id=parsing.parse_boot_id(_text(root / "proc/sys/kernel/random/boot_id")),
        accelerators=_accelerators(root) or None,
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=live.memory_available_bytes,
        load_1min=live.load_1min,
        temperature_c=live.temperature_c,
        coral_temperature_c=live.coral_temperature_c,
        clock_mhz=live.clock_mhz,
        clock_min_mhz=parsing.parse_khz(_text(root / _CPUFREQ / "scaling_min_freq")),
        clock_max_mhz=parsing.parse_khz(_text(root / _CPUFREQ / "scaling_max_freq")),
        governor=live.governor,
        throttled=throttled,
        throttled_now=None if throttled is None else parsing.throttled_now(throttled),
        throttled_since_boot=None if told is None else parsing.throttled_since_boot(told),
    )


def read_live(root: Path = ROOT) -> Live:
    """Read the live sensors once.

    Cheap where the kernel has the throttling bits; elsewhere on a Raspberry Pi it starts vcgencmd, which takes
    some milliseconds: not for every frame. `Sensors` and `Monitor` read again and again.

    Args:
        root: see `read`.
    """
    return Sensors(root).read()


def _known(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(struct).items() if value is not None}


def _processor_zone(root: Path) -> Optional[Path]:
    """The zone that names itself the processor's; a zone of the mainboard is not the processor's temperature."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    return next((zone for zone in zones if parsing.parse_name(_text(zone / "type")) in _CPU_ZONES), None)


def _coral_temperature_c(root: Path) -> Optional[float]:
    read = (parsing.parse_millidegrees(_text(path)) for path in (root / "sys/class/apex").glob("apex_*/temp"))
    return max((value for value in read if value is not None), default=None)


def _accelerators(root: Path) -> tuple[str, ...]:
    on_pcie = ["Edge TPU (PCIe)" for _ in (root / "sys/class/apex").glob("apex_*")]
    on_usb = []
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        ids = tuple(_text(device / name).strip() for name in ("idVendor", "idProduct"))
        if ids in _USB_EDGE_TPUS:
            speed = parsing.parse_name(_text(device / "speed"))
            on_usb.append(f"Edge TPU (USB, {speed} Mbit/s)" if speed else "Edge TPU (USB)")
    return tuple(on_pcie + on_usb)


def _text(path: Path) -> str:
    """A file's text; empty when it cannot be read."""
    try:
        # Not blocking, for a pipe that somebody put in a file's place.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return (file.read(_MOST_BYTES) or b"").decode("utf-8", errors="replace")
    except OSError:
        return ""
