"""Rounds a model's convolution weights to the int8 grid so that their errors cancel on real pictures.

Rounding each weight to its nearest step is not the best that int8 can do: inputs are correlated, so the error of
one weight can be made good by the next. Method: Elias Frantar et al., "GPTQ" (2022), with the part of the error
that is constant moved into the bias. The converter finds the weights on its own grid and keeps them as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.conversion.inference import in_order
from edge.errors import ModelError

_STEPS = 127  # int8, symmetric. Source: TensorFlow Lite 8-bit quantization specification
_DAMPING = 0.01  # of the mean variance, added to each. Source: the paper's code
_LEAST_DAMPING = 1e-6  # of the largest covariance, where less is not enough
_MOST_POSITIONS = 14  # along each side of a picture: neighbours tell little new, and the first layer has 112

_MOST_TAPS = 2400  # of one output: the covariance of more takes minutes and gigabytes

_Array = NDArray[np.float64]


class _Moments(NamedTuple):
    """Statistics of what a convolution's kernel is multiplied with."""

    mean: _Array
    """Shape (groups, taps)."""
    covariance: _Array
    """Shape (groups, taps, taps). A depthwise convolution has a group for each channel, others have one."""


def round_convolutions(model: Any, tensors: Iterable[NDArray[np.float32]]) -> None:
    """Round the kernels of convolutions in place, where a bias or a BatchNormalization can take the constant error.

    Args:
        model: a functional Keras model without models inside it, for one picture.
        tensors: its inputs for the calibration pictures.

    Raises:
        ModelError: the model computes numbers that are not finite.
    """
    layers = [layer for layer in model.layers if _is_rounded(layer)]
    for layer, moments in zip(layers, _moments(model, layers, tensors)):
        kernel = layer.get_weights()[0]
        wanted = _grouped(kernel, len(moments.mean))
        rounded = round_kernel(wanted, moments.covariance)
        layer.set_weights([_ungrouped(rounded, kernel.shape).astype(np.float32), *layer.get_weights()[1:]])
        shift = np.einsum("gto,gt->go", rounded - wanted, moments.mean).reshape(-1)
        _absorb(layer, shift)


def _is_rounded(layer: Any) -> bool:
    import keras

    if type(layer) not in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D) or len(layer._inbound_nodes) != 1:
        return False
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    rows_px, columns_px = layer.kernel_size
    taps = rows_px * columns_px * (1 if depthwise else layer.input.shape[-1])
    simple = set(layer.dilation_rate) == {1} and (layer.depth_multiplier if depthwise else layer.groups) == 1
    return (
        simple
        and layer.data_format == "channels_last"
        and layer.padding in ("same", "valid")
        and None not in layer.input.shape
        and taps <= _MOST_TAPS
        and (layer.use_bias or _normalization(layer) is not None)
    )


def _normalization(layer: Any) -> Any:
    """The BatchNormalization that alone follows a linear layer; None when anything else does."""
    import keras

    behind = [node.operation for node in layer._outbound_nodes]
    if len(behind) != 1 or not isinstance(behind[0], keras.layers.BatchNormalization):
        return None
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    return behind[0] if linear and len(behind[0]._inbound_nodes) == 1 else None


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
    spread = _spread(covariance, np.maximum(variance * _DAMPING, np.finfo(np.float32).tiny))
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


def _spread(covariance: _Array, damping: _Array) -> _Array:
    """Upper factors of the inverse, which tell how a tap's error is best spread over the taps after it."""
    try:
        inverse = np.linalg.inv(covariance + damping[:, None, None] * np.eye(covariance.shape[-1]))
        factors: _Array = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    except np.linalg.LinAlgError:
        # inputs that hardly vary: what is left of them is the rounding of sums in float32
        return _spread(covariance, np.maximum(10 * damping, _LEAST_DAMPING * np.abs(covariance).max()))
    return factors


def _moments(model: Any, layers: list[Any], tensors: Iterable[NDArray[np.float32]]) -> Iterator[_Moments]:
    """Mean and covariance of the inputs under each kernel, over all its positions in all pictures."""
    import keras
    import tensorflow as tf

    if not layers:
        return
    probe = keras.Model(model.inputs[0], [layer.input for layer in layers])

    @tf.function  # type: ignore[untyped-decorator]
    def sums(image: Any) -> list[Any]:
        given = probe(image, training=False)
        return [_sums(layer, value) for layer, value in zip(layers, given if len(layers) > 1 else [given])]

    totals: list[list[NDArray[Any]]] = []
    for parts in in_order(lambda tensor: [[np.array(one) for one in part] for part in sums(tensor)], tensors):
        if not totals:
            totals = parts
            continue
        for total, part in zip(itertools.chain(*totals), itertools.chain(*parts)):
            np.add(total, part, out=total)
    for layer_totals in totals:
        count, first, second = (total.astype(np.float64) for total in layer_totals)
        mean = first / count
        if not np.isfinite(second).all():
            raise ModelError(
                f"{model.name} computes numbers that are not finite for the calibration pictures: train it again, with "
                "a lower learning rate."
            )
        yield _Moments(mean, second / count - mean[:, :, None] * mean[:, None, :])


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

    axes = [
        _axis(size_px, kernel_px, stride, layer.padding)
        for size_px, kernel_px, stride in zip(given.shape[1:3], layer.kernel_size, layer.strides)
    ]
    padded = tf.pad(given, [[0, 0], axes[0].padding, axes[1].padding, [0, 0]])
    views = (
        padded[
            :, row : row + axes[0].length_px : axes[0].step_px, column : column + axes[1].length_px : axes[1].step_px
        ]
        for row in range(layer.kernel_size[0])
        for column in range(layer.kernel_size[1])
    )
    return [tf.reshape(view, [-1, given.shape[-1]]) for view in views]


class _Axis(NamedTuple):
    """Where a kernel stands along the height or the width of its input."""

    taps: int
    padding: list[int]
    """Zeros before and after."""
    length_px: int
    """From the first position to the last, which is included."""
    step_px: int
    """Between the positions that are looked at."""


def _axis(size_px: int, kernel_px: int, stride: int, padding: str) -> _Axis:
    positions, missing = (size_px - kernel_px) // stride + 1, 0
    if padding == "same":
        positions = -(-size_px // stride)
        missing = max(0, (positions - 1) * stride + kernel_px - size_px)
    # of what is missing, the smaller half before
    return _Axis(
        kernel_px,
        [missing // 2, missing - missing // 2],
        (positions - 1) * stride + 1,
        stride * max(1, positions // _MOST_POSITIONS),
    )


def _grouped(kernel: NDArray[np.float32], groups: int) -> _Array:
    """A Keras kernel as (groups, taps, outputs): Conv2D is (h, w, in, out), DepthwiseConv2D (h, w, channels, 1)."""
    flat = kernel.astype(np.float64)
    grouped: _Array = flat.reshape(1, -1, kernel.shape[-1])
    return grouped if groups == 1 else flat.reshape(-1, groups, 1).transpose(1, 0, 2)


def _ungrouped(kernel: _Array, shape: tuple[int, ...]) -> _Array:
    return (kernel if len(kernel) == 1 else kernel.transpose(1, 0, 2)).reshape(shape)


def _absorb(layer: Any, shift: _Array) -> None:
    """Take a constant shift of a convolution's outputs back, in its bias or the BatchNormalization behind it."""
    if layer.use_bias:
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, (bias - shift).astype(np.float32)])
    else:
        normalization = _normalization(layer)
        mean = normalization.moving_mean
        mean.assign((np.asarray(mean) + shift).astype(np.float32))
