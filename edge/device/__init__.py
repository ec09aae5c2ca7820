"""The board: model, temperature, clock, throttling, memory. What a machine does not tell is None, never 0."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import msgspec

ROOT = Path("/")
_KIB = 1024
_VCGENCMD_TIMEOUT_S = 2.0
_CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
_MODEL_FILES = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_CPU_ZONES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "bcm2835_thermal", "x86_pkg_temp")
# Bits 0 to 3 are now, 16 to 19 the same since boot. Source: Raspberry Pi documentation, `vcgencmd get_throttled`.
_THROTTLE_WORDS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT_SHIFT = 16


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
    memory_total_bytes: Optional[int] = None
    memory_available_bytes: Optional[int] = None
    load_1min: Optional[float] = None
    """Runnable processes, averaged over a minute."""
    temperature_c: Optional[float] = None
    clock_mhz: Optional[float] = None
    """Of processor 0."""
    governor: Optional[str] = None
    throttled: Optional[int] = None
    """Raspberry Pi throttling bits."""
    throttled_now: Optional[tuple[str, ...]] = None
    throttled_since_boot: Optional[tuple[str, ...]] = None

    def as_json(self) -> dict[str, Any]:
        """The fields that are known."""
        document = msgspec.to_builtins(self)
        return {name: value for name, value in document.items() if value is not None}


class Live(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changes while a program runs."""

    temperature_c: Optional[float] = None
    clock_mhz: Optional[float] = None
    throttled: Optional[int] = None


def read(root: Path = ROOT) -> Device:
    """Read the board.

    Args:
        root: where /proc, /sys and /etc are found; another than "/" for a recorded tree, which also brings
            its own usr/bin/vcgencmd.
    """
    live = read_live(root)
    model = next((text for name in _MODEL_FILES if (text := _text(root / name))), None)
    memory = parse_meminfo(_text(root / "proc/meminfo") or "")
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    return Device(
        model=model,
        cpu=parse_cpu_name(cpuinfo),
        processors=parse_processors(cpuinfo),
        machine=_text(root / "proc/sys/kernel/arch") or (platform.machine() if root == ROOT else None),
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        os=parse_os_release(_text(root / "etc/os-release") or ""),
        python=".".join(str(part) for part in sys.version_info[:3]),
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        load_1min=parse_loadavg(_text(root / "proc/loadavg") or ""),
        temperature_c=live.temperature_c,
        clock_mhz=live.clock_mhz,
        governor=_text(root / _CPUFREQ / "scaling_governor"),
        throttled=live.throttled,
        throttled_now=None if live.throttled is None else throttled_now(live.throttled),
        throttled_since_boot=None if live.throttled is None else throttled_since_boot(live.throttled),
    )


def read_live(root: Path = ROOT) -> Live:
    """Read temperature, clock and throttling bits.

    Cheap where the kernel has the bits (Pi 4 and older); on a Pi 5 it starts vcgencmd, which takes some
    milliseconds: not for every frame.
    """
    return Live(
        temperature_c=_temperature_c(root),
        clock_mhz=parse_khz(_text(root / _CPUFREQ / "scaling_cur_freq") or ""),
        throttled=_throttled(root),
    )


def throttled_now(bits: int) -> tuple[str, ...]:
    """What holds the board back at this moment, in words."""
    return tuple(word for bit, word in enumerate(_THROTTLE_WORDS) if bits >> bit & 1)


def throttled_since_boot(bits: int) -> tuple[str, ...]:
    """What held the board back at some time since it started, in words."""
    return throttled_now(bits >> _SINCE_BOOT_SHIFT)


def throttled_during(readings: Sequence[int]) -> tuple[str, ...]:
    """What held the board back between the first reading and the last, in words.

    Also what came and went between two readings: its bit since boot is set in the last and not in the first.
    """
    seen = (readings[-1] & ~readings[0]) >> _SINCE_BOOT_SHIFT
    for bits in readings:
        seen |= bits
    return throttled_now(seen)


def parse_throttled(text: str) -> Optional[int]:
    """Bits from `throttled=0x50005` (vcgencmd) or `50005` (the kernel's file, hexadecimal as well)."""
    try:
        return int(text.strip().rpartition("=")[2], 16)
    except ValueError:
        return None


def parse_millidegrees(text: str) -> Optional[float]:
    """Degrees Celsius from a thermal zone's `temp`, which is in thousandths."""
    try:
        return int(text) / 1000
    except ValueError:
        return None


def parse_khz(text: str) -> Optional[float]:
    """Megahertz from a cpufreq file, which is in kilohertz."""
    try:
        return int(text) / 1000
    except ValueError:
        return None


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name from /proc/meminfo."""
    rows = (line.split() for line in text.splitlines())
    return {
        row[0].rstrip(":"): int(row[1]) * _KIB for row in rows if len(row) == 3 and row[2] == "kB" and row[1].isdigit()
    }


def parse_loadavg(text: str) -> Optional[float]:
    """The one-minute load from /proc/loadavg."""
    try:
        return float(text.split(maxsplit=1)[0])
    except (IndexError, ValueError):
        return None


def parse_os_release(text: str) -> Optional[str]:
    """PRETTY_NAME from /etc/os-release."""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME" and value:
            return value.strip("\"'")
    return None


def parse_cpu_name(text: str) -> Optional[str]:
    """The first "model name" of /proc/cpuinfo; 64-bit ARM kernels give none."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return value.strip()
    return None


def parse_processors(text: str) -> Optional[int]:
    """How many processors /proc/cpuinfo lists."""
    return sum(line.partition(":")[0].strip() == "processor" for line in text.splitlines()) or None


def _temperature_c(root: Path) -> Optional[float]:
    """The zone that names itself the processor's; a zone of the mainboard is not the processor's temperature."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        if _text(zone / "type") in _CPU_ZONES:
            return parse_millidegrees(_text(zone / "temp") or "")
    return None


def _throttled(root: Path) -> Optional[int]:
    # The kernel's own file first: no process to start. Newer kernels and the Pi 5 do not have it.
    for path in (root / "sys/devices/platform").glob("soc*/*firmware/get_throttled"):
        text = _text(path)
        if text is not None:
            return parse_throttled(text)
    places = None if root == ROOT else str(root / "usr/bin")
    program = shutil.which("vcgencmd", path=places)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_throttled(done.stdout) if done.returncode == 0 else None


def _text(path: Path) -> Optional[str]:
    """A file's text without the newline or NUL at its end; None when it cannot be read or is empty."""
    try:
        return path.read_text("utf-8", errors="replace").strip("\0 \n") or None
    except OSError:
        return None
