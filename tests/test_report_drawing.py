"""Pictures as parts of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from edge.report.drawn import drawing

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb". Source: WCAG 2.2."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_can_be_read(theme: int) -> None:
    colours = {name: both[theme] for name, both in drawing.PALETTE.items()}
    for paper in ("paper", "card"):
        for text in ("ink", "muted", "link", "alarm"):
            assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    for name, colour in colours.items():
        if name.startswith("series-"):
            assert contrast(colour, colours["paper"]) >= 3, name


def test_series_are_told_apart_by_colour_and_by_line() -> None:
    assert len({drawing.series(place) for place in range(12)}) == 12
    neighbours = [(drawing.series(place), drawing.series(place + 1)) for place in range(12)]
    assert all(one[0] != other[0] and one[1] != other[1] for one, other in neighbours)


def small(name: str, text: str = "a $b$ & <c> 日本 🍅") -> str:
    with drawing.styled():
        figure, (above, below) = drawing.stack([40, 40])
        above.set_title(text)
        above.plot([0, 1, 2], [1.23456, 2, 3], **drawing.line(1))
        below.fill_between([0, 1, 2], 0, [1, 2, 3], color=drawing.COLOURS["series-0"], alpha=0.5)
        return drawing.svg(figure, name, '3 points, "x" < y\x00')


def test_a_picture_is_an_element_with_words_in_the_colours_of_the_page() -> None:
    element = ElementTree.fromstring(small("one"))
    assert element.tag == "svg"
    assert element.attrib["role"] == "img"
    assert element.attrib["aria-label"] == '3 points, "x" < y\ufffd'
    assert "width" not in element.attrib
    texts = ["".join(each.itertext()) for each in element.iter("text")]
    assert "a $b$ & <c> 日本 🍅" in texts
    styles = " ".join(each.attrib.get("style", "") for each in element.iter())
    assert "var(--series-1)" in styles
    assert "var(--muted)" in styles
    assert "DejaVu" not in styles
    assert not re.search(r"#[0-9a-f]{6}", styles)
    assert not list(element.iter("style"))
    assert not list(element.iter("metadata"))


def test_pictures_of_one_page_share_no_id_and_always_come_out_the_same() -> None:
    one, other = small("one"), small("two")
    ids = [set(re.findall(r' id="([^"]+)"', each)) for each in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((one, other), ids):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= own
    assert one == small("one")
