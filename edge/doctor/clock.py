"""Whether the clock tells the time that it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from edge.doctor.case import Case
from edge.doctor.findings import Finding, note, ok, warning
from edge.doctor.processes import properties, told

_EARLIEST = 2025
"""No machine that runs this can be in an earlier year."""
_SET = "`sudo timedatectl set-ntp true`, with a network; `timedatectl timesync-status` tells how it goes."

_INSTALL = "`sudo apt install systemd-timesyncd`, or chrony."


def examine(case: Case) -> Iterator[Finding]:
    """The year, and whether somebody sets the clock."""
    now = datetime.now(timezone.utc)
    if now.year < _EARLIEST:
        yield warning(f"it is set to {now:%Y-%m-%d}: what is recorded has a wrong time.", _SET)
    marker = case.root / "run/systemd/timesync/synchronized"
    said = properties(told(case.root, "timedatectl", "show") or "")
    if marker.exists() or said.get("NTPSynchronized") == "yes":
        yield ok("it is set over the network.")
    elif said.get("CanNTP") == "no":
        yield warning("nothing sets it: no program for network time is installed.", _INSTALL)
    elif said.get("NTP") == "no":
        yield warning("nothing sets it: network time is switched off.", _SET)
    elif said:
        yield warning("it has not been set over the network since the start.", _SET)
    else:
        yield note("not known whether it is set over the network: timedatectl does not tell.")
    if case.is_raspberry_pi and not any((case.root / "dev").glob("rtc*")):
        yield note(
            "the board has no clock of its own: after a power cut the time is wrong until there is a network.",
            "without a network, add a real-time clock; the journal mends its times once the clock is set.",
        )
