"""Pictures of a comparison: accuracy against latency, sizes, latencies, and the trainings' curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

from deploy.comparison.records import FORMS, TITLES, Comparison, Line, most_half_width
from deploy.training.fitting import Epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {"keras": "s", "float32": "o", "int8": "^"}


def pictures(result: Comparison, histories: Mapping[str, Sequence[Epoch]]) -> dict[str, Figure]:
    """All pictures that there is something to show on, by the name of their file.

    Args:
        result: what was found.
        histories: the epochs of each trained model, by its name.
    """
    made = {
        "sizes.png": bars(result, lambda line, form: line.bytes[form] / 1e6, "size (MB)"),
        "latency.png": bars(
            result, lambda line, form: line.latency_ms[form].p50 or 0.0, "latency of one picture, median (ms)"
        ),
    }
    if histories:
        made["accuracy_latency.png"] = accuracy_latency(result)
        made["curves.png"] = curves(histories)
    return made


def accuracy_latency(result: Comparison) -> Figure:
    """Accuracy against latency: a colour for each model, a marker for each form, a line that joins its forms."""
    from matplotlib.figure import Figure

    shown = [line for line in result.lines if line.trials]
    figure = Figure(figsize=(9, max(5.0, 2.2 + 0.25 * len(shown))), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(shown):
        points = [(line.latency_ms[form].p50 or 0.0, 100 * (line.top1(form) or 0.0)) for form in FORMS]
        axes.plot(*zip(*points), color=_colour(number), linewidth=1, alpha=0.5)
        for form, point in zip(FORMS, points):
            axes.plot(*point, _MARKERS[form], color=_colour(number), markersize=7)
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.set_xlabel(f"latency of one picture, median (ms), {result.threads} threads")
    axes.set_ylabel("test top-1 (%)")
    axes.set_title(_of_pictures(result), fontsize="small", parse_math=False)
    axes.grid(alpha=0.3)
    _legends(figure, [line.name for line in shown], {TITLES[form]: {"marker": _MARKERS[form]} for form in FORMS})
    missing = [line.name for line in result.lines if not line.trials]
    if missing:
        axes.set_xlabel(f"{axes.get_xlabel()}\nno weights here, so not shown: {_wrapped(missing)}")
    return figure


def _of_pictures(result: Comparison) -> str:
    trials = [trial for line in result.lines for trial in line.trials]
    images = max(trial.images for trial in trials)
    means = f"means of {result.seeds} splits, each of " if result.seeds > 1 else ""
    points = 100 * most_half_width(trials)
    return f"{result.data}: {means}{images} test pictures; 95 % interval of one accuracy ±{points:.1f} points at most"


def bars(result: Comparison, value: Callable[[Line, str], float], title: str) -> Figure:
    """A group of bars for each model, a bar for each form.

    Args:
        result: what was found.
        value: how long the bar of a line's form is.
        title: what that is, with its unit.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.6 + 0.6 * len(result.lines)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(FORMS)
    for place, form in enumerate(FORMS):
        rows = [number + (place - 1) * height for number in range(len(result.lines))]
        drawn = axes.barh(rows, [value(line, form) for line in result.lines], height, label=TITLES[form])
        axes.bar_label(drawn, fmt="%.1f", padding=2, fontsize="x-small")
    axes.set_yticks(range(len(result.lines)), [line.name for line in result.lines])
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.02)
    axes.set_xlabel(title)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(FORMS), frameon=False)
    return figure


def curves(histories: Mapping[str, Sequence[Epoch]]) -> Figure:
    """Accuracy and loss over the epochs of all trainings, fine-tuning behind the head."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    styles = {"validation": "-", "training": ":"}
    figure = Figure(figsize=(12, max(4.5, 2.2 + 0.25 * len(histories))), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        for number, history in enumerate(histories.values()):
            shown = [epoch for place, epoch in enumerate(history) if place == 0 or epoch.epoch > 0]
            for part, style in styles.items():
                values = [getattr(epoch, f"{part[:5] if part == 'training' else part}_{what}") for epoch in shown]
                points = [(place, value) for place, value in enumerate(values) if value is not None]
                if points:
                    axes.plot(*zip(*points), style, color=_colour(number), linewidth=1.2)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("accuracy" if what == "accuracy" else "loss (nats)")
        axes.grid(alpha=0.3)
    _legends(figure, histories, {part: {"linestyle": style} for part, style in styles.items()})
    return figure


def _colour(number: int) -> Any:
    """Ten dark colours, then their light twins."""
    import matplotlib

    return matplotlib.colormaps["tab20"]((2 * number % 20 + number // 10 % 2) % 20)


def _legends(figure: Figure, names: Iterable[str], kinds: Mapping[str, Mapping[str, Any]]) -> None:
    """Beside the plot: which colour is which model, and which marker or line is what."""
    from matplotlib.lines import Line2D

    models = [Line2D([], [], color=_colour(number), linewidth=3, label=name) for number, name in enumerate(names)]
    others = [Line2D([], [], **{"color": "0.3", "linestyle": "", **kind}, label=name) for name, kind in kinds.items()]
    figure.legend(handles=[*models, *others], loc="outside right center", fontsize="small", frameon=False)


def _plain_ticks(axis: Any) -> None:
    """1, 2, 5, 10 and so on along a logarithmic axis, as they are written here."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _wrapped(names: Sequence[str]) -> str:
    """Names with a line break after every fourth."""
    return ",\n".join(", ".join(names[start : start + 4]) for start in range(0, len(names), 4))
