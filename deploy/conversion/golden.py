"""The golden input of a bundle: a picture whose answer tells whether a device computes what was measured."""

from __future__ import annotations

from typing import Optional

import msgspec
import numpy as np

from deploy.verification.verify import Side
from edge.model.bundle import Golden, golden_picture
from edge.runtimes import open_runtime
from edge.tensors import Preprocessor, scores, top

_TOP = 5
_STEPS_PER_SCORE = 256  # of a uint8 softmax


class GoldenChoice(msgspec.Struct, frozen=True):
    """A golden input and how safe it is."""

    golden: Golden
    gap: float
    """Smallest difference between consecutive scores among the top 6, in steps of the quantized output; where the
    output is float, in 1/256 of a score."""


def choose_golden(model: Side, seeds: int) -> GoldenChoice:
    """The seed below `seeds` whose top 5 would survive the most rounding, as other processors round differently.

    Args:
        model: a classifier.
        seeds: how many to try, 1 or more; of equally good ones the first wins.

    Raises:
        ModelError: the runtime refuses the model.
    """
    preprocessor = Preprocessor(msgspec.structs.replace(model.input, resize="squash"))
    runtime = open_runtime("auto", model.path)
    names = ("",) * model.output.classes
    best: Optional[GoldenChoice] = None
    try:
        for seed in range(seeds):
            preprocessor.fill(golden_picture(seed, model.input.height_px, model.input.width_px), runtime.input())
            runtime.invoke()
            given = runtime.output().reshape(-1).copy()  # a view would keep the runtime from running
            steps = given.astype(int) if model.output.scale else scores(given, model.output) * _STEPS_PER_SCORE
            ordered = np.sort(steps)[: -_TOP - 2 : -1]
            gap = round(float(np.min(ordered[:-1] - ordered[1:])), 3)
            if best is None or gap > best.gap:
                class_ids = tuple(prediction.class_id for prediction in top(given, model.output, names, _TOP))
                best = GoldenChoice(Golden(seed, class_ids), gap)
    finally:
        runtime.close()
    assert best is not None
    return best
