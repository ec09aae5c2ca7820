"""How long models take for one picture, measured side by side so that whatever slows the machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, TypeVar

import numpy as np

from edge.runtimes import default_threads, open_runtime
from edge.stats import Summary, summary

ROUNDS = 100
WARM_UP_ROUNDS = 5
_SEED = 0

Step = Callable[[], object]
"""Runs a model once."""

_Name = TypeVar("_Name")


def keras_step(path: Path) -> Step:
    """A step of a .keras file: `predict_on_batch` of one picture.

    It takes 2 ms more than a bare `tf.function`, `predict` 80 ms more, and the model called as a function 150 to
    300 ms more (two cores, EfficientNet-B0): the fastest way that needs no code beyond Keras.
    """
    from deploy.conversion import keras_files

    model, _ = keras_files.load(path)
    picture = _noise((1, *model.input_shape[1:]))
    return lambda: model.predict_on_batch(picture)


def tflite_step(path: Path) -> Step:
    """A step of a .tflite file on the CPU: fill the input, run, read the output."""
    runtime = open_runtime("auto", path, default_threads())
    picture = _noise(runtime.input_details[0].shape).astype(runtime.input_details[0].dtype)

    def step() -> Any:
        runtime.input()[...] = picture
        runtime.invoke()
        return runtime.output().copy()

    return step


def _noise(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """What the numbers are does not change how long they take."""
    return np.random.default_rng(_SEED).uniform(0, 255, shape).astype(np.float32)


def measure(
    steps: Mapping[_Name, Step], rounds: int = ROUNDS, progress: Callable[[int], object] = lambda _: None
) -> dict[_Name, Summary]:
    """Time all models, one step of each in every round; the first rounds warm up and do not count.

    Args:
        steps: by the name that the result has them under.
        rounds: timed steps of each.
        progress: called with 1 after each round, warm-up or not.

    Returns:
        The distribution of each in milliseconds.
    """
    times_ns: dict[_Name, list[int]] = {name: [] for name in steps}
    for number in range(WARM_UP_ROUNDS + rounds):
        for name, step in steps.items():
            started_ns = time.perf_counter_ns()
            step()
            took_ns = time.perf_counter_ns() - started_ns
            if number >= WARM_UP_ROUNDS:
                times_ns[name].append(took_ns)
        progress(1)
    return {name: summary(given) for name, given in times_ns.items()}
