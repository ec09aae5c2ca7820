"""Rounding of kernels: on the grid, with the scale kept, and better than the nearest step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.conversion import equalize, rounding
from deploy.conversion.inference import for_inference
from deploy.conversion.rounding import round_kernel


def correlated(seed: int, groups: int, taps: int) -> np.ndarray:
    """Covariance of inputs of which each resembles its neighbours, as pixels do."""
    distance = np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))
    spread = np.random.default_rng(seed).uniform(0.5, 2, (groups, taps))
    return 0.9**distance * spread[:, :, None] * spread[:, None, :]


def error(kernel: np.ndarray, rounded: np.ndarray, covariance: np.ndarray) -> float:
    """Mean squared error of the outputs."""
    lost = rounded - kernel
    return float(np.einsum("gto,gtu,guo->", lost, covariance, lost))


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 12), st.integers(1, 5))
def test_results_lie_on_the_grid_and_keep_its_scale(seed: int, groups: int, taps: int, outputs: int) -> None:
    kernel = np.random.default_rng(seed).normal(size=(groups, taps, outputs))
    rounded = round_kernel(kernel, correlated(seed, groups, taps))
    scale = np.abs(kernel).max(axis=1, keepdims=True) / 127
    steps = rounded / scale
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    np.testing.assert_allclose(np.abs(rounded).max(axis=1), np.abs(kernel).max(axis=1))


@pytest.mark.parametrize(("groups", "taps", "outputs"), [(1, 96, 24), (32, 25, 1)])
def test_outputs_are_closer_than_with_the_nearest_step(groups: int, taps: int, outputs: int) -> None:
    kernel = np.random.default_rng(1).normal(size=(groups, taps, outputs))
    covariance = correlated(2, groups, taps)
    scale = np.abs(kernel).max(axis=1, keepdims=True) / 127
    nearest = np.rint(kernel / scale) * scale
    assert error(kernel, round_kernel(kernel, covariance), covariance) < 0.5 * error(kernel, nearest, covariance)


def test_a_covariance_that_rounding_made_indefinite_is_survived() -> None:
    kernel = np.random.default_rng(0).normal(size=(2, 9, 3))
    covariance = correlated(1, 2, 9)
    covariance[1] = 1e-6 * np.random.default_rng(2).normal(size=(9, 9))
    covariance[1] += covariance[1].T
    rounded = round_kernel(kernel, covariance)
    scale = np.abs(kernel).max(axis=1, keepdims=True) / 127
    assert np.abs(rounded[0] - kernel[0]).max() < 40 * scale[0].max()
    np.testing.assert_allclose(rounded / scale, np.rint(rounded / scale), atol=1e-6)


def test_dead_inputs_and_dead_outputs_stay_numbers() -> None:
    kernel = np.zeros((2, 9, 1))
    kernel[1] = 1.0
    rounded = round_kernel(kernel, np.zeros((2, 9, 9)))
    np.testing.assert_array_equal(rounded, kernel)


@pytest.mark.usefixtures("tensorflow")
def test_odd_layers_are_left_alone_and_the_answer_stays() -> None:
    from tests.fixtures import make_keras

    model = for_inference(make_keras.odd())
    draw = np.random.default_rng(0)
    pictures = [draw.uniform(-1, 1, (1, 31, 29, 3)).astype(np.float32) for _ in range(20)]

    def seen() -> np.ndarray:
        return np.concatenate([np.asarray(model(picture, training=False)) for picture in pictures])

    def kernels() -> dict[str, np.ndarray]:
        return {layer.name: layer.get_weights()[0] for layer in model.layers if "Conv" in type(layer).__name__}

    before = seen()
    equalize.equalize(model, pictures)
    assert np.abs(seen() - before).max() < 1e-3 * np.abs(before).max()
    was = kernels()
    rounding.round_convolutions(model, pictures)
    now = kernels()
    assert {name for name in was if np.any(was[name] != now[name])} == {"row", "with_bias", "depthwise", "last"}
    assert np.sqrt(np.mean((seen() - before) ** 2)) / before.std() < 0.05
