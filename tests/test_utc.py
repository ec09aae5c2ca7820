from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge import utc
from edge.errors import ConfigError

S = utc.NS_PER_S
MOMENTS = st.integers(0, 8_999_999_999 * S)
PRESENTS = st.integers(1_577_836_800 * S, 4_000_000_000 * S)


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zones")


def at(text: str) -> int:
    """Nanoseconds of ISO 8601 with an offset, as Python reads it."""
    return round(datetime.fromisoformat(text).timestamp()) * S


NOON_NS = at("2026-07-03T12:00:00+02:00")


@pytest.fixture
def berlin() -> ZoneInfo:
    return zone_of("Europe/Berlin")


@given(MOMENTS, st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Africa/Monrovia", "UTC"]))
def test_what_is_written_reads_back_to_the_nanosecond(moment_ns: int, name: str) -> None:
    zone = zone_of(name)
    assert utc.parse(utc.iso(moment_ns, zone), NOON_NS, zone=zone) == moment_ns


@given(st.integers(0, 4_000_000_000), st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]))
def test_local_times_are_one_moment_or_an_error(moment_s: int, name: str) -> None:
    zone = zone_of(name)
    local = datetime.fromtimestamp(moment_s, zone)
    text = local.strftime("%Y-%m-%d %H:%M:%S").replace(" ", "T")
    assume(len(text) == 19)
    both = {local.replace(fold=fold).timestamp() for fold in (0, 1)}
    if len(both) == 1:
        assert utc.parse(text, NOON_NS, zone=zone) == moment_s * S
    else:
        with pytest.raises(ConfigError, match="was twice"):
            utc.parse(text, NOON_NS, zone=zone)


@given(st.text(max_size=30) | st.from_regex(r"[-+0-9T:.,Zdhmins ]{1,30}", fullmatch=True), PRESENTS)
def test_any_text_is_a_moment_or_one_sentence(text: str, now_ns: int) -> None:
    try:
        moment_ns = utc.parse(text, now_ns)
    except ConfigError as error:
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert 0 <= moment_ns < 2**63


@given(PRESENTS, st.integers(0, 10**9), st.sampled_from([("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)]))
def test_relative_times_count_from_the_present_or_from_the_beginning(
    now_ns: int, number: int, unit: tuple[str, int]
) -> None:
    name, size_s = unit
    apart_ns = number * size_s * S
    assume(apart_ns < 1_000_000_000 * S)
    base_ns = now_ns - 5000 * S
    assert utc.parse(f"-{number}{name}", now_ns, base_ns=base_ns) == now_ns - apart_ns
    assert utc.parse(f"+{number}{name}", now_ns, base_ns=base_ns) == base_ns + apart_ns
    assert utc.parse(f"+{number} {name}", now_ns) == now_ns + apart_ns


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-07-03T14:05", "2026-07-03T14:05:00+02:00"),
        ("2026-01-03 14:05:06", "2026-01-03T14:05:06+01:00"),
        ("2026-07-03T14:05Z", "2026-07-03T14:05:00+00:00"),
        ("2026-07-03T14:05:06-0330", "2026-07-03T14:05:06-03:30"),
        ("14:05", "2026-07-03T14:05:00+02:00"),
        (" 14:05:59 ", "2026-07-03T14:05:59+02:00"),
        ("now", "2026-07-03T12:00:00+02:00"),
        ("-15min", "2026-07-03T11:45:00+02:00"),
        ("+1.5h", "2026-07-03T13:30:00+02:00"),
        ("2026-10-25T02:30+02:00", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:30+01:00", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_every_documented_form(text: str, meant: str, berlin: ZoneInfo) -> None:
    assert utc.parse(text, NOON_NS, zone=berlin) == at(meant)


def test_fractions_of_a_second() -> None:
    assert utc.parse("2026-07-03T14:05:06,25Z", NOON_NS) == at("2026-07-03T14:05:06+00:00") + S // 4
    assert utc.parse("+0.000000001s", NOON_NS) == NOON_NS + 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no time"),
        ("yesterday", "expected such as"),
        ("2026-07-03", "expected such as"),
        ("15min", "expected such as"),
        ("+15", "expected such as"),
        ("+15m", "expected such as"),
        ("1:30", "expected such as"),
        ("2026-02-30T10:00", "no such day"),
        ("25:00", "no such hour"),
        ("2026-07-03T10:00+24:00", "its offset"),
        ("1066-10-14T09:00", "too far away"),
        ("9999-10-14T09:00", "too far away"),
        ("-999999d", "too far away"),
        ("2026-03-29T02:30", "never was: clocks were put forward"),
        ("2026-10-25T02:30", "2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"),
    ],
)
def test_what_is_no_time_is_told(text: str, words: str, berlin: ZoneInfo) -> None:
    with pytest.raises(ConfigError) as caught:
        utc.parse(text, NOON_NS, zone=berlin)
    assert words in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("begin", "end", "meant"),
    [
        ("-15min", "now", ("2026-07-03T11:45:00+02:00", "2026-07-03T12:00:00+02:00")),
        ("-15min", "-5min", ("2026-07-03T11:45:00+02:00", "2026-07-03T11:55:00+02:00")),
        ("-15min", "+5min", ("2026-07-03T11:45:00+02:00", "2026-07-03T11:50:00+02:00")),
        ("08:00", "+90s", ("2026-07-03T08:00:00+02:00", "2026-07-03T08:01:30+02:00")),
        ("2026-10-24T12:00", "+24h", ("2026-10-24T12:00:00+02:00", "2026-10-25T11:00:00+01:00")),
    ],
)
def test_spans(begin: str, end: str, meant: tuple[str, str], berlin: ZoneInfo) -> None:
    assert utc.parse_span(begin, end, NOON_NS, berlin) == tuple(map(at, meant))


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [("now", "-1s", "ends before it begins"), ("23:50", "00:10", "ends before"), ("09:00", "09:00:00", "empty")],
)
def test_inverted_and_empty_spans(begin: str, end: str, words: str, berlin: ZoneInfo) -> None:
    with pytest.raises(ConfigError, match=words):
        utc.parse_span(begin, end, NOON_NS, berlin)


@pytest.mark.parametrize("text", ["now", "14:05", "-15min", "+2h"])
def test_a_clock_that_was_never_set_is_not_trusted(text: str) -> None:
    with pytest.raises(ConfigError, match=r"never set \(it says 1970-01-01T01:00:40\+01:00\)"):
        utc.parse(text, 40 * S, zone=timezone(timedelta(hours=1)))
    assert utc.parse("2026-07-03T10:00Z", 40 * S) == NOON_NS


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    zone_of("America/New_York")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_without_a_zone_times_are_this_machines() -> None:
    assert utc.parse("2026-07-03T06:00", NOON_NS) == NOON_NS
    assert utc.parse("06:00", NOON_NS) == NOON_NS
    assert utc.iso(NOON_NS) == "2026-07-03T06:00:00-04:00"
    with pytest.raises(ConfigError, match=r"01:30:00-04:00 or 2026-11-01T01:30:00-05:00"):
        utc.parse("2026-11-01T01:30", NOON_NS)
    with pytest.raises(ConfigError, match="never was"):
        utc.parse("2026-03-08T02:30", NOON_NS)
