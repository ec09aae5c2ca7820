"""Moments as people write them, to UTC in nanoseconds and back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Optional

from edge.errors import ConfigError

NS_PER_S = 1_000_000_000
FORMS = "`2026-07-03T14:05`, `14:05` (today), `now`, `-15min` or `+2h`"
_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_RELATIVE = re.compile(r"([+-])([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(s|min|h|d)")
_CLOCK = r"([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
_TIME = re.compile(_CLOCK)
_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]" + _CLOCK + r"(?:(Z)|([+-][0-9]{2}):?([0-9]{2}))?")
# What SQLite and time zones can hold, with room on both sides.
_FIRST_S, _LAST_S = 0, 9_000_000_000
_UNSET_BEFORE_S = 1_577_836_800
"""2020: a clock that says an earlier time was never set since the machine started without a battery for it."""


def parse(text: str, now_ns: int, *, base_ns: Optional[int] = None, zone: Optional[tzinfo] = None) -> int:
    """UTC in nanoseconds since 1970 of a moment that a person wrote.

    Args:
        text: ISO 8601 with a date and a time, local unless an offset says otherwise; `HH:MM` or `HH:MM:SS`, today;
            `now`; or a number with s, min, h or d behind `+` or `-`.
        now_ns: the present.
        base_ns: what `+` counts from; `-` always counts from the present. [now_ns]
        zone: of times without an offset. [this machine's]

    Raises:
        ConfigError: it is nothing of these; or there was no such local time, or there were two, when clocks were
            put forward or back; or it needs the present and this machine's clock was never set.
    """
    stripped = text.strip()
    if match := _MOMENT.fullmatch(stripped):
        day, clock, seconds, fraction, utc, hours, minutes = match.groups()
        own = timezone.utc if utc else _offset(stripped, hours, minutes) if hours else zone
        return _checked(text, _at(text, day, clock, seconds, fraction, own))
    if now_ns < _UNSET_BEFORE_S * NS_PER_S:
        raise ConfigError(
            f"{text!r} depends on the present, and this machine's clock was never set (it says {iso(now_ns, zone)}): "
            "set it, or give a date and a time."
        )
    if stripped == "now":
        return now_ns
    if match := _TIME.fullmatch(stripped):
        today = datetime.fromtimestamp(now_ns // NS_PER_S, zone).date().isoformat()
        clock, seconds, fraction = match.groups()
        return _checked(text, _at(text, today, clock, seconds, fraction, zone))
    if match := _RELATIVE.fullmatch(stripped):
        sign, number, unit = match.groups()
        apart_ns = int(Decimal(number) * _UNITS_S[unit] * NS_PER_S)
        if sign == "-":
            return _checked(text, now_ns - apart_ns)
        return _checked(text, (now_ns if base_ns is None else base_ns) + apart_ns)
    raise ConfigError(f"{text!r} is no time: expected such as {FORMS}.")


def parse_span(begin: str, end: str, now_ns: int, zone: Optional[tzinfo] = None) -> tuple[int, int]:
    """A span of time: UTC in nanoseconds of its beginning, and of the first moment that is not in it any more.

    In `end`, `+` counts from the beginning.

    Raises:
        ConfigError: see `parse`; or it ends before it begins, or is empty.
    """
    begin_ns = parse(begin, now_ns, zone=zone)
    end_ns = parse(end, now_ns, base_ns=begin_ns, zone=zone)
    if end_ns == begin_ns:
        raise ConfigError(f"The span is empty: both its ends are {iso(begin_ns, zone)}.")
    if end_ns < begin_ns:
        raise ConfigError(
            f"The span ends before it begins: it is from {iso(begin_ns, zone)} to {iso(end_ns, zone)}; "
            "give the earlier time first, and the date of a time that is not of today."
        )
    return begin_ns, end_ns


def iso(utc_ns: int, zone: Optional[tzinfo] = None) -> str:
    """ISO 8601 with the offset of `zone` [this machine's], and with fractions of a second only where there are some.

    `parse` gives back exactly the same moment.
    """
    seconds, fraction_ns = divmod(utc_ns, NS_PER_S)
    # By way of UTC, as `datetime.fromtimestamp(…).isoformat()` alone has no offset without a zone.
    moment = datetime.fromtimestamp(seconds, timezone.utc).astimezone(zone)
    offset = moment.utcoffset() or timedelta()
    if offset % timedelta(minutes=1):
        # Local mean times of the nineteenth century, which ISO 8601 cannot write.
        moment = moment.astimezone(timezone.utc)
    text = moment.isoformat()
    fraction = f".{fraction_ns:09}".rstrip("0") if fraction_ns else ""
    return text[:19] + fraction + text[19:]


def _at(
    text: str, day: str, clock: str, seconds: Optional[str], fraction: Optional[str], zone: Optional[tzinfo]
) -> int:
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}:{seconds or '00'}").replace(tzinfo=zone)
        earlier_s, later_s = (int(moment.replace(fold=fold).timestamp()) for fold in (0, 1))
        is_one = datetime.fromtimestamp(earlier_s, zone).replace(tzinfo=None) == moment.replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"{text!r} is no time: there is no such day or no such hour.") from None
    if earlier_s != later_s and is_one:
        both = [iso(each * NS_PER_S, zone) for each in (earlier_s, later_s)]
        raise ConfigError(f"{text!r} was twice, as clocks were put back: write {both[0]} or {both[1]}.")
    if earlier_s != later_s:
        raise ConfigError(f"{text!r} never was: clocks were put forward over it.")
    return earlier_s * NS_PER_S + int((fraction or "").ljust(9, "0"))


def _offset(text: str, hours: str, minutes: str) -> timezone:
    if int(hours[1:]) > 23 or int(minutes) > 59:
        raise ConfigError(f"{text!r} is no time: its offset is not between -23:59 and +23:59.")
    apart = timedelta(hours=int(hours[1:]), minutes=int(minutes))
    return timezone(-apart if hours[0] == "-" else apart)


def _checked(text: str, moment_ns: int) -> int:
    if not _FIRST_S * NS_PER_S <= moment_ns <= _LAST_S * NS_PER_S:
        raise ConfigError(f"{text!r} is too far away: expected a time between 1970 and 2255.")
    return moment_ns
