"""What a comparison of backbones found, as records."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any, Literal, Optional

import msgspec

from edge.stats import Summary, wilson

FORMS = ("keras", "float32", "int8")
"""The three files of each model."""
TITLES = {"keras": ".keras", "float32": "float .tflite", "int8": "int8 .tflite"}

Kind = Literal["head", "finetune", "random"]


class Trial(msgspec.Struct, frozen=True):
    """One training and what came of it. Accuracies are shares of the test pictures in [0, 1]."""

    seed: int
    images: int
    top1: dict[str, float]
    """By form."""


def interval(share: float, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy, Wilson's."""
    return wilson(round(share * images), images) or (0.0, 1.0)


def most_half_width(trials: Iterable[Trial]) -> float:
    """Half the width of the widest interval of an accuracy."""
    ends = [interval(share, trial.images) for trial in trials for share in trial.top1.values()]
    return max(high - low for low, high in ends) / 2


class Line(msgspec.Struct, frozen=True):
    """One model of the table."""

    name: str
    backbone: str
    kind: Kind
    weights: str
    parameters: int
    """Numbers in the float .tflite, BatchNormalization folded away."""
    macs: int
    """Multiply-accumulate operations for one picture."""
    bytes: dict[str, int]
    """Size of each form's file."""
    trials: tuple[Trial, ...]
    """Empty for random weights."""
    training_seconds: Optional[float]
    """Of the first seed, all of it; None for random weights."""
    features_seconds: Optional[float]
    """What of it went into the features of the pictures; next to nothing where they were in the cache."""
    peak_memory_bytes: Optional[int]
    """Of that training's process."""
    latency_ms: dict[str, Summary] = {}
    """By form."""

    def top1(self, form: str) -> Optional[float]:
        """Mean over the trials."""
        return fmean(trial.top1[form] for trial in self.trials) if self.trials else None


class Comparison(msgspec.Struct, frozen=True):
    """The whole table and how it came about."""

    data: str
    classes: tuple[str, ...]
    settings: dict[str, Any]
    """Of the trainings."""
    calibration_images: int
    seeds: int
    threads: int
    machine: str
    versions: dict[str, str]
    date: str
    lines: tuple[Line, ...]
