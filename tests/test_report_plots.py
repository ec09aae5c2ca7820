"""What pictures there are, and what they say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import msgspec
import pytest

from edge.report.drawn import distributions, occurrences, plots, timelines
from edge.report.drawn.drawing import Picture
from edge.report.figures import Event
from tests import reports

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")


def texts(picture: Picture) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(picture.svg).iter("text")]


def words(picture: Picture) -> str:
    return ElementTree.fromstring(picture.svg).attrib["aria-label"]


@pytest.fixture(scope="module")
def month() -> dict[str, Picture]:
    return {picture.title: picture for picture in plots.of_one(reports.month().journals[0], "j")}


def test_a_journal_has_all_its_pictures(month: dict[str, Picture]) -> None:
    assert list(month) == [
        "Latency, temperature and clock",
        "Distribution: age of an answer",
        "Distribution: model alone (invoke)",
        "Frame rate and frames not classified",
        "Accuracy by day",
        "What happened",
    ]
    assert sum(len(picture.svg) for picture in month.values()) < 1_000_000


def test_latency_stands_beside_heat_clock_and_shaded_spans(month: dict[str, Picture]) -> None:
    picture = month["Latency, temperature and clock"]
    titles = " ".join(texts(picture))
    for part in ("Age of an answer", "Stages in ms", "Temperature in °C", "Clock in MHz"):
        assert part in titles
    assert "var(--held)" in picture.svg
    assert [key.text for key in picture.keys][:5] == ["age", "invoke", "wait", "preprocess", "postprocess"]
    assert "held back in 41 of 456 spans" in words(picture)
    assert "spans of 1 h 30 min each" in picture.caption


def test_what_the_board_does_not_tell_is_left_out() -> None:
    picture = timelines.latency(reports.scarce().journals[0], "j")
    titles = " ".join(texts(picture))
    assert "Temperature" not in titles
    assert "Clock" not in titles
    assert "var(--held)" not in picture.svg
    assert "temperature not known; throttling not known" in words(picture)


def test_a_gap_in_the_record_is_a_gap_in_the_line() -> None:
    journal = reports.journal(days=1, count=6, drops={})
    first, *_, last = journal.moments
    whole, cut = (
        timelines.rate(msgspec.structs.replace(journal, moments=moments), "j").svg
        for moments in (reports.moments(1, 2), [first, last])
    )
    lines = [
        re.findall(r'<path d="(M[^"]*)" clip-path="[^"]*" style="[^"]*stroke: var\(--series-0\)', each)
        for each in (whole, cut)
    ]
    assert [sum(path.count("M") for path in found) for found in lines] == [1, 2]


def test_drops_are_shown_by_reason(month: dict[str, Picture]) -> None:
    picture = month["Frame rate and frames not classified"]
    assert [key.text for key in picture.keys] == ["classified", "busy", "rate"]
    assert "not classified 463,451 (1.8 %): busy 412,331, rate 51,120" in words(picture)
    without = timelines.rate(reports.scarce().journals[0], "j")
    assert "none was left out" in words(without)
    assert without.keys == []


def test_frames_that_a_gate_kept_back_are_drawn_apart() -> None:
    moments = [msgspec.structs.replace(each, unchanged=90_000) for each in reports.moments(1, 6)]
    picture = timelines.rate(reports.journal(days=1, count=6, drops={}, unchanged=540_000, moments=moments), "j")
    assert "none was left out. Kept back by the gate, unchanged: 540,000." in words(picture)
    assert any("kept back" in text for text in texts(picture))
    assert picture.keys == []


def test_days_have_the_number_of_frames_below(month: dict[str, Picture]) -> None:
    shown = texts(month["Accuracy by day"])
    journal = reports.month().journals[0]
    assert {str(share.counted) for each in journal.accuracy for share in each.days.values()} <= set(shown)


def test_distributions_tell_states_apart_and_show_all_samples() -> None:
    journal = reports.journal(days=1, count=2)
    curves = [
        distributions.Curve(state, journal.latency[state]["age"], place) for place, state in enumerate(journal.latency)
    ]
    picture = distributions.distribution("Age", curves, "j")
    assert [key.text.split(" (")[0] for key in picture.keys] == ["steady", "warm-up", "throttled"]
    assert f"steady: p50 {journal.latency['steady']['age'].p50:.1f}" in words(picture)
    assert "warm-up: p50 113 ms" in words(picture)
    assert distributions.distribution("Age", [], "j") is None


def test_one_sample_is_a_distribution() -> None:
    one = reports.latency(3.0, 1)
    picture = distributions.distribution("Age", [distributions.Curve("steady", one, 0)], "j")
    assert "too few samples for a percentile" in words(picture)


def test_events_are_grouped_by_kind_and_trouble_comes_first(month: dict[str, Picture]) -> None:
    shown = texts(month["What happened"])
    kinds = [text for text in shown if text in {event.kind for event in reports.events(30)}]
    assert kinds == ["throttled", "camera lost", "clock jumped", "disk low", "started", "camera found", "stopped"]
    assert "25" in shown


def test_thousands_of_events_of_many_kinds_stay_small() -> None:
    listed = [Event(reports.BEGAN_S + n, "r1", f"kind {n % 40} 日本🍅\x00<b>", {}) for n in range(20_000)]
    picture = occurrences.happened([reports.journal(days=1, count=2, events=listed)], "j")
    assert len(picture.svg) < 1_500_000
    assert any(text.startswith("26 other kinds: ") for text in texts(picture))


def test_several_journals_share_pictures_in_colours_of_their_own() -> None:
    report = reports.three()
    pictures = {picture.title: picture for picture in plots.of_all(report)}
    over_time = pictures["Side by side over time"]
    assert [(key.text, key.colour) for key in over_time.keys] == [
        ("greenhouse", "series-0"),
        ("gate-north", "series-1"),
        ("roof", "series-2"),
    ]
    assert len({key.dash for key in over_time.keys}) == 3
    assert [key.text.split(" (")[0] for key in pictures["Distribution: age of an answer"].keys][-1] == "all together"
    assert {"greenhouse: labels", "roof: reviewed pictures"} <= set(texts(pictures["Accuracy"]))
    assert "What happened" in pictures
    assert "Accuracy by day" in pictures


def test_nothing_known_is_no_picture() -> None:
    assert plots.of_one(reports.nothing().journals[0], "j") == []
    assert plots.of_all(reports.report(*reports.nothing().journals * 2)) == []
