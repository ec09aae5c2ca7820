"""Hours and days at which the service is awake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.schedule import DAYS, Schedule

DAY, WEEK = 1_440, 10_080
MONDAY = datetime(2026, 6, 1)


def at(minute: int) -> datetime:
    """A minute of the week."""
    return MONDAY + timedelta(minutes=minute)


def when(text: str) -> datetime:
    """ "tue 13:05" of that week."""
    day, shown = text.split()
    hours, minutes = shown.split(":")
    return at(DAYS.index(day) * DAY + int(hours) * 60 + int(minutes))


def test_nothing_means_always() -> None:
    assert Schedule.parse(()).awake(at(77))
    assert Schedule.parse(()).next_change(at(77)) is None


@pytest.mark.parametrize(
    ("spans", "awake", "asleep"),
    [
        (["06:00-20:30"], ["mon 06:00", "sun 20:29"], ["mon 05:59", "wed 20:30", "sun 23:59"]),
        (["mon-fri 22:00-04:00"], ["fri 23:00", "sat 03:59", "tue 00:00"], ["mon 03:00", "sat 04:00", "sun 22:30"]),
        (["sun 22:00-04:00"], ["sun 23:59", "mon 00:00", "mon 03:59"], ["mon 04:00", "mon 22:30", "sat 22:30"]),
        (["fri-mon 08:00-9:00"], ["fri 08:00", "sat 08:30", "sun 08:30", "mon 08:30"], ["tue 08:30", "thu 08:30"]),
        (["sat,sun 08:00-24:00"], ["sat 23:59", "sun 23:59"], ["sun 00:00", "mon 00:00", "fri 12:00"]),
        (["Mon, wed - thu 10:00 - 11:00"], ["mon 10:30", "wed 10:30", "thu 10:30"], ["tue 10:30", "fri 10:30"]),
        (["06:00-10:00", "09:00-12:00", "20:00-21:00"], ["mon 09:30", "mon 11:59", "mon 20:00"], ["mon 12:00"]),
        (["mon-sun 00:00-24:00"], ["mon 00:00", "sun 23:59", "thu 24:00"], []),
        (["sat-sat 10:00-09:59"], ["sat 10:00", "sun 09:58"], ["sun 09:59", "mon 10:00"]),
    ],
)
def test_hours_and_days(spans: list[str], awake: list[str], asleep: list[str]) -> None:
    schedule = Schedule.parse(spans)
    assert [text for text in awake if not schedule.awake(when(text))] == []
    assert [text for text in asleep if schedule.awake(when(text))] == []


@pytest.mark.parametrize(
    ("spans", "now", "told"),
    [
        (["06:00-20:30"], "mon 21:00", "06:00"),
        (["06:00-20:30"], "mon 06:00", "20:30"),
        (["mon 06:00-20:30"], "fri 12:00", "mon 06:00"),
        (["mon 06:00-20:30"], "sun 06:00", "mon 06:00"),
        (["mon 06:00-20:30"], "sun 06:01", "06:00"),
        (["sun 22:00-04:00"], "sun 23:00", "04:00"),
        (["sat,sun 00:00-24:00"], "sun 10:00", "00:00"),
        (["sat,sun 00:00-24:00"], "wed 10:00", "sat 00:00"),
        (["mon 00:00-01:00"], "sun 23:59", "00:00"),
        (["06:00-18:00", "18:00-06:00"], "sun 23:59", None),
    ],
)
def test_the_next_change_in_words(spans: list[str], now: str, told: str) -> None:
    assert Schedule.parse(spans).next_change(when(now)) == told


@pytest.mark.parametrize(
    ("span", "says"),
    [
        ("6-20", "'6-20', which is no span of time: expected hours such as 06:00-20:30"),
        ("", "'', which is no span"),
        ("06:00", "no span"),
        ("06:00-20:30 mon", "no span"),
        ("\u0660\u0666:00-20:30", "no span"),
        ("06:00-24:01", "24:01 is no time of day: expected 00:00 to 24:00"),
        ("06:60-20:30", "06:60 is no time"),
        ("25:00-26:00", "25:00 is no time"),
        ("06:00-6:00", "begins when it ends: for a whole day write 00:00-24:00"),
        ("24:00-06:00", "begins at 24:00: that is 00:00"),
        ("mon-fry 06:00-20:30", "'fry' is no day: expected mon, tue"),
        ("mon,,tue 06:00-20:30", "'' is no day"),
        ("-fri 06:00-20:30", "'' is no day"),
        ("monday 06:00-20:30", "'monday' is no day"),
    ],
)
def test_what_is_no_span_is_refused_with_what_was_expected(span: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Schedule.parse(["06:00-20:30", span])
    assert says in str(refused.value)
    assert repr(span) in str(refused.value)


class Span:
    """Days, beginning and end of a span, and which minutes of the week it holds, counted one by one."""

    def __init__(self, days: list[int], begin: int, length: int) -> None:
        end = (begin + length) % DAY
        self.text = f"{','.join(DAYS[day] for day in days)} {clock(begin)}-{clock(end or DAY)}"
        self.minutes = {(day * DAY + begin + minute) % WEEK for day in days for minute in range(length)}


def clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


SPANS = st.builds(
    Span,
    st.lists(st.integers(0, 6), min_size=1, max_size=3),
    st.integers(0, DAY - 1),
    st.integers(1, DAY - 1),
)


@settings(max_examples=60)
@given(st.lists(SPANS, min_size=1, max_size=3), st.integers(0, WEEK - 1))
def test_any_week_is_that_of_its_minutes(spans: list[Span], now: int) -> None:
    schedule = Schedule.parse([span.text for span in spans])
    held = set().union(*(span.minutes for span in spans))
    around = {edge % WEEK for minute in held for edge in (minute - 1, minute, minute + 1)} if len(held) < 60 else {now}
    for minute in {now, *around}:
        assert schedule.awake(at(minute)) == (minute in held)
    told = schedule.next_change(at(now))
    change = next((m for m in range(now + 1, now + WEEK + 1) if (m % WEEK in held) != (now in held)), None)
    if change is None:
        assert told is None
    else:
        day = f"{DAYS[change % WEEK // DAY]} " if change - now >= DAY else ""
        assert told == f"{day}{clock(change % DAY)}"


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def awake_minutes(schedule: Schedule, from_utc_s: float) -> list[str]:
    """What the clock shows in the awake minutes of the eight hours from a moment on."""
    shown = [time.localtime(from_utc_s + 60 * minute) for minute in range(480)]
    return [time.strftime("%H:%M", each) for each in shown if schedule.awake(each)]


def test_the_hour_that_the_clock_shows_twice_is_awake_twice(berlin: None) -> None:
    night_s = 1_792_882_800.0  # 2026-10-25 01:00 on that wall
    assert time.strftime("%F %H:%M", time.localtime(night_s)) == "2026-10-25 01:00"
    within, over = Schedule.parse(["02:10-02:15"]), Schedule.parse(["01:00-04:00"])
    assert awake_minutes(within, night_s) == ["02:10", "02:11", "02:12", "02:13", "02:14"] * 2
    assert len(awake_minutes(over, night_s)) == 4 * 60


def test_the_hour_that_the_clock_skips_never_comes(berlin: None) -> None:
    night_s = 1_774_742_400.0  # 2026-03-29 01:00 on that wall
    assert time.strftime("%F %H:%M", time.localtime(night_s)) == "2026-03-29 01:00"
    within, begins = Schedule.parse(["02:10-02:50"]), Schedule.parse(["02:30-03:05"])
    assert awake_minutes(within, night_s) == []
    assert awake_minutes(begins, night_s) == ["03:00", "03:01", "03:02", "03:03", "03:04"]
    assert len(awake_minutes(Schedule.parse(["01:00-04:00"]), night_s)) == 2 * 60
