"""Whether there is room where the journal is, and what is written there lasts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from edge.doctor.case import Case
from edge.doctor.findings import Finding, ok, warning

_MMC_MAJOR = "179"
"""Of SD cards and eMMC. Source: the kernel's devices.txt."""
_IN_MEMORY = ("tmpfs", "ramfs")
_WEARS_BYTES_PER_DAY = 200_000_000
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A file system, as the kernel has it mounted."""

    device: str
    """Major and minor number, such as "179:2"."""
    place: str
    kind: str
    """Such as "ext4"."""


def examine(case: Case) -> Iterator[Finding]:
    """The disk that holds the journal, or else the system."""
    from edge.errors import JournalError
    from edge.journal import journal_path

    settings = case.config.journal
    try:
        folder = journal_path(settings).parent
    except JournalError:  # none is named, or it cannot be one, which the section journal tells
        folder = Path("/")
    folder = next(each for each in (folder, *folder.parents) if (case.root / str(each).lstrip("/")).is_dir())
    where = case.root / str(folder).lstrip("/")
    mount = mount_of(folder, case.text("proc/self/mountinfo") or "")
    system = os.statvfs(where)
    free_bytes = system.f_bavail * system.f_frsize
    room = f"{free_bytes / 1e9:.1f} GB are free at {folder}{_medium(case, mount)}"
    problems = list(_problems(case, folder, mount, system, free_bytes))
    yield from problems
    if not problems:
        yield ok(f"{room}.")


def _problems(
    case: Case, folder: Path, mount: Optional[Mount], system: os.statvfs_result, free_bytes: int
) -> Iterator[Finding]:
    settings = case.config.journal
    if system.f_flag & os.ST_RDONLY:
        yield warning(
            f"the file system at {folder} is read-only{': nothing is recorded' if settings.path else ''}.",
            "see why with `sudo dmesg`: a damaged card is mounted so; else `sudo mount -o remount,rw` it.",
        )
    elif free_bytes < settings.min_free_bytes:
        yield warning(
            f"only {free_bytes / 1e6:.0f} MB are free at {folder}: below {settings.min_free_bytes / 1e6:g} MB "
            "(journal.min_free_bytes) frames get no rows.",
            "make room; `sudo du -xh / | sort -h | tail` shows what takes most.",
        )
    elif system.f_files and not system.f_favail:
        yield warning(f"no more files can be made at {folder}: its inodes are used up.", "delete small files there.")
    if settings.path and mount and mount.kind in _IN_MEMORY:
        yield warning(
            f"{folder} is in memory ({mount.kind}): what is recorded is lost when the machine stops.",
            "name another place in journal.path, such as /var/lib/edge-runner/field.db.",
        )
    if settings.path and _is_mmc(mount) and settings.max_bytes_per_day > _WEARS_BYTES_PER_DAY:
        yield warning(
            f"the journal may write {settings.max_bytes_per_day / 1e6:g} MB a day{_medium(case, mount)}, which wears.",
            "leave journal.max_bytes_per_day at its 20 MB, or put the journal on a disk.",
        )


def mount_of(folder: Path, mountinfo: str) -> Optional[Mount]:
    """The file system that a folder is on.

    Args:
        folder: absolute.
        mountinfo: the text of /proc/self/mountinfo; what is no row of it is left out.
    """
    found = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        own, rest = left.split(), right.split()
        if len(own) < 6 or not rest:
            continue
        place = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), own[4])
        holds = folder == Path(place) or Path(place) in folder.parents
        if holds and (found is None or len(place) >= len(found.place)):  # a later one at the same place covers it
            found = Mount(own[2], place, rest[0])
    return found


def _is_mmc(mount: Optional[Mount]) -> bool:
    return mount is not None and mount.device.partition(":")[0] == _MMC_MAJOR


def _medium(case: Case, mount: Optional[Mount]) -> str:
    if mount is None or not _is_mmc(mount):
        return ""
    entry = f"sys/dev/block/{mount.device}"
    kind = case.text(f"{entry}/../device/type") or case.text(f"{entry}/device/type") or ""
    return {"SD": ", on an SD card", "MMC": ", on eMMC"}.get(kind.strip(), ", on an SD card or eMMC")
