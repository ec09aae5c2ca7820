"""A quantized model against its float twin: accuracy and agreement.

Both run as .tflite files on the device's own runtime and through the device's own preprocessing.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.pictures.datasets import class_index
from deploy.verification.paired import paired_difference
from edge import images
from edge.errors import ImageError
from edge.runtimes import Runtime, open_runtime
from edge.stats import wilson
from edge.tensors import InputSpec, OutputSpec, Preprocessor, top

_TOP = 5


class Side(msgspec.Struct, frozen=True):
    """One of the two models and how to feed it."""

    path: Path
    input: InputSpec
    output: OutputSpec


class Answer(msgspec.Struct, frozen=True):
    """What one model says of one picture."""

    class_ids: tuple[int, ...]
    """Of the top 5, highest score first; ties go to the lowest."""
    score: float
    """Of the first, in [0, 1]."""


class Seen(msgspec.Struct, frozen=True):
    """One picture and what both models say of it."""

    path: Path
    truth: Optional[int]
    """Class index; None when it is not known."""
    reference: Answer
    quantized: Answer


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
    drop_interval95_points: Optional[tuple[float, float]]
    """Of `drop_points`; Newcombe's interval for paired shares, see `deploy.verification.paired`."""

    @property
    def drop_points(self) -> Optional[float]:
        """Percentage points of top-1 that quantization costs; negative when it gains."""
        if self.float_top1 is None or self.top1 is None:
            return None
        return round(100 * (self.float_top1 - self.top1), 9)


def compare(reference: Side, quantized: Side, paths: Sequence[Path]) -> Comparison:
    """Classify pictures with both models.

    The truth is what `class_index` reads from a picture's folder, which does not count a background class.

    Raises:
        ImageError: a picture cannot be read.
        ModelError: the runtime refuses a model.
        RuntimeUnavailableError: there is no runtime.
    """
    offset = quantized.output.background_offset
    indices = [class_index(path, quantized.output.classes - offset) for path in paths]
    pictures = [(path, index if index is None else index + offset) for path, index in zip(paths, indices)]
    return summary(list(both(reference, quantized, pictures)))


def both(
    reference: Side,
    quantized: Side,
    pictures: Iterable[tuple[Path, Optional[int]]],
    on_skip: Optional[Callable[[ImageError], object]] = None,
) -> Iterator[Seen]:
    """What both models say of each picture, which is read once.

    Args:
        reference: the float model.
        quantized: its twin.
        pictures: each with the class index that is right, or None.
        on_skip: is told why a picture cannot be read, which is then left out; without it the error is raised.

    Raises:
        ImageError: a picture cannot be read.
        ModelError: the runtime refuses a model.
        RuntimeUnavailableError: there is no runtime.
    """
    with contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(_answering(side)) for side in (reference, quantized))
        for path, truth in pictures:
            try:
                pixels = images.read_rgb(path)
            except ImageError as error:
                if on_skip is None:
                    raise
                on_skip(error)
                continue
            yield Seen(path, truth, one(pixels), other(pixels))


@contextlib.contextmanager
def _answering(side: Side) -> Iterator[Callable[[NDArray[np.uint8]], Answer]]:
    """A function from a picture's pixels to the model's answer."""
    runtime, preprocessor = open_runtime("auto", side.path), Preprocessor(side.input)
    try:
        yield lambda pixels: _answer(side, runtime, preprocessor, pixels)
    finally:
        runtime.close()


def _answer(side: Side, runtime: Runtime, preprocessor: Preprocessor, pixels: NDArray[np.uint8]) -> Answer:
    preprocessor.fill(pixels, runtime.input())
    runtime.invoke()
    names = ("",) * side.output.classes
    predictions = top(runtime.output(), side.output, names, _TOP)
    return Answer(tuple(prediction.class_id for prediction in predictions), predictions[0].score)


def summary(seen: Sequence[Seen]) -> Comparison:
    """Accuracy, agreement and drop of one or more pictures."""
    labelled = [each for each in seen if each.truth is not None]

    def share(answers: Iterable[Answer], count: int) -> Optional[float]:
        hits = sum(each.truth in answer.class_ids[:count] for each, answer in zip(labelled, answers))
        return hits / len(labelled) if labelled else None

    references, quantized = ([each.reference for each in labelled], [each.quantized for each in labelled])
    fates = Counter((is_right(each, each.reference), is_right(each, each.quantized)) for each in labelled)
    table = [fates[True, True], fates[True, False], fates[False, True], fates[False, False]]
    interval = paired_difference(*table)
    return Comparison(
        images=len(seen),
        agreement=sum(not is_changed(each) for each in seen) / len(seen),
        labelled=len(labelled),
        float_top1=share(references, 1),
        float_top5=share(references, _TOP),
        top1=share(quantized, 1),
        top1_interval95=wilson(fates[True, True] + fates[False, True], len(labelled)),
        top5=share(quantized, _TOP),
        drop_interval95_points=interval and (100 * interval[0], 100 * interval[1]),
    )


def is_right(seen: Seen, answer: Answer) -> bool:
    """Whether the first class of an answer is the picture's."""
    return answer.class_ids[0] == seen.truth


def is_changed(seen: Seen) -> bool:
    """Whether the two models name different classes first."""
    return seen.reference.class_ids[0] != seen.quantized.class_ids[0]
