"""What an Edge TPU takes: the operators that Coral's documentation lists, each with its known limits.

Source: coral.ai/docs/edgetpu/models-intro, "Model requirements" and "Supported operations" (runtime 14). The compiler
knows further limits, of size and precision, which are written nowhere; so a model without a problem here may still
have some of its operators left to the CPU.
"""

from __future__ import annotations

import math
from typing import Callable, Optional

import msgspec
import numpy as np

from deploy.inspection.graph import Graph, Operator, Tensor
from deploy.inspection.patterns import place
from edge.model.tflite_file import EDGETPU_OPERATOR

_MOST_SOFTMAX = 16_000
_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"  # its state is int16
# Inputs that must be constants: weights, biases, axes, shapes, paddings.
_CONSTANT_INPUTS = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "EXPAND_DIMS": (1,),
    "FULLY_CONNECTED": (1, 2),
    "MEAN": (1,),
    "PAD": (1,),
    "PRELU": (1,),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0, 1, 3),
}

Limit = Callable[[Graph, Operator], Optional[str]]


class Problem(msgspec.Struct, frozen=True):
    """An operator that would stay on the CPU."""

    index: int
    """In the order of execution."""
    operator: str
    tensor: str
    """Name of its (first) output."""
    reason: str


def is_compiled(graph: Graph) -> bool:
    """Whether the file was made by the Edge TPU compiler."""
    return any(operator.custom == EDGETPU_OPERATOR for operator in graph.operators)


def problems(graph: Graph) -> tuple[Problem, ...]:
    """The main graph's operators that an Edge TPU would not take, in order, each with the first reason found."""
    found = []
    for operator in graph.operators:
        reason = _reason(graph, operator)
        if reason:
            where = place(graph, operator)
            found.append(Problem(where.index, where.operator, where.tensor, reason))
    return tuple(found)


def _reason(graph: Graph, operator: Operator) -> Optional[str]:
    if operator.custom == EDGETPU_OPERATOR:
        return None
    if operator.name not in _LIMITS:
        return "is not among the operators that Coral lists"
    return (
        _dtype_reason(graph, operator)
        or _constant_reason(graph, operator)
        or _shape_reason(graph, operator)
        or _LIMITS[operator.name](graph, operator)
    )


