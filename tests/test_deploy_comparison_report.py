"""The tables and pictures of a comparison, from records."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.comparison import figures as comparison_pictures
from deploy.comparison import report as comparison_report
from deploy.comparison.records import FORMS, Comparison, Line, Trial, interval, most_half_width
from deploy.comparison.report import NO_WEIGHTS
from deploy.training.fitting import Epoch
from edge.stats import summary

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed (extra: convert)"
)
NAMES = (
    *("mobilenet_v2", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite0:finetune"),
    *("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "resnet50", "inception_v3"),
)


def line(name: str, trials: Sequence[Trial], number: int = 1) -> Line:
    times_ns = [1_000_000 * number + 10_000 * run for run in range(100)]
    return Line(
        name=name,
        backbone=name.partition(":")[0],
        kind="head" if trials else "random",
        weights="weights.h5" if trials else "random",
        parameters=3_000_000 + number,
        macs=300_000_000 * number,
        bytes={"keras": 9_000_000 * number, "float32": 8_000_000, "int8": 2_500_000},
        trials=tuple(trials),
        training_seconds=12.3 if trials else None,
        features_seconds=4.5 if trials else None,
        peak_memory_bytes=900_000_000 if trials else None,
        latency_ms={form: summary(times_ns) for form in FORMS},
    )


def trial(seed: int, keras: float, float32: float, int8: float, images: int = 367) -> Trial:
    return Trial(seed, images, {"keras": keras, "float32": float32, "int8": int8})


def comparison(*lines: Line, seeds: int = 1) -> Comparison:
    return Comparison(
        data="flowers",
        classes=("daisy", "roses"),
        settings={"epochs": 30},
        calibration_images=200,
        seeds=seeds,
        threads=2,
        machine="a processor, 2 processors",
        versions={"keras": "3.15.1"},
        date="2026-11-22",
        lines=lines,
    )


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each Markdown table, without the row of dashes."""
    found = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if "---" not in row] for rows in found
    ]


shares = st.integers(0, 367).map(lambda right: right / 367)
trials_of = st.lists(st.builds(trial, st.integers(0, 9), shares, shares, shares), max_size=5)
comparisons = st.lists(trials_of, min_size=1, max_size=12).map(
    lambda given: comparison(
        *(line(f"model{number}", trials, number + 1) for number, trials in enumerate(given)),
        seeds=max(1, *map(len, given), 1),
    )
)


@given(comparisons)
def test_the_csv_has_what_was_measured_and_nothing_else(result: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_report.table(result))))
    assert [row["model"] for row in rows] == [told.name for told in result.lines]
    for row, told in zip(rows, result.lines):
        assert int(row["parameters"]) == told.parameters
        for form in FORMS:
            assert int(row[f"{form}_bytes"]) == told.bytes[form]
            assert float(row[f"{form}_p90_ms"]) == told.latency_ms[form].p90
            if told.trials:
                mean = sum(trial.top1[form] for trial in told.trials) / len(told.trials)
                assert float(row[f"{form}_top1"]) == pytest.approx(mean)
            else:
                assert row[f"{form}_top1"] == ""
        assert (row["training_seconds"], row["peak_memory_bytes"]) == (
            ("12.3", "900000000") if told.trials else ("", "")
        )


@given(comparisons)
def test_the_markdown_has_a_cell_for_everything(result: Comparison) -> None:
    found = tables(comparison_report.markdown(result))
    assert len(found) == 3
    for head, *rows in found:
        assert [row[0] for row in rows] == [f"`{told.name}`" for told in result.lines]
        assert {len(row) for row in rows} == {len(head)}
        assert all(cell for row in rows for cell in row)
    for row, told in zip(found[0][1:], result.lines):
        assert [cell == NO_WEIGHTS for cell in row[1:]] == [not told.trials] * len(FORMS)


def test_one_split_tells_the_interval_of_each_accuracy() -> None:
    text = comparison_report.markdown(comparison(line("lite0", [trial(0, 0.91, 0.91, 330 / 367)])))
    assert tables(text)[0][1][3] == "89.92% (86.4% to 92.6%)"  # R: binom::binom.wilson(330, 367)
    assert "367 test pictures; in brackets the 95 % interval (Wilson)" in text
    assert "seeded" not in text


