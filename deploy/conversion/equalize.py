"""Scales a model's channels so that all of them use the int8 range of the tensor that they share.

A tensor of activations has one scale for all channels, so a channel that is a tenth as wide as the widest is
left with a tenth of the steps. Where nothing but convolutions follows, a channel can be made wider and the weights
that read it smaller, and the model computes the same. Method: Markus Nagel et al., "Data-Free Quantization Through
Weight Equalization and Bias Correction" (2019), here with ranges measured on the calibration pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.conversion.inference import in_order

_MOST_SCALE = 16.0  # a channel that is nearly always zero gains nothing from more


class _Stream(NamedTuple):
    """Tensors that additions tie together, so that their channels can only be scaled alike."""

    producers: tuple[Any, ...]
    """BatchNormalization layers."""
    sums: tuple[Any, ...]
    """Add layers."""
    readers: tuple[Any, ...]
    """Conv2D layers."""


def equalize(model: Any, tensors: Iterable[NDArray[np.float32]]) -> None:
    """Scale the channels between the linear layers of a Keras model in place; its outputs stay the same.

    Args:
        model: a functional Keras model without models inside it, for one picture.
        tensors: its inputs for the calibration pictures.
    """
    streams = _streams(model)
    for stream, widths in zip(streams, _widths(model, streams, tensors)):
        scale = np.clip(widths.max() / np.maximum(widths, np.finfo(np.float32).tiny), 1.0, _MOST_SCALE)
        for layer in stream.producers:
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma * scale, beta * scale, mean, variance])
        for layer in stream.readers:
            kernel, *bias = layer.get_weights()
            layer.set_weights([kernel / scale[:, None], *bias])


def _streams(model: Any) -> list[_Stream]:
    """All groups of linear tensors that are read by convolutions only."""
    import keras

    made, added = keras.layers.BatchNormalization, keras.layers.Add
    groups: list[set[Any]] = []
    for layer in model.layers:
        if isinstance(layer, added):
            group = {layer, *(parent.operation for parent in layer._inbound_nodes[0].parent_nodes)}
        elif isinstance(layer, made):
            group = {layer}
        else:
            continue
        joined = [known for known in groups if known & group]
        groups = [known for known in groups if not known & group] + [group.union(*joined)]
    last = {id(tensor) for tensor in model.outputs}
    streams = []
    for group in groups:
        ordered = [layer for layer in model.layers if layer in group]
        readers = {node.operation: None for layer in ordered for node in layer._outbound_nodes}
        outside = [layer for layer in readers if layer not in group]
        if (
            outside
            and all(map(_is_reader, outside))
            and all(isinstance(layer, added) or _is_producer(layer) for layer in ordered)
            and not any(id(layer.output) in last for layer in ordered)
        ):
            producers = tuple(layer for layer in ordered if isinstance(layer, made))
            sums = tuple(layer for layer in ordered if isinstance(layer, added))
            streams.append(_Stream(producers, sums, tuple(outside)))
    return streams


def _is_producer(layer: Any) -> bool:
    import keras

    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and len(layer._inbound_nodes) == 1
        and len(layer.output.shape) == 4
        and layer.axis in (-1, 3)
        and layer.center
        and layer.scale
    )


def _is_reader(layer: Any) -> bool:
    import keras

    return type(layer) is keras.layers.Conv2D and len(layer._inbound_nodes) == 1 and layer.groups == 1


def _widths(model: Any, streams: list[_Stream], tensors: Iterable[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """For each stream the largest magnitude of each channel, over all its tensors and all pictures."""
    import keras
    import tensorflow as tf

    if not streams:
        return []
    probe = keras.Model(
        model.inputs[0], [[layer.output for layer in (*given.producers, *given.sums)] for given in streams]
    )

    @tf.function  # type: ignore[untyped-decorator]
    def largest(image: Any) -> list[Any]:
        return [
            tf.reduce_max([tf.reduce_max(tf.abs(value), [0, 1, 2]) for value in values], 0)
            for values in probe(image, training=False)
        ]

    found: list[NDArray[np.float32]] = []
    for now in in_order(lambda tensor: [np.asarray(value) for value in largest(tensor)], tensors):
        found = [np.maximum(*pair) for pair in zip(found, now)] if found else now
    return found
