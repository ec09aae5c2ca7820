"""What a converted .tflite is made of, read from its FlatBuffer: operators, quantization, size."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, Optional

import msgspec

from edge.errors import ModelError

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_WEIGHTS_INPUT = 1  # of a convolution's inputs (image, weights, bias)


class TensorFacts(msgspec.Struct, frozen=True):
    """One tensor of the graph's edge."""

    shape: tuple[int, ...]
    dtype: str
    scale: Optional[float]
    """None when the tensor is not quantized, or not with one scale."""
    zero_point: Optional[int]


class Facts(msgspec.Struct, frozen=True):
    """A classifier's main graph."""

    bytes: int
    operators: dict[str, int]
    """Count of each, by its name in TensorFlow Lite's schema."""
    convolutions_per_tensor: tuple[str, ...]
    """Names of the weights of convolutions that have one scale for all channels."""
    input: TensorFacts
    output: TensorFacts


class _Graph(NamedTuple):
    subgraph: Any
    schema: Any


def inspect(model: bytes) -> Facts:
    """The facts of a .tflite file's main graph.

    Raises:
        ModelError: it does not have one input and one output.
    """
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(model, 0)
    graph = _Graph(root.Subgraphs(0), schema)
    if graph.subgraph.InputsLength() != 1 or graph.subgraph.OutputsLength() != 1:
        raise ModelError(
            f"The model has {graph.subgraph.InputsLength()} inputs and {graph.subgraph.OutputsLength()} outputs: "
            "expected one of each."
        )
    names = _names(schema.BuiltinOperator)
    operators: Counter[str] = Counter()
    per_tensor = []
    for number in range(graph.subgraph.OperatorsLength()):
        operator = graph.subgraph.Operators(number)
        code = root.OperatorCodes(operator.OpcodeIndex())
        # builtin_code extends deprecated_builtin_code past 127; the larger one is meant
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        operators[name] += 1
        if name in CONVOLUTIONS:
            weights = graph.subgraph.Tensors(operator.Inputs(_WEIGHTS_INPUT))
            quantization = weights.Quantization()
            if (quantization.ScaleLength() if quantization else 0) < 2:
                per_tensor.append(weights.Name().decode())
    return Facts(
        bytes=len(model),
        operators=dict(sorted(operators.items())),
        convolutions_per_tensor=tuple(per_tensor),
        input=_tensor(graph, graph.subgraph.Inputs(0)),
        output=_tensor(graph, graph.subgraph.Outputs(0)),
    )


def _tensor(graph: _Graph, index: int) -> TensorFacts:
    tensor = graph.subgraph.Tensors(index)
    quantization = tensor.Quantization()
    quantized = quantization is not None and quantization.ScaleLength() == 1
    return TensorFacts(
        shape=tuple(tensor.Shape(axis) for axis in range(tensor.ShapeLength())),
        dtype=_names(graph.schema.TensorType)[tensor.Type()].lower(),
        scale=float(quantization.Scale(0)) if quantized else None,
        zero_point=int(quantization.ZeroPoint(0)) if quantized else None,
    )


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
