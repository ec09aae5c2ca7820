"""What a .tflite file is made of: operators, parameters, arithmetic, quantization, and what slows it down.

Read from the file alone: neither TensorFlow nor a runtime nor a compiler is run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Optional, Union

import msgspec

from deploy.inspection import edgetpu_operators, graph, patterns
from deploy.inspection.graph import Graph, Operator, Tensor
from edge.errors import ModelError
from edge.model.tflite_file import damage_told

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_LAYERS = {  # which inputs are the weights and the bias
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
}
_MOST = 2**60  # what no model needs and JSON's integers still hold


class TensorFacts(msgspec.Struct, frozen=True):
    """One tensor of the graph's edge."""

    shape: tuple[int, ...]
    dtype: str
    scale: Optional[float]
    """None when the tensor is not quantized, or not with one scale."""
    zero_point: Optional[int]


class Port(msgspec.Struct, frozen=True):
    """An input or output by name."""

    name: str
    signature: tuple[int, ...]
    """The tensor's shape with -1 for what is known only at run time."""
    tensor: TensorFacts


class Quantization(msgspec.Struct, frozen=True):
    """How many tensors of a kind are stored in a way."""

    kind: Literal["input", "output", "activations", "convolution weights", "dense weights", "biases", "other constants"]
    dtype: str
    scales: Literal["none", "per tensor", "per channel"]
    tensors: int


class EdgeTpu(msgspec.Struct, frozen=True):
    """What Coral's documentation says about the file; its compiler decides, and was not run."""

    compiled: bool
    """Whether the file is the compiler's work already."""
    problems: tuple[edgetpu_operators.Problem, ...]
    """The operators that would stay on the CPU. The compiler puts all that come after the first of them there too."""
    graphs: int
    """More than one is not taken."""


class Costs(msgspec.Struct, frozen=True):
    """What the operators of one kind of pattern do, and what all do."""

    operators: int
    macs: int
    values: int
    """Numbers that operators read and write, constants apart: the traffic to and from memory."""


class Facts(msgspec.Struct, frozen=True):
    """A .tflite file.

    Operators, parameters, costs and quantization are those of all its graphs together, all else that of the main one.
    """

    bytes: int
    operators: dict[str, int]
    """Count of each, by its name in TensorFlow Lite's schema; custom ones as "CUSTOM name"."""
    parameters: int
    """Numbers in weights, biases and other constants that are computed with (not shapes, axes and paddings)."""
    total: Costs
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    quantization: tuple[Quantization, ...]
    convolutions_per_tensor: tuple[str, ...]
    """Names of the weights of convolutions that have one scale for all channels, or none."""
    edgetpu: EdgeTpu
    patterns: tuple[patterns.Pattern, ...]
    """What makes EfficientNet B0 to B3 do worse than Lite; see `patterns.REASONS`."""
    pattern_costs: dict[str, Costs]
    """By the kind of pattern."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run, see `macs`."""
        return self.total.macs

    @property
    def input(self) -> TensorFacts:
        """The only input.

        Raises:
            ModelError: there is not one input and one output.
        """
        self._require_one_of_each()
        return self.inputs[0].tensor

    @property
    def output(self) -> TensorFacts:
        """The only output.

        Raises:
            ModelError: there is not one input and one output.
        """
        self._require_one_of_each()
        return self.outputs[0].tensor

    def _require_one_of_each(self) -> None:
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise ModelError(
                f"The model has {len(self.inputs)} inputs and {len(self.outputs)} outputs: expected one of each."
            )


def inspect(model: Union[bytes, Path], source: str = "The model") -> Facts:
    """The facts of any .tflite file.

    Args:
        model: its path or its content.
        source: what to call content in an error.

    Raises:
        ModelError: it is missing, is not TensorFlow Lite, or is damaged.
    """
    if isinstance(model, Path):
        read, source = graph.read(model), str(model)
    else:
        read = graph.parse(model, source)
    with damage_told(source):
        return _facts(read)


def macs(of: Graph, operator: Operator) -> int:
    """Multiply-accumulates of one run of a convolution or dense layer; 0 for all else.

    With the weights of schema.fbs' layouts:
    CONV_2D: output elements x (height x width x input channels of a group), weights (out, height, width, in);
    DEPTHWISE_CONV_2D: output elements x (height x width), weights (1, height, width, out);
    FULLY_CONNECTED: output elements x inputs, weights (out, in);
    TRANSPOSE_CONV: input elements x (height x width x output channels), weights (out, height, width, in).
    Additions of biases, pools and activations count nothing, as in published figures. Sizes that are known only at
    run time count as 1, so a free batch dimension means one picture.
    """
    if operator.name not in _LAYERS or len(operator.inputs) < 2 or not operator.outputs:
        return 0
    weights = of.tensors[operator.inputs[1]].shape
    if operator.name == "TRANSPOSE_CONV":
        return of.tensors[operator.inputs[2]].elements * math.prod(weights[:3])
    per_element = {"CONV_2D": weights[1:], "DEPTHWISE_CONV_2D": weights[1:3], "FULLY_CONNECTED": weights[-1:]}
    return of.tensors[operator.outputs[0]].elements * math.prod(per_element[operator.name])


