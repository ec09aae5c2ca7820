"""Pictures as inline SVG that takes the page's colours and fonts: light, dark or printed."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from edge.report.words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH_PX = 820
"""Of a picture with a time axis; all begin and end at the same places, so that they can be read together."""
HALF_PX = 404
LEFT_PX, RIGHT_PX = 48, 12
_GAP_PX, _TOP_PX = 34, 20
_POINTS_PER_INCH = 72.0
_FONT_PX = 10.5

# Name -> (light, dark). The series can be told apart with every kind of colour blindness, after M. Okabe and K. Ito,
# "Color Universal Design", darkened to 3:1 and text to 4.5:1 against the paper (WCAG 2.2, 1.4.3 and 1.4.11).
PALETTE = {
    "paper": ("#fefefe", "#11171d"),
    "card": ("#f4f6f8", "#1a222b"),
    "ink": ("#17212b", "#e4eaf0"),
    "muted": ("#52606c", "#a3b1bd"),
    "rule": ("#cbd3da", "#37434f"),
    "link": ("#0a5c8f", "#7cc4f5"),
    "alarm": ("#a83c00", "#ffa873"),
    "held": ("#f0b27a", "#b5651d"),
    "series-0": ("#0072b2", "#58b4f0"),
    "series-1": ("#c04a00", "#ff9a5c"),
    "series-2": ("#007a5e", "#35c9a0"),
    "series-3": ("#9a3d86", "#e59ad2"),
    "series-4": ("#7f6400", "#dfc04f"),
    "series-5": ("#5c6873", "#b3bec8"),
}
COLOURS = {name: light for name, (light, _dark) in PALETTE.items()}
SERIES = [COLOURS[name] for name in PALETTE if name.startswith("series-")]
DASHES: Sequence[tuple[float, ...]] = ((), (6, 2.4), (1.6, 1.8), (7, 2, 1.6, 2))
"""Lengths of line and gap, in px."""
_VARIABLES = {light: f"var(--{name})" for name, light in COLOURS.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
# matplotlib 3.9 writes the one, 3.11 the other.
_FONT = re.compile(r"font: ([^;]*?)([\d.]+px)[^;]*|font-family: [^;]*")
_DECIMALS = re.compile(r"-?\d+\.\d+")
_LONG_PATH = 900  # characters; shorter ones are marks, which a tenth of a pixel would deform
_XLINK = "{http://www.w3.org/1999/xlink}href"


class Key(NamedTuple):
    """One line of a legend."""

    text: str
    colour: str
    """Its name in `PALETTE`."""
    dash: str = ""
    """As SVG writes it."""
    area: bool = False


class Picture(NamedTuple):
    """A drawing with what a reader needs beside it."""

    title: str
    svg: str
    caption: str
    keys: list[Key]
    wide: bool = True


def series(place: int) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes of the series at that place; their combination repeats after twelve."""
    return SERIES[place % len(SERIES)], DASHES[place % len(DASHES)]


def key(text: str, place: int) -> Key:
    """The line of a legend for `series(place)`."""
    _, dashes = series(place)
    return Key(text, f"series-{place % len(SERIES)}", " ".join(f"{length:g}" for length in dashes))


def line(place: int, width: float = 1.4) -> dict[str, Any]:
    """How the line of `series(place)` is plotted."""
    colour, dashes = series(place)
    style: dict[str, Any] = {"color": colour, "linewidth": width}
    # matplotlib counts dashes in line widths.
    return {**style, "linestyle": (0, tuple(length / width for length in dashes))} if dashes else style


@contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings of matplotlib's that nobody can do anything about."""
    with warnings.catch_warnings():
        # A name in letters that matplotlib's font lacks: only its width is guessed, the browser draws it.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support .* natively")
        # matplotlib for Python 3.9 calls a newer pyparsing by its old names.
        warnings.filterwarnings("ignore", message=r".* deprecated - use ", category=DeprecationWarning)
        yield


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib as the page has it. Within it, text is written as text: the browser draws it with its own fonts."""
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
        "axes.unicode_minus": True,
        "path.simplify": True,
        "font.family": "DejaVu Sans",
        "font.size": _FONT_PX,
        "text.color": COLOURS["ink"],
        "axes.edgecolor": COLOURS["rule"],
        "axes.linewidth": 0.8,
        "axes.titlesize": _FONT_PX,
        "axes.titlelocation": "left",
        "axes.titlepad": 5,
        # Given, it need not be looked for among all that is drawn.
        "axes.titley": 1.0,
        "axes.titlecolor": COLOURS["ink"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": COLOURS["rule"],
        "grid.linewidth": 0.5,
        "xtick.color": COLOURS["rule"],
        "ytick.color": COLOURS["rule"],
        "xtick.labelcolor": COLOURS["muted"],
        "ytick.labelcolor": COLOURS["muted"],
        "xtick.labelsize": _FONT_PX - 0.5,
        "ytick.labelsize": _FONT_PX - 0.5,
    }
    with quietly():
        import matplotlib as mpl

        with mpl.rc_context(settings):
            yield


def stack(heights_px: Sequence[int], width_px: int = WIDTH_PX, bottom_px: int = 36) -> tuple[Figure, list[Axes]]:
    """A figure with panels below each other, each with room for its title; only the last has numbers below."""
    from matplotlib.figure import Figure

    height_px = sum(heights_px) + _GAP_PX * (len(heights_px) - 1) + _TOP_PX + bottom_px
    figure = Figure(figsize=(width_px / _POINTS_PER_INCH, height_px / _POINTS_PER_INCH), dpi=_POINTS_PER_INCH)
    panels = []
    top_px = float(height_px - _TOP_PX)
    for place, panel_px in enumerate(heights_px):
        axes = figure.add_axes(
            (
                LEFT_PX / width_px,
                (top_px - panel_px) / height_px,
                (width_px - LEFT_PX - RIGHT_PX) / width_px,
                panel_px / height_px,
            )
        )
        axes.tick_params(length=3, labelbottom=place == len(heights_px) - 1)
        panels.append(axes)
        top_px -= panel_px + _GAP_PX
    return figure, panels


def log_ticks(axis: Axis, limits: tuple[float, float]) -> None:
    """Few ticks at round values of a logarithmic axis, as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    decades = math.log10(limits[1] / limits[0])
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 1 else (1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def few_ticks(axes: Axes) -> None:
    """At most five intervals at the left."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def svg(figure: Figure, name: str, words: str) -> str:
    """The figure as an element for a page.

    Args:
        figure: drawn within `styled()` in colours of `PALETTE`.
        name: distinct on the page, for the ids in it.
        words: what it shows, with the main figures, for who cannot see it.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    box = root.attrib["viewBox"]
    _tidy(root, name)
    root.attrib.clear()
    root.attrib.update({"class": "plot", "viewBox": box, "role": "img", "aria-label": clean(words)})
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _tidy(element: ElementTree.Element, name: str) -> None:
    """Make an element of matplotlib's one of the page: no namespaces, own ids, variables for colours, short numbers."""
    element.tag = element.tag.rpartition("}")[2]
    for child in list(element):
        # Its style sheet would be the whole page's.
        if child.tag.rpartition("}")[2] in ("metadata", "style"):
            element.remove(child)
        else:
            _tidy(child, name)
    if element.tag not in ("text", "tspan"):
        element.text = None
    element.tail = None
    attributes = dict(_attribute(each, value, name) for each, value in element.attrib.items())
    element.attrib.clear()
    element.attrib.update(attributes)


def _attribute(attribute: str, value: str, name: str) -> tuple[str, str]:
    if attribute == "id":
        return attribute, f"{name}-{value}"
    if attribute == _XLINK:
        return "href", value.replace("#", f"#{name}-")
    if attribute == "clip-path":
        return attribute, value.replace("#", f"#{name}-")
    if attribute == "style":
        themed = _COLOUR.sub(lambda found: _VARIABLES[found[0]], value)
        return attribute, _FONT.sub(_own_font, themed)
    if attribute in ("x", "y") or (attribute == "d" and len(value) > _LONG_PATH):
        rounded = _DECIMALS.sub(lambda found: f"{float(found[0]):.1f}".replace(".0", ""), value)
        return attribute, " ".join(rounded.split())
    return attribute, value


def _own_font(found: re.Match[str]) -> str:
    return f"font: {found[1]}{found[2]} var(--font)" if found[2] else "font-family: var(--font)"


def finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that are known."""
    return values[np.isfinite(values)]
