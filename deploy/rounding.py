"""Rounds a model's convolution weights to the int8 grid so that their errors cancel on real pictures.

Rounding each weight to its nearest step is not the best that int8 can do: inputs are correlated, so the error of
one weight can be made good by the next. Method: Elias Frantar et al., "GPTQ" (2022), with the part of the error
that is constant moved into the bias. The converter finds the weights on its own grid and keeps them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Optional, cast

import numpy as np
from numpy.typing import NDArray

_STEPS = 127  # int8, symmetric. Source: TensorFlow Lite 8-bit quantization specification
_DAMPING = 0.01  # of the mean variance, added to each. Source: the paper's code
_MOST_POSITIONS = 14  # along each side of a picture: neighbours tell little new, and the first layer has 112

_Array = NDArray[np.float64]


class _Moments(NamedTuple):
    """Statistics of what a convolution's kernel is multiplied with."""

    mean: _Array
    """Shape (groups, taps)."""
    covariance: _Array
    """Shape (groups, taps, taps). A depthwise convolution has a group for each channel, others have one."""


def round_convolutions(model: Any, tensors: Iterable[NDArray[np.float32]]) -> None:
    """Round the kernels of all convolutions, each followed by its BatchNormalization, in place.

    Args:
        model: a Keras model.
        tensors: its inputs for the calibration pictures.
    """
    import keras

    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    for layer, moments in zip(layers, _moments(model, layers, tensors)):
        (kernel,) = layer.get_weights()
        wanted = _grouped(kernel, len(moments.mean))
        rounded = round_kernel(wanted, moments.covariance)
        layer.set_weights([_ungrouped(rounded, kernel.shape).astype(np.float32)])
        shift = np.einsum("gto,gt->go", rounded - wanted, moments.mean).reshape(-1)
        _absorb(layer, shift)


def round_kernel(kernel: _Array, covariance: _Array) -> _Array:
    """Round to the int8 grid with the least squared error of the outputs.

    Args:
        kernel: shape (groups, taps, outputs); each group's every output has its own scale.
        covariance: of the inputs, shape (groups, taps, taps).

    Returns:
        The same shape; multiples of max(abs(kernel)) / 127 of each output, and that maximum is kept.
    """
    taps = kernel.shape[1]
    scale = np.maximum(np.abs(kernel).max(axis=1), np.finfo(np.float32).tiny) / _STEPS
    variance = covariance[:, range(taps), range(taps)].mean(axis=1)
    damping = np.maximum(variance * _DAMPING, np.finfo(np.float32).tiny)
    inverse = np.linalg.inv(covariance + damping[:, None, None] * np.eye(taps))
    # rows of the upper factor tell how a tap's error is best spread over the taps after it
    spread = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    left, rounded = kernel.copy(), np.empty_like(kernel)
    for tap in range(taps):
        steps = np.clip(np.rint(left[:, tap] / scale), -_STEPS, _STEPS)
        rounded[:, tap] = steps * scale
        error = (left[:, tap] - rounded[:, tap]) / spread[:, tap, tap, None]
        left[:, tap + 1 :] -= spread[:, tap, tap + 1 :, None] * error[:, None, :]
    # the largest weight sets the converter's scale: it must stay where it was
    largest = np.abs(kernel).argmax(axis=1)[:, None, :]
    np.put_along_axis(rounded, largest, np.take_along_axis(kernel, largest, axis=1), axis=1)
    return rounded


def _moments(model: Any, layers: list[Any], tensors: Iterable[NDArray[np.float32]]) -> list[_Moments]:
    """Mean and covariance of the inputs under each kernel, over all its positions in all pictures."""
    import keras
    import tensorflow as tf

    probe = keras.Model(model.inputs, [layer.input for layer in layers])

    @tf.function  # type: ignore[untyped-decorator]
    def sums(image: Any) -> list[Any]:
        return [_sums(layer, given) for layer, given in zip(layers, probe(image, training=False))]

    @tf.function  # type: ignore[untyped-decorator]
    def added(totals: list[Any], image: Any) -> list[Any]:
        return cast(list[Any], tf.nest.map_structure(tf.add, totals, sums(image)))

    totals: Optional[list[Any]] = None
    for tensor in tensors:
        totals = sums(tensor) if totals is None else added(totals, tensor)
    moments = []
    for parts in totals or []:
        count, first, second = (np.asarray(part, np.float64) for part in parts)
        mean = first / count
        moments.append(_Moments(mean, second / count - mean[:, :, None] * mean[:, None, :]))
    return moments


def _sums(layer: Any, given: Any) -> tuple[Any, Any, Any]:
    """Count, sum and sum of products of the patches that a layer's kernel sees in one picture."""
    import tensorflow as tf

    patches = tf.stack(_taps(layer, given), axis=1)  # (positions, taps, channels)
    if hasattr(layer, "depth_multiplier"):
        patches = tf.transpose(patches, [2, 0, 1])
    else:
        patches = tf.reshape(patches, [1, -1, patches.shape[1] * patches.shape[2]])
    count = tf.cast(tf.shape(patches)[1], tf.float32)
    return count, tf.reduce_sum(patches, 1), tf.matmul(patches, patches, transpose_a=True)


def _taps(layer: Any, given: Any) -> list[Any]:
    """For each tap of a kernel what it meets at a grid of positions, each of shape (positions, channels)."""
    import tensorflow as tf

    (kernel_px, _), (stride, _), size_px = layer.kernel_size, layer.strides, given.shape[1]
    positions = -(-size_px // stride)
    # padding "same": what is missing, the smaller half before
    missing = max(0, (positions - 1) * stride + kernel_px - size_px)
    edge = [missing // 2, missing - missing // 2]
    padded = tf.pad(given, [[0, 0], edge, edge, [0, 0]])
    step = stride * max(1, positions // _MOST_POSITIONS)
    length = (positions - 1) * stride + 1
    views = (
        padded[:, row : row + length : step, column : column + length : step]
        for row in range(kernel_px)
        for column in range(kernel_px)
    )
    return [tf.reshape(view, [-1, given.shape[-1]]) for view in views]


def _grouped(kernel: NDArray[np.float32], groups: int) -> _Array:
    """A Keras kernel as (groups, taps, outputs): Conv2D is (h, w, in, out), DepthwiseConv2D (h, w, channels, 1)."""
    flat = kernel.astype(np.float64)
    grouped: _Array = flat.reshape(1, -1, kernel.shape[-1])
    return grouped if groups == 1 else flat.reshape(-1, groups, 1).transpose(1, 0, 2)


def _ungrouped(kernel: _Array, shape: tuple[int, ...]) -> _Array:
    return (kernel if len(kernel) == 1 else kernel.transpose(1, 0, 2)).reshape(shape)


def _absorb(layer: Any, shift: _Array) -> None:
    """Take a constant shift of a convolution's outputs back in the BatchNormalization behind it."""
    (node,) = layer._outbound_nodes
    normalization = node.operation
    gamma, beta, mean, variance = normalization.get_weights()
    normalization.set_weights([gamma, beta, (mean + shift).astype(np.float32), variance])