def _facts(main: Graph) -> Facts:
    graphs = (main, *main.others)
    found = patterns.find(main)
    by_kind: dict[str, list[Operator]] = {}
    for pattern in found:
        by_kind.setdefault(pattern.kind, []).extend(main.operators[place.index] for place in pattern.operators)
    facts = Facts(
        bytes=main.bytes,
        operators=dict(sorted(Counter(step.label for of in graphs for step in of.operators).items())),
        parameters=sum(tensor.elements for of in graphs for tensor in _parameters(of)),
        total=_sum([_costs(of, of.operators) for of in graphs]),
        inputs=tuple(_port(main.tensors[index]) for index in main.inputs),
        outputs=tuple(_port(main.tensors[index]) for index in main.outputs),
        quantization=_quantization(graphs),
        convolutions_per_tensor=tuple(
            weights.name
            for of in graphs
            for operator in of.operators
            if operator.name in CONVOLUTIONS and len((weights := _weights(of, operator)).scale) < 2
        ),
        edgetpu=EdgeTpu(edgetpu_operators.is_compiled(main), edgetpu_operators.problems(main), len(graphs)),
        patterns=found,
        pattern_costs={kind: _costs(main, tuple(operators)) for kind, operators in by_kind.items()},
    )
    if max(facts.parameters, facts.total.macs, facts.total.values) > _MOST:
        raise IndexError("sizes that no model has")
    return facts


def _port(tensor: Tensor) -> Port:
    one = len(tensor.scale) == 1
    scale, zero_point = (float(tensor.scale[0]), int(tensor.zero_point[0])) if one else (None, None)
    return Port(tensor.name, tensor.signature, TensorFacts(tensor.shape, tensor.dtype, scale, zero_point))


def _weights(of: Graph, operator: Operator) -> Tensor:
    index = operator.inputs[_LAYERS[operator.name][0]]
    return of.constant(index) or of.tensors[index]


def _costs(of: Graph, operators: tuple[Operator, ...]) -> Costs:
    return Costs(
        operators=len(operators),
        macs=sum(macs(of, operator) for operator in operators),
        values=sum(
            of.tensors[tensor].elements
            for operator in operators
            for tensor in (*operator.inputs, *operator.outputs)
            if tensor >= 0 and not of.constant(tensor)
        ),
    )


def _sum(costs: list[Costs]) -> Costs:
    return Costs(
        sum(cost.operators for cost in costs), sum(cost.macs for cost in costs), sum(cost.values for cost in costs)
    )


def _constants(of: Graph) -> dict[int, Tensor]:
    """The constants that operators compute with, by the index of the tensor, each once."""
    used = {tensor for operator in of.operators for tensor in operator.inputs if tensor >= 0}
    constants = {index: of.tensors[index] for index in sorted(used) if of.tensors[index].data is not None}
    return {
        index: tensor
        for index, tensor in constants.items()
        if len(tensor.scale) or "float" in tensor.dtype or tensor.dtype.startswith("complex")
    }


def _parameters(of: Graph) -> Iterator[Tensor]:
    yield from _constants(of).values()


def _quantization(graphs: tuple[Graph, ...]) -> tuple[Quantization, ...]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for of in graphs:
        counts.update((kind, tensor.dtype, _scales(tensor)) for kind, tensor in _kinds(of))
    return tuple(Quantization(kind, dtype, scales, count) for (kind, dtype, scales), count in counts.items())  # type: ignore[arg-type]


def _scales(tensor: Tensor) -> str:
    return ("none", "per tensor", "per channel")[min(len(tensor.scale), 2)]


def _kinds(of: Graph) -> Iterator[tuple[str, Tensor]]:
    """Each tensor that is used, with its kind; those of one kind one after the other."""
    yield from (("input", of.tensors[index]) for index in of.inputs)
    yield from (("output", of.tensors[index]) for index in of.outputs)
    made = {tensor for operator in of.operators for tensor in operator.outputs if not of.constant(tensor)}
    yield from (("activations", of.tensors[index]) for index in sorted(made - set(of.outputs)))
    constants = _constants(of)
    roles = {}
    for operator in of.operators:
        if operator.name in _LAYERS:
            weights, bias = _LAYERS[operator.name]
            kind = "dense weights" if operator.name == "FULLY_CONNECTED" else "convolution weights"
            roles.update({id(of.constant(operator.inputs[weights])): kind})
            if bias < len(operator.inputs):
                roles.update({id(of.constant(operator.inputs[bias])): "biases"})
    for kind in ("convolution weights", "dense weights", "biases", "other constants"):
        yield from ((kind, tensor) for tensor in constants.values() if roles.get(id(tensor), "other constants") == kind)
