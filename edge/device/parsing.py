"""What the files of /proc, /sys and /etc mean: text in, value out. Nonsense is None, as what is not there is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Optional

_KIB = 1024
_LOWEST_C, _HIGHEST_C = -40.0, 150.0  # what silicon that still runs can have
_HIGHEST_MHZ = 10_000.0
_LONGEST = 200  # characters of a name
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_THROTTLED = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-f]{1,8})", re.IGNORECASE)
_GOVERNOR = re.compile(r"[a-z][a-z_]{0,30}")
_BOOT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Bits 0 to 3 are now, 16 to 19 at some time before. Source: Raspberry Pi documentation, `vcgencmd get_throttled`.
_THROTTLE_WORDS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_BEFORE_SHIFT = 16


def throttled_now(bits: int) -> tuple[str, ...]:
    """What holds the board back at this moment, in words."""
    return tuple(word for bit, word in enumerate(_THROTTLE_WORDS) if bits >> bit & 1)


def throttled_since_boot(bits: int) -> tuple[str, ...]:
    """What held the board back at some time since it started, in words; from the bits as vcgencmd tells them."""
    return throttled_now(bits >> _BEFORE_SHIFT)


def throttled_during(readings: Sequence[int]) -> tuple[str, ...]:
    """What held the board back between the first reading and the last, in words.

    Also what came and went between two readings: its bit from 16 on is set in the one and was not in the one before.
    """
    seen = readings[0]
    for before, bits in zip(readings, readings[1:]):
        seen |= bits | (bits & ~before) >> _BEFORE_SHIFT
    return throttled_now(seen)


def parse_throttled(text: str) -> Optional[int]:
    """Bits from `throttled=0x50005` (vcgencmd) or `50005` (the kernel's file, hexadecimal as well)."""
    found = _THROTTLED.fullmatch(text.strip())
    return int(found[1], 16) if found else None


def parse_millidegrees(text: str) -> Optional[float]:
    """Degrees Celsius from a `temp` file, which is in thousandths; None outside of -40 to 150."""
    value = _integer(text)
    return value / 1000 if value is not None and _LOWEST_C <= value / 1000 <= _HIGHEST_C else None


def parse_khz(text: str) -> Optional[float]:
    """Megahertz from a cpufreq file, which is in kilohertz; None for none at all or more than 10 GHz."""
    value = _integer(text)
    return value / 1000 if value is not None and 0 < value / 1000 <= _HIGHEST_MHZ else None


def parse_governor(text: str) -> Optional[str]:
    """A cpufreq governor's name."""
    return text.strip() if _GOVERNOR.fullmatch(text.strip()) else None


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name from /proc/meminfo; rows that are not a count of kB are left out."""
    rows = (line.split() for line in text.splitlines())
    found = ((row[0].rstrip(":"), _integer(row[1])) for row in rows if len(row) == 3 and row[2] == "kB")
    return {name: kib * _KIB for name, kib in found if kib is not None and kib >= 0}


def parse_resident(text: str, page_bytes: int) -> Optional[int]:
    """Resident bytes from /proc/self/statm: its second number, in pages."""
    numbers = text.split()
    pages = _integer(numbers[1]) if len(numbers) > 1 else None
    return pages * page_bytes if pages is not None and pages > 0 else None


def parse_loadavg(text: str) -> Optional[float]:
    """The one-minute load from /proc/loadavg."""
    try:
        load = float(text.split(maxsplit=1)[0])
    except (IndexError, ValueError):
        return None
    return load if math.isfinite(load) and load >= 0 else None


def parse_name(text: str) -> Optional[str]:
    """A name in a file of its own, as the device tree's with a NUL behind it; None when it cannot be printed."""
    name = text.strip("\0 \n\t")
    return name if name.isprintable() and 0 < len(name) <= _LONGEST else None


def parse_boot_id(text: str) -> Optional[str]:
    """The id that the kernel draws at each start, from /proc/sys/kernel/random/boot_id."""
    return text.strip() if _BOOT_ID.fullmatch(text.strip()) else None


def parse_os_release(text: str) -> Optional[str]:
    """PRETTY_NAME from /etc/os-release."""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return parse_name(value.strip().strip("\"'"))
    return None


def parse_cpu_name(text: str) -> Optional[str]:
    """The first "model name" of /proc/cpuinfo; 64-bit ARM kernels give none."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return parse_name(value)
    return None


def parse_processors(text: str) -> Optional[int]:
    """How many processors /proc/cpuinfo lists."""
    return sum(line.partition(":")[0].strip() == "processor" for line in text.splitlines()) or None


def _integer(text: str) -> Optional[int]:
    # Not int() alone: it takes "1_000" and the digits of every script, which no kernel writes.
    return int(text) if _INTEGER.fullmatch(text.strip()) else None