def test_several_splits_tell_mean_and_range() -> None:
    given = line("lite0", [trial(0, 0.9, 0.9, 0.88), trial(1, 0.9, 0.9, 0.92, images=365)])
    text = comparison_report.markdown(comparison(given, seeds=2))
    assert tables(text)[0][1][3] == "90.00% (88.0% to 92.0%)"
    assert "Means of 2 seeded splits with 365 to 367 test pictures each" in text
    assert "at most ±3.3 points (Wilson)" in text


def test_nothing_is_told_of_trainings_that_were_not() -> None:
    text = comparison_report.markdown(comparison(line("resnet50:random", [])))
    assert "test pictures" not in text
    assert "the features took" not in text
    assert text.count(NO_WEIGHTS) == len(FORMS) + 2


def test_a_latency_tells_mean_and_percentiles() -> None:
    text = comparison_report.markdown(comparison(line("lite0", [], number=3)))
    assert tables(text)[2][1][1] == "3.5 (3.5 / 3.9)"
    assert "2 threads each" in text


@given(shares)
def test_the_interval_holds_its_accuracy(share: float) -> None:
    low, high = interval(share, 367)
    assert low <= share + 1e-12
    assert share <= high + 1e-12
    assert most_half_width([trial(0, share, share, share)]) == pytest.approx((high - low) / 2)


def history(number: int) -> list[Epoch]:
    def epoch(place: int) -> Epoch:
        told = None if place == 0 else 1 / (place + number)
        return Epoch("head", place, told, told, 1 / (place + 1), 1 - 1 / (place + 2), 1e-3, 0.1)

    return [epoch(place) for place in range(6)]


@needs_matplotlib
@pytest.mark.parametrize("count", [1, 2, len(NAMES)])
def test_the_pictures_have_room_for_all_models(count: int, tmp_path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = NAMES[:count]
    lines = [line(name, [trial(0, 0.9, 0.9, 0.9 - 0.01 * number)], number + 1) for number, name in enumerate(names)]
    result = comparison(*lines, line("efficientnet_lite4:random", []))
    histories = {name: history(number + 1) for number, name in enumerate(names)}
    for name, figure in comparison_pictures.pictures(result, histories).items():
        FigureCanvasAgg(figure).draw()
        (legend,) = figure.legends
        around, outline = figure.bbox, legend.get_window_extent()
        assert around.x0 <= outline.x0, name
        assert outline.x1 <= around.x1, name
        assert around.y0 <= outline.y0, name
        assert outline.y1 <= around.y1, name
        for axes in figure.axes:
            assert not outline.overlaps(axes.get_window_extent()), name
        said = {text.get_text() for text in legend.get_texts()}
        ticks = {text.get_text() for axes in figure.axes for text in axes.get_yticklabels()}
        assert set(names) <= said | ticks, name
    comparison_report.write(tmp_path, result, histories)
    for name in ("accuracy_latency.png", "sizes.png", "latency.png", "curves.png"):
        pixels = cv2.imread(str(tmp_path / name))
        assert pixels.std() > 0, name
    (axes,) = comparison_pictures.accuracy_latency(result).axes
    assert "no weights here, so not shown: efficientnet_lite4:random" in axes.get_xlabel()
    document = (tmp_path / comparison_report.RESULT_FILE).read_bytes()
    assert msgspec.json.decode(document, type=Comparison) == result


@needs_matplotlib
def test_each_model_has_a_colour_of_its_own() -> None:
    figure = comparison_pictures.curves({str(number): history(1) for number in range(20)})
    colours = {handle.get_color() for handle in figure.legends[0].legend_handles[:20]}
    assert len(colours) == 20


@needs_matplotlib
def test_without_weights_there_are_no_curves() -> None:
    assert set(comparison_pictures.pictures(comparison(line("b0:random", [])), {})) == {"sizes.png", "latency.png"}


def test_the_machine_is_described() -> None:
    assert re.fullmatch(r".+, \d+ processors", comparison_report.machine())
    assert re.fullmatch(r"\d+\.\d+\..+", comparison_report.versions()["ai-edge-litert"])
