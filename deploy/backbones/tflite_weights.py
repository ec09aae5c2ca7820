"""Weights out of a .tflite of a backbone, quantized or float, put back into its Keras model.

A .tflite has each BatchNormalization fused into the convolution before it. Here the convolution gets the fused
kernel, and the normalization only adds the bias. Which kernel belongs to which layer is found by going through both
graphs in one way, and the shapes are compared: orders of execution differ between converters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypeVar

import numpy as np
from numpy.typing import NDArray

from deploy.backbones.networks import HEAD, IMAGENET_CLASSES, place
from deploy.backbones.weights import built
from deploy.inspection import graph
from edge.errors import ModelError

if TYPE_CHECKING:
    from deploy.backbones import Backbone

_Node = TypeVar("_Node")
_DENSE = "FULLY_CONNECTED"
_CONVOLUTION = "CONV_2D"
_DEPTHWISE = "DEPTHWISE_CONV_2D"
_ARITHMETIC = ("ADD", "SUB", "MUL", "DIV")
_MOST_CONSTANTS = 3  # what a normalization of R, G and B needs


class _Kernel(NamedTuple):
    """A convolution or dense layer of the file, in Keras' axes."""

    operator: str
    weights: NDArray[np.float32]
    """(height, width, in, out), depthwise (height, width, in, multiplier), dense (in, out)."""
    bias: Optional[NDArray[np.float32]]


def load(row: Backbone, content: bytes, source: str) -> tuple[Any, Optional[int]]:
    """A backbone's Keras model with the weights of a .tflite file.

    Args:
        row: the backbone.
        content: the file.
        source: what to call it in errors.

    Returns:
        The model, and the classes of the file's head; None when it has none, or one of several layers.

    Raises:
        ModelError: the file is damaged, or is of another architecture.
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    kernels = list(_kernels(graph.parse(content, source), source))
    last = kernels[-1].weights.shape[-1] if kernels else 0
    model = built(row, last or IMAGENET_CLASSES)
    parts = sum(len(_parts(layer)) for layer in _layers(model)[:-1])
    head = kernels[parts:]
    if len(kernels) < parts or any(kernel.operator != _DENSE for kernel in head[1:]):
        raise ModelError(
            f"{source} does not fit {row.name}: it has {len(kernels)} convolutions and dense layers, expected "
            f"{parts + 1}; give the weights of this very backbone."
        )
    classes = last if len(head) == 1 else None
    if classes is None and last != IMAGENET_CLASSES:
        model = built(row)
    left = iter(kernels)
    for layer in _layers(model)[:-1]:
        _fill(model, layer, [next(left) for _ in _parts(layer)], source)
    if classes:
        weights, bias = head[0].weights, head[0].bias
        place(model, model.get_layer(HEAD), [weights.reshape(-1, classes), _or_zeros(bias, classes)], source)
    return model, classes


def _fill(model: Any, layer: Any, kernels: Sequence[_Kernel], source: str) -> None:
    """Put the kernels into a layer, and the bias there or into the BatchNormalization that follows."""
    given, expected = [kernel.operator for kernel in kernels], _parts(layer)
    if given != list(expected):
        raise ModelError(
            f"{source} does not fit {model.name}: it has {' and '.join(given)} where {layer.name} needs "
            f"{' and '.join(expected)}; give the weights of this very backbone."
        )
    if any(kernel.bias is not None and kernel.bias.any() for kernel in kernels[:-1]):
        raise ModelError(f"{source} does not fit {model.name}: it has a bias inside {layer.name}, which has none.")
    weights, channels = [kernel.weights for kernel in kernels], layer.output.shape[-1]
    bias = _or_zeros(kernels[-1].bias, channels)
    normalization = _normalization(layer)
    if normalization is None:
        place(model, layer, [*weights, bias] if layer.use_bias else weights, source)
        if not layer.use_bias and bias.any():
            raise ModelError(f"{source} does not fit {model.name}: it has a bias for {layer.name}, which has none.")
        return
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    place(model, layer, [*weights, zeros] if layer.use_bias else weights, source)
    variance = ones - np.float32(normalization.epsilon)  # so that it divides by 1
    place(model, normalization, [*[ones] * normalization.scale, bias, zeros, variance], source)


def _kernels(file: graph.Graph, source: str) -> Iterator[_Kernel]:
    """The file's kernels, sorted as `_layers` sorts the model's."""

    def before(operator: graph.Operator) -> Iterator[graph.Operator]:
        found = (file.producer(tensor) for tensor in operator.inputs)
        return (producer for producer in found if producer is not None)

    last = file.producer(file.outputs[0]) if file.outputs else None
    for operator in _sorted(last, before, lambda operator: operator.index) if last else ():
        constants = [_constant(file, tensor, source) for tensor in operator.inputs]
        if operator.name in _ARITHMETIC and any(
            constant is not None and constant.size > _MOST_CONSTANTS for constant in constants
        ):
            raise ModelError(
                f"{source} has a normalization that is not part of a convolution: convert it again, so that both are "
                "fused."
            )
        if operator.name not in (_CONVOLUTION, _DEPTHWISE, _DENSE):
            continue
        weights, bias = (*constants[1:3], None)[:2]
        if weights is None or weights.ndim != (2 if operator.name == _DENSE else 4):
            raise ModelError(f"{source} has weights that are computed or of an odd shape: they cannot be read.")
        if operator.name == _DEPTHWISE:
            multiplier = max(1, int(operator.options.get("depth_multiplier", 1)))
            yield _Kernel(operator.name, weights[0].reshape(*weights.shape[1:3], -1, multiplier), bias)
        else:
            axes = (1, 0) if operator.name == _DENSE else (1, 2, 3, 0)
            yield _Kernel(operator.name, weights.transpose(axes), bias)


def _constant(file: graph.Graph, index: int, source: str) -> Optional[NDArray[np.float32]]:
    """A constant's real values; None for what is computed, or absent."""
    if index < 0:
        return None
    tensor = file.tensors[index]
    if tensor.data is None:
        producer = file.producer(index)
        # float16 weights are stored as such and made float32 when the model starts
        if producer is None or producer.name != "DEQUANTIZE" or file.tensors[producer.inputs[0]].data is None:
            return None
        return _constant(file, producer.inputs[0], source)
    if tensor.data.shape != tensor.shape:
        raise ModelError(f"{source} stores {tensor.name} in a way that is not read here: expected float or 8 bits.")
    values = np.asarray(tensor.data, np.float64)
    if tensor.scale.size:
        axes = [1] * values.ndim
        if tensor.scale.size > 1:
            axes[tensor.axis] = -1
        values = (values - tensor.zero_point.reshape(axes)) * tensor.scale.astype(np.float64).reshape(axes)
    return values.astype(np.float32)


