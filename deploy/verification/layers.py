"""Where a quantized model loses: the noise that each layer has gathered, against the float model's same layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple, Optional, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.inspection import graph
from deploy.inspection.graph import Graph, Operator
from deploy.verification.verify import Side
from edge import images
from edge.runtimes import require
from edge.tensors import Preprocessor, dequantize

PICTURES = 16
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
_COMPUTING = ("/convolution", "/depthwise", "/MatMul")
_LEAST_MATCHED = 0.5
_FEATURE_MAP_RANK = 4


class Layer(msgspec.Struct, frozen=True):
    """One operator of the quantized graph and how well its output is that of the float graph."""

    index: int
    """Its place in the order of execution of the quantized file."""
    operator: str
    """For example "CONV_2D"."""
    name: str
    """Of the Keras layer, as the converter tells it."""
    snr_db: Optional[float]
    """Signal to noise; None when there is no noise at all."""


class Layers(msgspec.Struct, frozen=True):
    """The layers of a model, or why they could not be compared."""

    pictures: int
    layers: tuple[Layer, ...]
    """In the order of execution."""
    problem: Optional[str] = None
    """A sentence; None when they were compared."""

    def worst(self, count: int = 5) -> tuple[Layer, ...]:
        """Those with the least signal to noise, the worst first."""
        noisy = [layer for layer in self.layers if layer.snr_db is not None]
        return tuple(sorted(noisy, key=lambda layer: (layer.snr_db, layer.index))[:count])


class _Pair(NamedTuple):
    """The same layer in both files."""

    operator: Operator
    """Of the quantized graph."""
    reference: int
    """Index of the output tensor in the float file."""
    quantized: int
    """Index of the output tensor in the quantized file."""


def compare_layers(reference: Side, quantized: Side, paths: Sequence[Path]) -> Layers:
    """Run both models with all their tensors kept, and compare what each layer puts out.

    For the outputs x of the float model's layer and y of the quantized one's, over all pictures,
    SNR = 10 log10(sum x² / sum (x - y)²), in dB: 6 dB are one bit. The noise of a layer contains what it got from the
    layers before it.

    The converter widens channels of feature maps and narrows the weights that read them
    (`deploy.conversion.equalize`), so that y may be x times a factor of its own for each channel, which means
    nothing to the result. In feature maps (four dimensions) y is therefore first divided by the factor that fits it
    best, in the sense of least squares.

    Args:
        reference: the float model.
        quantized: made of it by the same converter; of another one, layers may not be found.
        paths: pictures to compare on, all readable.

    Returns:
        The layers that both have; where those are too few, or the runtime cannot keep tensors, the reason.

    Raises:
        ImageError: a picture cannot be read.
        ModelError: a file is damaged.
        RuntimeUnavailableError: there is no runtime.
    """
    one, other = graph.read(reference.path), graph.read(quantized.path)
    pairs = _pairs(one, other)
    steps = len(_steps(other))
    if len(pairs) < max(1, _LEAST_MATCHED * steps):
        return _none(f"{len(pairs)} of the {steps} layers are in both models, which come from different converters")
    if not paths:
        return _none("there are no pictures to compare on")
    noises = [_Noise() for _ in pairs]
    try:
        ones = _Kept(reference, one, [pair.reference for pair in pairs])
        others = _Kept(quantized, other, [pair.quantized for pair in pairs])
        for path in paths:
            pixels = images.read_rgb(path)
            for noise, x, y in zip(noises, ones.run(pixels), others.run(pixels)):
                noise.add(x, y)
    except (ValueError, RuntimeError) as error:  # without its delegate, the runtime may lack an operator
        return _none(f"the runtime cannot run the models with all tensors kept: {' '.join(str(error).split())}")
    layers = (
        Layer(pair.operator.index, pair.operator.name, _layer_name(one.tensors[pair.reference].name), noise.snr_db())
        for pair, noise in zip(pairs, noises)
    )
    return Layers(len(paths), tuple(layers))


def _none(problem: str) -> Layers:
    return Layers(0, (), problem)


def _layer_name(tensor: str) -> str:
    """Of "model/bn/add;model/conv/convolution", which was fused, "conv": what computes is most telling."""
    parts = tensor.split(";")
    part = next((part for part in parts if part.endswith(_COMPUTING)), parts[0])
    return part.split("/")[-2] if "/" in part else part


def _steps(graph_: Graph) -> list[Operator]:
    """The operators that compute: not those that only change how numbers are written."""
    return [
        operator for operator in graph_.operators if operator.name not in _CONVERSIONS and len(operator.outputs) == 1
    ]


def _pairs(one: Graph, other: Graph) -> list[_Pair]:
    """The layers of both: runs of the same operators with the same output shapes.

    Not by name: a layer is called differently when it lay in a model inside a model. One graph may begin with the
    normalization that the other expects to be done.
    """
    ones, others = _steps(one), _steps(other)
    a, b = [_kind(one, step) for step in ones], [_kind(other, step) for step in others]
    return [
        _Pair(others[block.b + place], ones[block.a + place].outputs[0], others[block.b + place].outputs[0])
        for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
        for place in range(block.size)
    ]


def _kind(graph_: Graph, step: Operator) -> tuple[str, tuple[int, ...]]:
    return step.name, graph_.tensors[step.outputs[0]].shape


class _Kept:
    """A model that keeps its tensors: without the delegate that the device runs it with, which has none to show."""

    def __init__(self, side: Side, graph_: Graph, wanted: Iterable[int]) -> None:
        interpreters = cast(Any, require("auto")).require()
        self._interpreter = interpreters.Interpreter(
            model_path=str(side.path),
            num_threads=2,
            experimental_op_resolver_type=interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        self._preprocessor = Preprocessor(side.input)
        self._input = graph_.inputs[0]
        self._wanted = [(index, graph_.tensors[index]) for index in wanted]

    def run(self, pixels: NDArray[np.uint8]) -> Iterable[NDArray[np.float32]]:
        """The real values of the wanted tensors for a picture, one after the other."""
        self._preprocessor.fill(pixels, self._interpreter.tensor(self._input)())
        self._interpreter.invoke()
        for index, tensor in self._wanted:
            quantized = len(tensor.scale) == 1
            yield dequantize(
                self._interpreter.get_tensor(index),
                float(tensor.scale[0]) if quantized else None,
                int(tensor.zero_point[0]) if quantized else None,
            )


class _Noise:
    """The sums of squares and products of one layer, for each channel."""

    def __init__(self) -> None:
        self._xx: Any = 0.0
        self._xy: Any = 0.0
        self._yy: Any = 0.0
        self._scaled = False

    def add(self, reference: NDArray[np.float32], quantized: NDArray[np.float32]) -> None:
        """Take in one picture's tensors, of the same shape with channels last."""
        self._scaled = reference.ndim == _FEATURE_MAP_RANK
        channels = reference.shape[-1] if reference.ndim else 1
        x = reference.reshape(-1, channels).astype(np.float64)
        y = quantized.reshape(-1, channels).astype(np.float64)
        self._xx += np.einsum("ij,ij->j", x, x)
        self._xy += np.einsum("ij,ij->j", x, y)
        self._yy += np.einsum("ij,ij->j", y, y)

    def snr_db(self) -> Optional[float]:
        """See `compare_layers`; None without noise."""
        factor: Any = 1.0
        if self._scaled:
            factor = np.divide(self._xy, self._yy, out=np.zeros_like(self._yy), where=self._yy > 0).clip(0)
        signal = float(np.sum(self._xx))
        noise = float(np.sum(self._xx - 2 * factor * self._xy + factor * factor * self._yy))
        if noise <= signal * np.finfo(np.float64).eps:
            return None
        return round(10 * math.log10(signal / noise), 2) if signal else 0.0
