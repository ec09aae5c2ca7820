"""Hours and days at which the service is awake, by the clock on the wall of the place where it stands."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Optional, Union

from edge.errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN = 24 * 60
_WEEK_MIN = len(DAYS) * _DAY_MIN
_SPAN = re.compile(r"(?:(?P<days>.*\S)\s+)?(?P<begin>\d\d?:\d\d)\s*-\s*(?P<end>\d\d?:\d\d)", re.ASCII)
_EXPECTED = "expected hours such as 06:00-20:30, where wanted after days: mon-fri 22:00-04:00, sat,sun 08:00-24:00."

Local = Union[time.struct_time, datetime]


class Schedule:
    """A week, in each minute of which the service is awake or asleep.

    Only what the clock shows counts. An hour that it shows twice in autumn is awake or asleep both times. Of an hour
    that it skips in spring nothing is seen: a span within it does not happen, one that begins in it begins at its end.
    A board whose clock is wrong keeps wrong hours until it is set.
    """

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        """Be awake in these spans, or always where there are none.

        Args:
            spans: minutes of the week, counted from Monday 00:00, at which each begins and at which it is over, no more
                than a week later; they may overlap and reach beyond Sunday.
        """
        self._edges = _edges(spans)
        """Awake from the first to the second, from the third to the fourth, and so on."""

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Schedule:
        """Read the spans of a configuration; none at all means always.

        One that ends no later than it begins ends on the next day: the days are those on which it begins.

        Raises:
            ConfigError: one is no span.
        """
        return cls(span for text in texts for span in _spans(text))

    def awake(self, local: Local) -> bool:
        """Whether there is something to do at a local time."""
        return not self._edges or bisect_right(self._edges, _minute(local)) % 2 == 1

    def next_change(self, local: Local) -> Optional[str]:
        """When that will be otherwise: "06:00", with its day before it when that is a day away or more; None: never."""
        edges, now_min = self._edges, _minute(local)
        changes = [edge for edge in edges if 0 < edge < _WEEK_MIN]
        if edges and (edges[0] == 0) != (edges[-1] == _WEEK_MIN):
            changes = [0, *changes]
        if not changes:
            return None
        later = bisect_right(changes, now_min)
        change_min = changes[later] if later < len(changes) else changes[0] + _WEEK_MIN
        day, minute = divmod(change_min % _WEEK_MIN, _DAY_MIN)
        told = f"{minute // 60:02d}:{minute % 60:02d}"
        return told if change_min - now_min < _DAY_MIN else f"{DAYS[day]} {told}"


def _minute(local: Local) -> int:
    """Of the week."""
    shown = local.timetuple() if isinstance(local, datetime) else local
    return shown.tm_wday * _DAY_MIN + shown.tm_hour * 60 + shown.tm_min


def _edges(spans: Iterable[tuple[int, int]]) -> list[int]:
    pieces: list[tuple[int, int]] = []
    for begin, end in spans:
        pieces += [(begin, min(end, _WEEK_MIN)), *([(0, end - _WEEK_MIN)] if end > _WEEK_MIN else [])]
    edges: list[int] = []
    for begin, end in sorted(pieces):
        if edges and begin <= edges[-1]:
            edges[-1] = max(end, edges[-1])
        else:
            edges += [begin, end]
    return edges


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """The spans of one text, as minutes of the week, the end after the beginning."""
    found = _SPAN.fullmatch(text.strip().lower())
    if not found:
        raise ConfigError(f"The schedule has {text!r}, which is no span of time: {_EXPECTED}")
    begin_min, end_min = (_time(found[name], text) for name in ("begin", "end"))
    if begin_min == end_min:
        raise ConfigError(f"The schedule has {text!r}, which begins when it ends: for a whole day write 00:00-24:00.")
    if begin_min == _DAY_MIN:
        raise ConfigError(f"The schedule has {text!r}, which begins at 24:00: that is 00:00 of the next day.")
    length_min = (end_min - begin_min) % _DAY_MIN or _DAY_MIN
    for day in _days(found["days"], text):
        yield day * _DAY_MIN + begin_min, day * _DAY_MIN + begin_min + length_min


def _time(shown: str, text: str) -> int:
    """Minutes since midnight."""
    hours, minutes = (int(part) for part in shown.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MIN:
        raise ConfigError(f"The schedule has {text!r}, in which {shown} is no time of day: expected 00:00 to 24:00.")
    return hours * 60 + minutes


def _days(listed: Optional[str], text: str) -> set[int]:
    """Numbers of days from names and ranges, which may go over Sunday; all without any."""
    if listed is None:
        return set(range(len(DAYS)))
    days: set[int] = set()
    for part in listed.split(","):
        first, _, last = (name.strip() for name in part.partition("-"))
        for name in (first, last or first):
            if name not in DAYS:
                raise ConfigError(
                    f"The schedule has {text!r}, in which {name!r} is no day: expected {', '.join(DAYS)}."
                )
        begin = DAYS.index(first)
        days |= {(begin + day) % len(DAYS) for day in range((DAYS.index(last or first) - begin) % len(DAYS) + 1)}
    return days
