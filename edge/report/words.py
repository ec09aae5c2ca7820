"""Figures for a person: numbers, times and names as a page shows them. None is "not known", never 0."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta, timezone
from typing import Optional

from edge.report.backends import spoken
from edge.report.figures import JournalFigures, Share

NOT_KNOWN = "not known"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NEARLY_ALL = 0.9
_UNITS_S = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_KEPT_CONTROLS = "\n\t"
_REPLACEMENT = "\ufffd"
# They would turn the direction of the text around them. Source: Unicode Standard Annex 9.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    """The text without what HTML and SVG cannot hold: control characters, halves of characters, turned directions."""
    return "".join(_REPLACEMENT if _is_unfit(character) else character for character in text)


def _is_unfit(character: str) -> bool:
    if character in _KEPT_CONTROLS:
        return False
    # Noncharacters end in FFFE or FFFF in each plane; XML refuses the first two.
    return (
        unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS or ord(character) & 0xFFFE == 0xFFFE
    )


def short(text: str, most: int = 28) -> str:
    """The text on one line and in at most so many characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def number(value: Optional[float]) -> str:
    """Three significant digits, or all of a number above 100: 0.0123, 1.2, 41, 1,204."""
    if value is None:
        return NOT_KNOWN
    if abs(value) >= 99.95 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ms(value: Optional[float]) -> str:
    """Milliseconds without their unit, to three digits so that columns line up: 0.120, 3.00, 41.0, 1,204."""
    if value is None:
        return NOT_KNOWN
    # Limits below which rounding leaves the number in its own row of digits.
    decimals = next((digits for digits, below in ((3, 0.9995), (2, 9.995), (1, 99.95)) if value < below), 0)
    return f"{value:,.{decimals}f}"


def percent(value: Optional[float]) -> str:
    """A share in [0, 1] as "91.2 %", with digits enough that something is never 0 % and not all never 100 %."""
    if value is None:
        return NOT_KNOWN
    for digits in (1, 2, 3):
        text = f"{100 * value:.{digits}f}"
        if (float(text) > 0 or value == 0) and (float(text) < 100 or value == 1):
            return f"{text} %"
    return "under 0.001 %" if value < 0.5 else "over 99.999 %"


def of(part: float, whole: float) -> Optional[float]:
    """The share, or None of nothing."""
    return part / whole if whole else None


def interval(share: Share) -> str:
    """The ends of its interval, "89.1 to 92.6 %"."""
    if share.low is None or share.high is None:
        return NOT_KNOWN
    return f"{100 * share.low:.1f} to {100 * share.high:.1f} %"


def looked_at(share: Share, what: str = "frame") -> str:
    """How much a share rests on, "12,000 frames, which tell as much as 31 independent ones"."""
    told = count(share.counted, what)
    if share.effective >= _NEARLY_ALL * share.counted:
        return told
    return f"{told}, which tell as much as {count(round(share.effective), 'independent one')}"


def utc(seconds: Optional[float], *, to_seconds: bool = False) -> str:
    """A moment, "2026-06-01 14:03", without saying that it is UTC."""
    if seconds is None:
        return NOT_KNOWN
    moment = _EPOCH + timedelta(seconds=seconds)
    # Not strftime: its years before 1000 differ between platforms.
    return moment.replace(tzinfo=None).isoformat(" ", "seconds" if to_seconds else "minutes")


def span(seconds: float) -> str:
    """A duration in its two largest units: "29 d 4 h", "41 s"."""
    rest = round(seconds)
    if rest < 1:
        return f"{seconds:.2g} s" if seconds > 0 else "0 s"
    largest = next(place for place, (_, unit_s) in enumerate(_UNITS_S) if rest >= unit_s)
    parts = []
    for unit, unit_s in _UNITS_S[largest : largest + 2]:
        count, rest = divmod(rest, unit_s)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def size(value_bytes: Optional[float]) -> str:
    """Bytes in a unit that fits, "3.98 GB"."""
    if value_bytes is None:
        return NOT_KNOWN
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value_bytes >= least:
            return f"{value_bytes / least:.3g} {unit}"
    return f"{value_bytes:.0f} bytes"


def count(value: float, one: str, many: Optional[str] = None) -> str:
    """So many things: "1 frame", "1,204 frames"."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def listed(parts: list[str]) -> str:
    """The parts with commas, and "and" before the last."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def device(journal: JournalFigures) -> str:
    """The board, or the processor where there is no name of a board."""
    names = [short(str(run.board.get("model") or run.board.get("cpu") or ""), 60) for run in journal.runs]
    return listed(list(dict.fromkeys(name for name in names if name))) or NOT_KNOWN


def models(journal: JournalFigures) -> str:
    """All models that ran, each with what it ran on."""
    names = (
        f"{short(run.model, 60)} on {short(run.runtime, 60)} "
        f"({spoken(short(run.backend, 60))}, {count(run.threads, 'thread')})"
        for run in journal.runs
    )
    return listed(list(dict.fromkeys(names))) or NOT_KNOWN
