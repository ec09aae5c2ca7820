"""What EfficientNet B0 to B3 have and EfficientNet-Lite leaves out: squeeze-and-excitation and swish.

Hu et al., "Squeeze-and-Excitation Networks", 2018; Ramachandran et al., "Searching for Activation Functions", 2017;
both were left out of EfficientNet-Lite, for the speed of accelerators and for the accuracy in 8 bits (README of
models/official/efficientnet/lite in google's tpu repository).
"""

from __future__ import annotations

from typing import Literal, Optional

import msgspec

from deploy.inspection.graph import Graph, Operator

Kind = Literal["squeeze_and_excitation", "swish"]

REASONS: dict[Kind, str] = {
    "squeeze_and_excitation": "each block waits for the mean of a whole feature map, then reads and writes the map "
    "once more to scale it, which is almost no arithmetic and much traffic, and accelerators support it badly",
    "swish": "unlike RELU6 it is not computed inside the convolution before it but in passes over the feature map of "
    "its own, and it quantizes worse, having no upper bound",
}
_POOLS = ("MEAN", "AVERAGE_POOL_2D", "SUM", "REDUCE_MAX")
_LAYERS = ("CONV_2D", "FULLY_CONNECTED")
_MOST_GATE_OPERATORS = 24  # EfficientNet has 6, variants a few more


class Place(msgspec.Struct, frozen=True):
    """Where an operator stands."""

    index: int
    """In the order of execution."""
    operator: str
    tensor: str
    """Name of its (first) output."""


class Pattern(msgspec.Struct, frozen=True):
    """One block of squeeze-and-excitation, or one swish outside of such blocks."""

    kind: Kind
    operators: tuple[Place, ...]
    """In order; the last one makes the result."""


def place(graph: Graph, operator: Operator) -> Place:
    """An operator by its index, name and output."""
    return Place(operator.index, operator.label, graph.tensors[operator.outputs[0]].name if operator.outputs else "")


def find(graph: Graph) -> tuple[Pattern, ...]:
    """All blocks of squeeze-and-excitation and all swishes, in the order in which they end."""
    found: list[tuple[Kind, list[Operator]]] = []
    for operator in graph.operators:
        block = _squeeze_and_excitation(graph, operator)
        if block:
            found.append(("squeeze_and_excitation", block))
    inside = {operator.index for _, operators in found for operator in operators}
    for operator in graph.operators:
        swish = _swish(graph, operator)
        if swish and swish[-1].index not in inside:
            found.append(("swish", swish))
    found.sort(key=lambda pattern: pattern[1][-1].index)
    return tuple(Pattern(kind, tuple(place(graph, operator) for operator in operators)) for kind, operators in found)


def _swish(graph: Graph, operator: Operator) -> list[Operator]:
    """The product of x and sigmoid(x), or HARD_SWISH, by its first operator."""
    if operator.name == "HARD_SWISH":
        return [operator]
    if operator.name == "LOGISTIC" and len(operator.inputs) == len(operator.outputs) == 1:
        both = {operator.inputs[0], operator.outputs[0]}
        for consumer in graph.consumers(operator.outputs[0]):
            if consumer.name == "MUL" and set(consumer.inputs) == both:
                return [operator, consumer]
    return []


def _squeeze_and_excitation(graph: Graph, operator: Operator) -> list[Operator]:
    """The product of x and a gate that is computed from the mean of x over height and width, by that product."""
    if operator.name != "MUL" or len(operator.inputs) != 2:
        return []
    for features, gate in (operator.inputs, operator.inputs[::-1]):
        if _is_vector(graph, gate) and not _is_vector(graph, features):
            operators = _gate(graph, gate, features)
            if operators:
                return [*operators, operator]
    return []


def _gate(graph: Graph, gate: int, features: int) -> Optional[list[Operator]]:
    """The operators from the features to the gate, when all of it comes from their pooled values."""
    found: dict[int, Operator] = {}
    tensors = [gate]
    while tensors:
        tensor = tensors.pop()
        if tensor < 0 or graph.constant(tensor):
            continue
        operator = graph.producer(tensor)
        if operator is None or not _is_vector(graph, tensor) or len(found) > _MOST_GATE_OPERATORS:
            return None
        if operator.index not in found:
            found[operator.index] = operator
            if operator.name not in _POOLS or features not in operator.inputs[:1]:
                tensors.extend(operator.inputs)
    names = {operator.name for operator in found.values()}
    if not names & set(_POOLS) or not names & set(_LAYERS):
        return None
    return [found[index] for index in sorted(found)]


def _is_vector(graph: Graph, tensor: int) -> bool:
    """Whether a tensor has one number for each channel of a picture and no other dimension."""
    return tensor >= 0 and all(size == 1 for size in graph.tensors[tensor].signature[1:-1])
