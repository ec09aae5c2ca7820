"""Numbers, times and names for a person."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.report import words
from edge.report.figures import Share
from tests import reports


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not known"),
        (0, "0"),
        (0.01234, "0.0123"),
        (1.2, "1.2"),
        (99.96, "100"),
        (1204, "1,204"),
        (2e7, "20,000,000"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(None, "not known"), (0.0, "0.000"), (0.1204, "0.120"), (0.9996, "1.00"), (3.0, "3.00"), (9.996, "10.0")],
        *[(41.04, "41.0"), (99.96, "100"), (1204.4, "1,204")],
    ],
)
def test_durations_have_three_digits(value: float | None, text: str) -> None:
    assert words.ms(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(None, "not known"), (0.0, "0.0 %"), (1.0, "100.0 %"), (0.912, "91.2 %")],
        *[(0.0004, "0.04 %"), (0.99996, "99.996 %"), (1e-9, "under 0.001 %"), (1 - 1e-9, "over 99.999 %")],
    ],
)
def test_something_is_never_nothing_and_not_all_never_all(value: float | None, text: str) -> None:
    assert words.percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.02, "0.02 s"), (41, "41 s"), (3600, "1 h"), (3661, "1 h 1 min"), (29.2 * 86_400, "29 d 4 h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_moments_are_utc() -> None:
    assert words.utc(reports.BEGAN_S) == "2026-06-01 00:00"
    assert words.utc(reports.BEGAN_S + 59.9, to_seconds=True) == "2026-06-01 00:00:59"
    assert words.utc(-1.0) == "1969-12-31 23:59"
    assert words.utc(None) == "not known"


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_clean_fits_into_a_page(text: str) -> None:
    clean = words.clean(text)
    clean.encode()
    element = ElementTree.Element("text")
    element.text = clean
    assert ElementTree.fromstring(ElementTree.tostring(element)).text in (clean, clean or None)
    assert len(clean) == len(text)


def test_clean_keeps_what_people_write() -> None:
    assert words.clean('日本 "né" 🍅 שלום\n\t<b>') == '日本 "né" 🍅 שלום\n\t<b>'
    assert words.clean("a\x00b\x1b[31m\udcff\u202egpj.exe") == "a\ufffdb\ufffd[31m\ufffd\ufffdgpj.exe"


@given(st.text(), st.integers(2, 40))
def test_short_is_one_line_and_short(text: str, most: int) -> None:
    short = words.short(text, most)
    assert len(short) <= most
    assert len(short.splitlines()) <= 1


def test_lists_and_counts() -> None:
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.count(1, "frame") == "1 frame"
    assert words.count(1204, "frame") == "1,204 frames"
    assert words.size(3_981_000_000) == "3.98 GB"
    assert words.size(None) == "not known"


def test_what_ran_is_told_once() -> None:
    journal = reports.journal(days=1, count=2)
    assert words.device(journal) == "Raspberry Pi 4 Model B Rev 1.2"
    assert words.models(journal) == "efficientnet_lite0_greenhouse on ai-edge-litert 2.3.0 (cpu, 4 threads)"
    assert words.device(reports.nothing().journals[0]) == "not known"


def test_what_a_share_rests_on() -> None:
    alike = Share(9.0, 10.0, 12_000, 0.9, 0.8, 0.95, 31.4)
    assert words.looked_at(alike) == "12,000 frames, which tell as much as 31 independent ones"
    assert words.looked_at(msgspec.structs.replace(alike, effective=11_900.0)) == "12,000 frames"