def _layers(model: Any) -> list[Any]:
    """The model's layers that have kernels."""

    def before(layer: Any) -> Iterator[Any]:
        return (node.operation for node in layer._inbound_nodes[0].parent_nodes)

    place_of = {layer: number for number, layer in enumerate(model.layers)}
    return [layer for layer in _sorted(model.layers[-1], before, place_of.__getitem__) if _parts(layer)]


def _sorted(last: _Node, before: Callable[[_Node], Iterable[_Node]], key: Callable[[_Node], Any]) -> list[_Node]:
    """All nodes that lead to the last one, each behind those it reads, which come in the order it reads them."""
    open_nodes, seen, done = [(last, iter(before(last)))], {key(last)}, []
    while open_nodes:
        node, waiting = open_nodes[-1]
        following = next((other for other in waiting if key(other) not in seen), None)
        if following is None:
            done.append(node)
            open_nodes.pop()
        else:
            seen.add(key(following))
            open_nodes.append((following, iter(before(following))))
    return done


def _parts(layer: Any) -> tuple[str, ...]:
    """The operators that a Keras layer's kernels become."""
    import keras

    kinds = (
        (keras.layers.SeparableConv2D, (_DEPTHWISE, _CONVOLUTION)),
        (keras.layers.DepthwiseConv2D, (_DEPTHWISE,)),
        (keras.layers.Conv2D, (_CONVOLUTION,)),
        (keras.layers.Dense, (_DENSE,)),
    )
    return next((parts for kind, parts in kinds if isinstance(layer, kind)), ())


def _normalization(layer: Any) -> Optional[Any]:
    """The BatchNormalization that alone reads a layer."""
    import keras

    readers = [node.operation for node in layer._outbound_nodes]
    return readers[0] if len(readers) == 1 and isinstance(readers[0], keras.layers.BatchNormalization) else None


def _or_zeros(bias: Optional[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
    return np.zeros(size, np.float32) if bias is None else bias