def _dtype_reason(graph: Graph, operator: Operator) -> Optional[str]:
    parameters = _CONSTANT_INPUTS.get(operator.name, ())
    values = [tensor for number, tensor in enumerate(operator.inputs) if number not in parameters and tensor >= 0]
    if operator.name == _LSTM:
        values = values[:1]
    for index in (*values, *operator.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype not in ("int8", "uint8"):
            return f"works on {tensor.dtype}: all values must be 8-bit integers"
        if not len(tensor.scale):
            return "works on values without a scale: all must be quantized"
    weights = graph.constant(operator.inputs[1]) if 1 in parameters and len(operator.inputs) > 1 else None
    if weights and weights.dtype not in ("int8", "uint8", "int32"):
        return f"has {weights.dtype} weights: they must be 8-bit integers"
    return None


def _constant_reason(graph: Graph, operator: Operator) -> Optional[str]:
    for number in _CONSTANT_INPUTS.get(operator.name, ()):
        tensor = operator.inputs[number] if number < len(operator.inputs) else -1
        if tensor >= 0 and graph.tensors[tensor].data is None:
            return "computes its weights, shape or axes: they must be constants"
    return None


def _shape_reason(graph: Graph, operator: Operator) -> Optional[str]:
    parameters = _CONSTANT_INPUTS.get(operator.name, ())
    values = [tensor for number, tensor in enumerate(operator.inputs) if number not in parameters and tensor >= 0]
    for index in (*values, *operator.outputs):
        tensor = graph.tensors[index]
        if tensor.dynamic:
            return "has a size that is known only at run time: all sizes must be fixed"
        if math.prod(tensor.shape[:-3]) > 1:
            return f"has the shape {list(tensor.shape)}: only the three innermost dimensions may be larger than 1"
    return None


def _any(graph: Graph, operator: Operator) -> Optional[str]:  # noqa: ARG001  # one signature for all limits
    return None


def _no_activation(graph: Graph, operator: Operator) -> Optional[str]:  # noqa: ARG001
    activation = operator.options.get("activation", "NONE")
    return f"has {activation} fused into it, which it must not have" if activation != "NONE" else None


def _concatenation(graph: Graph, operator: Operator) -> Optional[str]:
    constants = [tensor for tensor in (graph.constant(index) for index in operator.inputs) if tensor]
    zeros = all(np.all(tensor.data == tensor.zero_point[:1]) for tensor in constants if tensor.data is not None)
    if constants and (len(operator.inputs) != 2 or not zeros):
        return "joins a constant: only two inputs and a constant of zeros are taken"
    return _no_activation(graph, operator)


def _dilation(graph: Graph, operator: Operator) -> Optional[str]:  # noqa: ARG001
    if operator.options.get("dilation_h") != operator.options.get("dilation_w"):
        return "has another dilation in height than in width"
    return None


def _dense(graph: Graph, operator: Operator) -> Optional[str]:
    if operator.options.get("weights_format"):
        return "stores its weights in another than the default format"
    weights = graph.constant(operator.inputs[1]) if len(operator.inputs) > 1 else None
    if weights and len(weights.scale) > 1:
        return "has a scale for each channel, which is newer in dense layers than the compiler"
    return None if _one_dimensional(graph, operator.outputs) else "has more than one dimension in its output"


def _not_over_batch(graph: Graph, operator: Operator) -> Optional[str]:
    return "reduces the batch dimension" if 0 in _axes(graph, operator, 1) else None


def _mean(graph: Graph, operator: Operator) -> Optional[str]:
    shape = graph.tensors[operator.inputs[0]].shape
    if len(shape) - 1 in _axes(graph, operator, 1) and shape[-1] % 4:
        return f"takes the mean over {shape[-1]} channels, which is not a multiple of 4"
    return _not_over_batch(graph, operator)


def _pack(graph: Graph, operator: Operator) -> Optional[str]:
    rank = len(graph.tensors[operator.outputs[0]].shape)
    return "packs along the batch dimension" if operator.options.get("axis") in (0, -rank) else None


def _pad(graph: Graph, operator: Operator) -> Optional[str]:
    paddings = _values(graph, operator, 1)
    return "pads the batch dimension" if any(paddings[:2]) else None


def _prelu(graph: Graph, operator: Operator) -> Optional[str]:
    return None if _one_dimensional(graph, operator.inputs[1:2]) else "has a slope with more than one dimension"


def _softmax(graph: Graph, operator: Operator) -> Optional[str]:
    tensor = graph.tensors[operator.inputs[0]]
    if _one_dimensional(graph, operator.inputs) and tensor.elements <= _MOST_SOFTMAX:
        return None
    return f"has the input {list(tensor.shape)}: one dimension of at most {_MOST_SOFTMAX} is taken"


def _split(graph: Graph, operator: Operator) -> Optional[str]:
    return "splits the batch dimension" if 0 in _axes(graph, operator, 0, of=1) else None


def _squeeze(graph: Graph, operator: Operator) -> Optional[str]:
    shape = graph.tensors[operator.inputs[0]].shape
    larger = [size > 1 for size in shape]
    return None if larger == sorted(larger) else f"takes a dimension out of the middle of {list(shape)}"


def _strided_slice(graph: Graph, operator: Operator) -> Optional[str]:
    if any(stride != 1 for stride in _values(graph, operator, 3)):
        return "has a stride other than 1"
    if operator.options.get("ellipsis_mask") or operator.options.get("new_axis_mask"):
        return "has an ellipsis or a new axis"
    return None


def _one_dimensional(graph: Graph, tensors: tuple[int, ...]) -> bool:
    shape = graph.tensors[tensors[0]].shape
    return math.prod(shape[:-1]) == 1


def _values(graph: Graph, operator: Operator, number: int) -> list[int]:
    """A constant input's numbers; none where it is not there."""
    tensor: Optional[Tensor] = graph.constant(operator.inputs[number]) if number < len(operator.inputs) else None
    if tensor is None or tensor.data is None or tensor.dtype not in ("int32", "int64", "int8", "int16"):
        return []
    return [int(value) for value in tensor.data.ravel().tolist()]


def _axes(graph: Graph, operator: Operator, number: int, of: int = 0) -> set[int]:
    rank = len(graph.tensors[operator.inputs[of]].shape)
    return {axis + rank if axis < 0 else axis for axis in _values(graph, operator, number)}


_LIMITS: dict[str, Limit] = {
    "ADD": _any,
    "AVERAGE_POOL_2D": _no_activation,
    "CONCATENATION": _concatenation,
    "CONV_2D": _dilation,
    "DEPTHWISE_CONV_2D": _dilation,
    "EXPAND_DIMS": _any,
    "FULLY_CONNECTED": _dense,
    "L2_NORMALIZATION": _any,
    "LOGISTIC": _any,
    "MAXIMUM": _any,
    "MAX_POOL_2D": _no_activation,
    "MEAN": _mean,
    "MINIMUM": _any,
    "MUL": _any,
    "PACK": _pack,
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _any,
    "REDUCE_MAX": _not_over_batch,
    "REDUCE_MIN": _not_over_batch,
    "RELU": _any,
    "RELU6": _any,
    "RELU_N1_TO_1": _any,
    "RESHAPE": _any,
    "RESIZE_BILINEAR": _any,
    "RESIZE_NEAREST_NEIGHBOR": _any,
    "RSQRT": _any,
    "SLICE": _any,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _any,
    "SPLIT": _split,
    "SQUARED_DIFFERENCE": _any,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _any,
    "SUM": _not_over_batch,
    "TANH": _any,
    "TRANSPOSE": _any,
    "TRANSPOSE_CONV": _any,
    _LSTM: _any,
}
