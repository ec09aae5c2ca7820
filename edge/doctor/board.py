"""What holds the board back: its supply, its clock's governor, its heat."""

from __future__ import annotations

from collections.abc import Iterator

from edge.doctor.case import Case
from edge.doctor.findings import Finding, note, ok, warning

HOT_C = 80.0
"""A Raspberry Pi slows down from here on. Source: Raspberry Pi documentation, "Frequency management"."""
CORAL_HOT_C = 85.0
"""The first temperature at which an Edge TPU on PCIe slows down. Source: its driver's defaults."""
_SUPPLY = (
    "use the supply made for the board (5.1 V; 3 A for a Pi 4, 5 A for a Pi 5) with its own short cable, and a powered "
    "hub for an Edge TPU or disk."
)
_COOLING = "cool it (heat sink, fan, air), or let it do less: fps, runtime.threads."


def power(case: Case) -> Iterator[Finding]:
    """Throttling and under-voltage, now and since the start."""
    board = case.board
    if board.throttled_now is None:
        if case.is_raspberry_pi:
            yield note(
                "not known: vcgencmd is not here, fails, or may not be used.",
                "`sudo apt install raspi-utils` (or libraspberrypi-bin), and be in the group video.",
            )
        else:
            yield note("not known: only a Raspberry Pi tells it.")
        return
    if board.throttled_now:
        yield warning(f"now: {', '.join(board.throttled_now)}.", _mended(board.throttled_now))
    since = board.throttled_since_boot
    before = tuple(word for word in since or () if word not in board.throttled_now)
    if before:
        yield warning(f"at some time since the start: {', '.join(before)}.", _mended(before))
    if not board.throttled_now and not before:
        yield ok(f"nothing is throttled now{', nor was since the start' if since is not None else ''}.")


def governor(case: Case) -> Iterator[Finding]:
    """Which clock the board chooses."""
    board = case.board
    if board.governor is None:
        yield note("not known: this machine tells no governor.")
        return
    known = (board.clock_min_mhz, board.clock_max_mhz)
    clocks = f", {known[0]:g} to {known[1]:g} MHz" if known[0] is not None and known[1] is not None else ""
    if board.governor == "powersave" and known[0] != known[1]:
        yield warning(
            f"powersave{clocks}: the lowest clock is used, whatever there is to do.",
            "`echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`.",
        )
    else:
        yield ok(f"{board.governor}{clocks}.")


def temperature(case: Case) -> Iterator[Finding]:
    """How hot the processor and an Edge TPU are."""
    board = case.board
    for what, found_c, limit_c in (
        ("the processor", board.temperature_c, HOT_C),
        ("the Edge TPU on PCIe", board.coral_temperature_c, CORAL_HOT_C),
    ):
        if found_c is not None and found_c >= limit_c:
            yield warning(f"{what} has {found_c:.1f} °C: from {limit_c:g} °C on it slows down.", _COOLING)
        elif found_c is not None:
            yield ok(f"{what} has {found_c:.1f} °C.")
        elif what == "the processor":
            yield note("not known: this machine tells none.")


def _mended(words: tuple[str, ...]) -> str:
    return _SUPPLY if "under-voltage" in words else _COOLING
