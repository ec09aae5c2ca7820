"""The graph of any .tflite file: tensors with their constants, operators with their options.

Read straight from the FlatBuffer, without TensorFlow or a runtime. Field numbers are those of TensorFlow Lite's
schema.fbs (Model, SubGraph, Tensor, QuantizationParameters, Buffer, Operator and the options of operators).
"""

from __future__ import annotations

import math
import struct
from functools import cached_property
from pathlib import Path
from typing import Optional, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.inspection.schema_names import ACTIVATIONS, DTYPES, OPERATORS, PADDINGS
from edge.model.flatbuffer import Table
from edge.model.tflite_file import check_head, damage_told, mapped

_MOST_DIMENSIONS = 32
_MOST_ELEMENTS = 2**40  # of one tensor: more fits into no computer, so it is damage
_NUMPY_DTYPES = {
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
# By the number of the union BuiltinOptions: name, field and kind of each option, in the words of `_option`.
_STRIDES = (("padding", 0, "padding"), ("stride_w", 1, "int"), ("stride_h", 2, "int"))
_OPTIONS: dict[int, tuple[tuple[str, int, str], ...]] = {
    # Conv2DOptions, DepthwiseConv2DOptions, Pool2DOptions, FullyConnectedOptions
    1: (*_STRIDES, ("activation", 3, "activation"), ("dilation_w", 4, "from1"), ("dilation_h", 5, "from1")),
    2: (
        *_STRIDES,
        ("depth_multiplier", 3, "int"),
        ("activation", 4, "activation"),
        ("dilation_w", 5, "from1"),
        ("dilation_h", 6, "from1"),
    ),
    5: (*_STRIDES, ("filter_w", 3, "int"), ("filter_h", 4, "int"), ("activation", 5, "activation")),
    8: (("activation", 0, "activation"), ("weights_format", 1, "byte"), ("keep_dims", 2, "byte")),
    # ConcatenationOptions, AddOptions, MulOptions, SubOptions, DivOptions
    10: (("axis", 0, "int"), ("activation", 1, "activation")),
    **dict.fromkeys((11, 21, 28, 29), (("activation", 0, "activation"),)),
    # ReducerOptions, StridedSliceOptions, TransposeConvOptions, PackOptions
    27: (("keep_dims", 0, "byte"),),
    32: (("ellipsis_mask", 2, "int"), ("new_axis_mask", 3, "int")),
    49: (*_STRIDES, ("activation", 3, "activation")),
    59: (("axis", 1, "int"),),
}


def is_dynamic(shape: tuple[int, ...], signature: tuple[int, ...]) -> bool:
    """Whether a dimension other than the number of pictures is known only at run time.

    Keras leaves the number of pictures open, and the file says 1, for which Coral's compiler takes it: google-coral's
    own tutorial compiles such a model, and issue 15 of google-coral/tutorials tells which others. What it cannot take
    of them, shapes that are computed from that number, are operators, which are looked at one by one.

    Args:
        shape: as it is until somebody sets another.
        signature: the same with -1 for what is known only at run time.
    """
    pictures_open = len(signature) > 1 and signature[0] < 0 and shape[0] == 1
    return min(signature[pictures_open:], default=0) < 0


class Tensor(msgspec.Struct, frozen=True, eq=False):
    """A tensor: a constant, or what an operator makes."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """The shape with -1 for what is known only at run time, where `shape` has 1."""
    dtype: str
    """The schema's name in lower case: "float32", "int8", "uint8", "int32", …"""
    scale: NDArray[np.float32]
    """Shape (0,) when not quantized, (1,) for one scale, (channels,) for one each along `axis`."""
    zero_point: NDArray[np.int64]
    """As many as scales."""
    axis: int
    """The dimension that has a scale for each index; matters with more than one scale."""
    data: Optional[NDArray[np.generic]]
    """A constant's content, a read-only view of the file; None for what is computed.

    Has the tensor's shape and dtype, but is the stored bytes (uint8, one dimension) when numpy lacks the dtype (int4,
    bfloat16, string, …) or the content is stored sparsely.
    """

    @property
    def dynamic(self) -> bool:
        """Whether a dimension is known only at run time; see `is_dynamic`."""
        return is_dynamic(self.shape, self.signature)

    @property
    def elements(self) -> int:
        """How many numbers the tensor has; a dimension that is known only at run time counts as 1."""
        return math.prod(1 if size < 0 else size for size in self.shape)


class Operator(msgspec.Struct, frozen=True):
    """One step of the graph."""

    index: int
    """Its place in the order of execution."""
    name: str
    """The schema's: "CONV_2D", …; "UNKNOWN_<number>" for one that is newer than this reader."""
    custom: Optional[str]
    """Name of a custom operator, whose `name` is "CUSTOM"."""
    inputs: tuple[int, ...]
    """Indices of tensors; -1 is an optional one that is absent."""
    outputs: tuple[int, ...]
    options: dict[str, Union[int, str]]
    """Of convolutions, pools, dense layers and simple arithmetic: stride_h, stride_w, padding ("SAME" or "VALID"),
    dilation_h, dilation_w, activation ("NONE", "RELU6", …), depth_multiplier, filter_h, filter_w, keep_dims."""

    @property
    def label(self) -> str:
        """Its name; of a custom one "CUSTOM" and the custom name."""
        return f"{self.name} {self.custom}" if self.custom else self.name


class Graph(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A .tflite file's main graph, or one that it calls."""

    bytes: int
    """Size of the file."""
    description: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    """In the order of execution."""
    inputs: tuple[int, ...]
    """Indices of tensors."""
    outputs: tuple[int, ...]
    others: tuple[Graph, ...] = ()
    """The file's further graphs: bodies of loops and branches, or further signatures."""

    def producer(self, tensor: int) -> Optional[Operator]:
        """The operator that makes a tensor; None for an input or a constant."""
        return self._producers.get(tensor)

    def consumers(self, tensor: int) -> tuple[Operator, ...]:
        """The operators that read a tensor, in order."""
        return tuple(self._consumers.get(tensor, ()))

    def constant(self, tensor: int) -> Optional[Tensor]:
        """The constant that an operator is given, also when it is stored as float16 or sparse and expanded first.

        None for what is computed, and for an input that is absent (-1).
        """
        made_by = self.producer(tensor)
        if made_by and made_by.name in ("DEQUANTIZE", "DENSIFY") and len(made_by.inputs) == 1:
            tensor = made_by.inputs[0]
        return self.tensors[tensor] if tensor >= 0 and self.tensors[tensor].data is not None else None

    @cached_property
    def _producers(self) -> dict[int, Operator]:
        return {tensor: operator for operator in self.operators for tensor in operator.outputs}

    @cached_property
    def _consumers(self) -> dict[int, list[Operator]]:
        found: dict[int, list[Operator]] = {}
        for operator in self.operators:
            for tensor in dict.fromkeys(operator.inputs):
                found.setdefault(tensor, []).append(operator)
        return found


def read(path: Path) -> Graph:
    """The graph of a .tflite file.

    Raises:
        ModelError: the file is missing, is not TensorFlow Lite, or is damaged.
    """
    with mapped(path) as buffer:
        content = bytes(buffer)
    return parse(content, str(path))


def parse(content: bytes, source: str) -> Graph:
    """The graph of a .tflite file's content.

    Args:
        content: kept alive by the constants, which are views of it.
        source: what to call it in an error.

    Raises:
        ModelError: it is not TensorFlow Lite, or is damaged.
    """
    check_head(content[:512], source)
    with damage_told(source):
        model = Table.root(content)
        codes = [_code(code) for code in model.tables(1)]
        buffers = [_span(buffer, len(content)) for buffer in model.tables(4)]
        description = model.string(3)
        graphs = [_graph(table, codes, buffers, content, description) for table in model.tables(2)]
        if not graphs:
            raise struct.error("no graph in the file")
        return msgspec.structs.replace(graphs[0], others=tuple(graphs[1:]))


def _code(code: Table) -> tuple[str, Optional[str]]:
    # builtin_code (field 3) extends deprecated_builtin_code (field 0) past 127; the larger one is meant
    number = max(code.int32(3), code.int8(0))
    name = _name(OPERATORS, number) if number < len(OPERATORS) else f"UNKNOWN_{number}"
    return name, code.string(1) if name == "CUSTOM" else None


def _name(names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        raise struct.error(f"{number} stands for nothing")
    return names[number]


def _span(buffer: Table, size: int) -> tuple[int, int]:
    """Start and end of a constant's bytes: in a vector, or behind the FlatBuffer in files of more than 2 GB."""
    start = buffer.uint64(1)
    if start <= 1:  # the schema's word for "not behind"
        return buffer.span(0)
    end = start + buffer.uint64(2)
    if end > size:
        raise struct.error("constant past the end of the file")
    return start, end


def _graph(
    table: Table, codes: list[tuple[str, Optional[str]]], buffers: list[tuple[int, int]], content: bytes, text: str
) -> Graph:
    tensors = tuple(_tensor(tensor, buffers, content) for tensor in table.tables(0))
    return Graph(
        bytes=len(content),
        description=text,
        tensors=tensors,
        operators=tuple(
            _operator(index, operator, codes, len(tensors)) for index, operator in enumerate(table.tables(3))
        ),
        inputs=_indices(table, 1, len(tensors), least=0),
        outputs=_indices(table, 2, len(tensors), least=0),
    )


def _indices(table: Table, number: int, count: int, least: int) -> tuple[int, ...]:
    indices = table.ints(number)
    if indices and not least <= min(indices) <= max(indices) < count:
        raise struct.error("index of a tensor that is not there")
    return indices


def _operator(index: int, table: Table, codes: list[tuple[str, Optional[str]]], tensors: int) -> Operator:
    name, custom = codes[table.uint32(0)]
    options = table.table(4)
    rows = _OPTIONS.get(table.uint8(3), ()) if options else ()
    return Operator(
        index=index,
        name=name,
        custom=custom,
        inputs=_indices(table, 1, tensors, least=-1),
        outputs=_indices(table, 2, tensors, least=0),
        options={option: _option(options, field, kind) for option, field, kind in rows if options},
    )


def _option(options: Table, field: int, kind: str) -> Union[int, str]:
    if kind == "activation":
        return _name(ACTIVATIONS, options.int8(field))
    if kind == "padding":
        return _name(PADDINGS, options.int8(field))
    if kind == "byte":
        return options.int8(field)
    return options.int32(field, default=1 if kind == "from1" else 0)


def _tensor(table: Table, buffers: list[tuple[int, int]], content: bytes) -> Tensor:
    shape = table.ints(0)
    if len(shape) > _MOST_DIMENSIONS or math.prod(abs(size) for size in shape) > _MOST_ELEMENTS:
        raise struct.error("a tensor of impossible size")
    dtype = _name(DTYPES, table.uint8(1))
    signature = table.ints(7)
    scale, zero_point, axis = _quantization(table.table(4), shape)
    return Tensor(
        name=table.string(3),
        shape=shape,
        signature=signature if len(signature) == len(shape) else shape,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        axis=axis,
        data=_data(content, buffers[table.uint32(2)], shape, dtype, sparse=table.table(6) is not None),
    )


def _quantization(table: Optional[Table], shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    scale = np.frombuffer(table.raw(2, 4) if table else b"", "<f4")
    zero_point = np.frombuffer(table.raw(3, 8) if table else b"", "<i8")
    axis = table.int32(6) if table else 0
    if len(scale) != len(zero_point):
        raise struct.error("as many scales as zero points are needed")
    if len(scale) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scale)):
        raise struct.error("a scale for each channel is needed")
    return scale, zero_point, axis


def _data(
    content: bytes, span: tuple[int, int], shape: tuple[int, ...], dtype: str, sparse: bool
) -> Optional[NDArray[np.generic]]:
    start, end = span
    if start == end:
        return None
    if dtype not in _NUMPY_DTYPES or sparse:
        return np.frombuffer(content, np.uint8, end - start, start)
    number_type = np.dtype(dtype).newbyteorder("<")
    elements = math.prod(shape)
    if min(shape, default=1) < 1 or elements * number_type.itemsize != end - start:
        raise struct.error("a constant of another size than its shape")
    return np.frombuffer(content, number_type, elements, start).reshape(shape)
