"""A quantized model against its float twin: accuracy, agreement, and the golden input.

Both run as .tflite files on the device's own runtime and through the device's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.datasets import class_index
from edge import images
from edge.bundle import Golden, golden_picture
from edge.runtimes import Runtime, open_runtime
from edge.stats import wilson
from edge.tensors import InputSpec, OutputSpec, Preprocessor, top

_TOP = 5


class Side(msgspec.Struct, frozen=True):
    """One of the two models and how to feed it."""

    path: Path
    input: InputSpec
    output: OutputSpec


class Comparison(msgspec.Struct, frozen=True):
    """What a set of pictures showed. Shares are in [0, 1]."""

    images: int
    agreement: float
    """Share of the pictures whose top-1 is the same in both."""
    labelled: int
    """Pictures whose truth is known; those below count only them and are None when there are none."""
    float_top1: Optional[float]
    float_top5: Optional[float]
    top1: Optional[float]
    """Of the quantized model."""
    top1_interval95: Optional[tuple[float, float]]
    """Wilson score interval."""
    top5: Optional[float]

    @property
    def drop_points(self) -> Optional[float]:
        """Percentage points of top-1 that quantization costs; negative when it gains."""
        if self.float_top1 is None or self.top1 is None:
            return None
        return round(100 * (self.float_top1 - self.top1), 9)


def compare(reference: Side, quantized: Side, paths: Sequence[Path]) -> Comparison:
    """Classify pictures with both models.

    Raises:
        ImageError: a picture cannot be read.
        ModelError: the runtime refuses a model.
        RuntimeUnavailableError: there is no runtime.
    """
    given = [list(answers) for answers in zip(*_both(reference, quantized, paths))]
    float_answers, int8_answers = given
    truth = [class_index(path, quantized.output.classes) for path in paths]
    labelled = sum(index is not None for index in truth)

    def hits(answers: list[tuple[int, ...]], count: int) -> int:
        return sum(index in answer[:count] for index, answer in zip(truth, answers) if index is not None)

    def share(part: int) -> Optional[float]:
        return part / labelled if labelled else None

    return Comparison(
        images=len(paths),
        agreement=sum(one[0] == other[0] for one, other in zip(float_answers, int8_answers)) / len(paths),
        labelled=labelled,
        float_top1=share(hits(float_answers, 1)),
        float_top5=share(hits(float_answers, _TOP)),
        top1=share(hits(int8_answers, 1)),
        top1_interval95=wilson(hits(int8_answers, 1), labelled),
        top5=share(hits(int8_answers, _TOP)),
    )


def _both(reference: Side, quantized: Side, paths: Sequence[Path]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each picture the top class indices of both models; the picture is read once."""
    sides = [(side, open_runtime("auto", side.path), Preprocessor(side.input)) for side in (reference, quantized)]
    try:
        for path in paths:
            pixels = images.read_rgb(path)
            one, other = (_top(*side, pixels) for side in sides)
            yield one, other
    finally:
        for _, runtime, _ in sides:
            runtime.close()


def _top(side: Side, runtime: Runtime, preprocessor: Preprocessor, pixels: NDArray[np.uint8]) -> tuple[int, ...]:
    preprocessor.fill(pixels, runtime.input())
    runtime.invoke()
    names = ("",) * side.output.classes
    return tuple(prediction.class_id for prediction in top(runtime.output(), side.output, names, _TOP))


class GoldenChoice(msgspec.Struct, frozen=True):
    """A golden input and how safe it is."""

    golden: Golden
    gap: int
    """Smallest difference between consecutive scores among the top 6, in steps of the quantized output."""


def choose_golden(quantized: Side, seeds: int) -> GoldenChoice:
    """The seed below `seeds` whose top 5 would survive the most rounding, as other processors round differently.

    Args:
        quantized: a model with an integer output.
        seeds: how many to try; of equally good ones the first wins.
    """
    preprocessor = Preprocessor(msgspec.structs.replace(quantized.input, resize="squash"))
    runtime = open_runtime("auto", quantized.path)
    best: Optional[GoldenChoice] = None
    try:
        for seed in range(seeds):
            picture = golden_picture(seed, quantized.input.height_px, quantized.input.width_px)
            answer = _top(quantized, runtime, preprocessor, picture)
            values = np.sort(runtime.output().reshape(-1).astype(int))[: -_TOP - 2 : -1]
            gap = int(np.min(values[:-1] - values[1:]))
            if best is None or gap > best.gap:
                best = GoldenChoice(Golden(seed, answer), gap)
    finally:
        runtime.close()
    if best is None:
        raise ValueError(f"{seeds} seeds were asked for: expected 1 or more")
    return best
