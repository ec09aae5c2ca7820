"""The page: self-contained, escaped, the same for the same report, and readable for machines too."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import msgspec
import pytest

from edge.errors import ConfigError
from edge.report.drawn.page import page
from edge.report.figures import Event, Report
from tests import reports

pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")

VOID = {"meta", "br", "link", "img", "input", "hr"}
NASTY = '<script>alert("1")</script> \' & {{ 7 * 7 }} $x_1$ 日本語 🍅 \u202e\x00 ' + "W" * 300


class Reader(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.headings: list[tuple[int, str]] = []
        self.style = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
            return
        self.texts.append(data)
        if "tr" in self.open and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data
        if self.open and any(re.fullmatch("h[1-6]", tag) for tag in self.open):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def nasty() -> Report:
    """A report in which every name is hostile."""
    hostile = reports.journal(
        NASTY,
        days=2,
        count=30,
        path=f"/tmp/{NASTY}\udcff.db",
        drops={NASTY: 5},
        governors=[NASTY],
        predicted={NASTY: 3},
        accuracy=[reports.accuracy(NASTY, NASTY, 2, (NASTY, f"{NASTY}2"))],
        events=[Event(reports.BEGAN_S + 5, NASTY, NASTY, {NASTY: [NASTY]})],
        notes=[NASTY],
        runs=[
            reports.run(
                NASTY,
                reports.BEGAN_S,
                reports.BEGAN_S + 9,
                **dict.fromkeys(("ended_because", "model", "model_sha256", "runtime", "backend", "camera"), NASTY),
                board={"model": NASTY, NASTY: NASTY},
                versions={NASTY: NASTY},
                configuration={NASTY: NASTY},
            )
        ],
    )
    return reports.report(hostile, reports.journal("other", days=1, count=5), outliers=[NASTY])


MAKERS = {
    "month": reports.month,
    "three": reports.three,
    "scarce": reports.scarce,
    "nothing": reports.nothing,
    "nasty": nasty,
}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: page(make()) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def read(pages: dict[str, str]) -> dict[str, Reader]:
    return {name: Reader(text) for name, text in pages.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_comes_from_elsewhere(pages: dict[str, str], read: dict[str, Reader], name: str) -> None:
    for tag, attributes in read[name].tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form", "image"), tag
        for attribute, value in attributes.items():
            assert not attribute.startswith("on"), attribute
            assert attribute not in ("src", "srcset", "action", "data", "poster", "xlink:href"), attribute
            if attribute == "href":
                assert value.startswith("#")
            assert set(re.findall(r"url\((.)", value)) <= {"#"}
    assert "@import" not in read[name].style
    assert "url(" not in read[name].style
    assert "<!DOCTYPE html>" in pages[name][:20]
    assert "default-src 'none'" in pages[name]
    assert len(pages[name].encode()) < 3_000_000


@pytest.mark.parametrize("name", MAKERS)
def test_pages_are_accessible(read: dict[str, Reader], name: str) -> None:
    reader = read[name]
    assert reader.open == []
    levels = [level for level, _ in reader.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    assert all(text.strip() for _, text in reader.headings)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.tags:
        if tag == "th":
            assert attributes["scope"] in ("row", "col", "rowgroup")
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or len(attributes["aria-label"]) > 20
    assert ("html", {"lang": "en"}) in reader.tags


def test_hostile_names_are_text(pages: dict[str, str], read: dict[str, Reader]) -> None:
    text = read["nasty"].text
    assert '<script>alert("1")</script>' in text
    assert "{{ 7 * 7 }} $x_1$ 日本語 🍅" in text
    assert "\u202e" not in pages["nasty"]
    assert "\x00" not in pages["nasty"]
    pages["nasty"].encode()


def test_figures_are_those_of_the_report(read: dict[str, Reader]) -> None:
    journal = reports.month().journals[0]
    reader = read["month"]
    age = journal.latency["throttled"]["age"]
    assert [
        "age",
        "1,283,040",
        *(f"{value:.0f}" for value in (age.mean, age.p50, age.p90, age.p95, age.p99, age.p999)),
    ] == [row[:8] for row in reader.rows if row[0] == "age"][1]
    assert "25,660,800" in reader.text
    assert "95 % interval 89.3 to 92.6 %" in reader.text
    assert journal.notes[0] in reader.text
    assert "2026-06-01 00:00 to 2026-07-01 00:00 UTC" in reader.text
    assert "9f2c" * 16 in reader.text
    assert ["tomato, ripe", "405", "369", "36", "", "", "", "", "", ""] in reader.rows


def test_insufficient_percentiles_say_so(read: dict[str, Reader]) -> None:
    row = next(row for row in read["scarce"].rows if row[0] == "invoke")
    assert row[5:8] == ["insufficient (80 of 130)", "insufficient (80 of 662)", "insufficient (80 of 6636)"]


def test_what_is_not_known_is_said_or_left_out(read: dict[str, Reader]) -> None:
    text = read["scarce"].text
    assert "Temperature not known" in text
    assert "Throttled not known" in text
    assert "There is no truth" in text or "there is no truth" in text
    assert "nan" not in text.lower().split()
    assert "None" not in text.split()


def test_an_empty_journal_and_an_empty_report_are_pages(read: dict[str, Reader]) -> None:
    assert "No frame was recorded." in read["nothing"].text
    assert "There is no journal in this report." in Reader(page(reports.report())).text


def test_several_journals_stand_side_by_side_with_outliers_first(read: dict[str, Reader]) -> None:
    text = read["three"].text
    assert text.index("roof: the median age is 88 ms") < text.index("Side by side")
    names = [row[0].split("Raspberry")[0] for row in read["three"].rows[1:4]]
    assert names == ["greenhouse", "gate-north", "roof"]
    links = [attributes["href"] for tag, attributes in read["three"].tags if tag == "a"]
    ids = {attributes.get("id") for _, attributes in read["three"].tags}
    assert len(links) == 3
    assert {link[1:] for link in links} <= ids


def test_the_same_report_is_the_same_page(pages: dict[str, str]) -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(reports.scarce()), type=Report)
    assert page(decoded) == pages["scarce"]


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"needs {missing}.*install -e '\.\[report\]'"):
        page(reports.nothing())
