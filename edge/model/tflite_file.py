"""What a .tflite file says about itself, read straight from its FlatBuffer without a runtime.

Field numbers are those of TensorFlow Lite's schema.fbs (Model, SubGraph, Operator, Tensor,
QuantizationParameters) and of TFLite Support's metadata_schema.fbs (ModelMetadata, NormalizationOptions).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Optional

from edge.errors import ModelError
from edge.model.flatbuffer import Table
from edge.runtimes import TensorDetails

EDGETPU_OPERATOR = "edgetpu-custom-op"
METADATA_NAME = "TFLITE_METADATA"

# BuiltinOperator numbers of schema.fbs that decide what an output means.
_DEQUANTIZE, _LOGISTIC, _RESHAPE, _SOFTMAX, _SQUEEZE, _CUSTOM, _QUANTIZE = 6, 14, 22, 25, 43, 32, 114
_ADD, _AVERAGE_POOL_2D, _CONV_2D, _FULLY_CONNECTED, _MEAN = 0, 1, 3, 9, 40
_MAKES_LOGITS = (_ADD, _AVERAGE_POOL_2D, _CONV_2D, _FULLY_CONNECTED, _MEAN)
_PASSES_VALUES_ON = (_DEQUANTIZE, _RESHAPE, _SQUEEZE, _QUANTIZE)

_NORMALIZATION_OPTIONS = 1  # union ProcessUnitOptions
_TENSOR_AXIS_LABELS = 2  # enum AssociatedFileType
_DTYPES = (  # enum TensorType
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64"),
    *("complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16"),
)


class TfliteFile(NamedTuple):
    """The facts of one .tflite file."""

    operators: tuple[int, ...]
    """Builtin operator number of every operator of the main graph, in order; 32 is a custom one."""
    custom_operators: tuple[str, ...]
    """Names of the custom operators that the file declares."""
    activation: Optional[str]
    """"softmax", "sigmoid" or "logits" by the operator that makes the output; None when that does not tell."""
    mean: Optional[tuple[float, ...]]
    std: Optional[tuple[float, ...]]
    """Normalization from the file's TFLite metadata: value = (pixel - mean) / std."""
    inputs: tuple[TensorDetails, ...]
    outputs: tuple[TensorDetails, ...]

    @property
    def edgetpu(self) -> bool:
        """Whether the file was compiled for an Edge TPU."""
        return EDGETPU_OPERATOR in self.custom_operators


def read(path: Path) -> TfliteFile:
    """Read the facts of a .tflite file.

    Raises:
        ModelError: the file is missing, is not TensorFlow Lite, or is damaged.
    """
    with mapped(path) as buffer:
        return _facts(buffer)


def packed_labels(path: Path) -> Optional[str]:
    """Text of the label file that TFLite metadata names for the output; None when there is none.

    Raises:
        ModelError: see `read`.
    """
    with mapped(path) as buffer:
        return _packed_labels(path, Table.root(buffer))


def difference(given: TfliteFile, expected: TfliteFile) -> Optional[str]:
    """How what one file takes and gives differs from another's, as "its input scale is 0.5, expected 0.25".

    Returns:
        None when each can stand for the other.
    """
    for what, ours, theirs in (("input", given.inputs, expected.inputs), ("output", given.outputs, expected.outputs)):
        if len(ours) != len(theirs):
            return f"it has {len(ours)} {what}s, expected {len(theirs)}"
        for here, there in zip(ours, theirs):
            name = here.differs(there)
            if name:
                values = (getattr(here, name), getattr(there, name))
                told = (list(value) if isinstance(value, tuple) else value for value in values)
                return f"its {what} {name.replace('_', ' ')} is {next(told)}, expected {next(told)}"
    return None


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The content of a .tflite file, for reading with `Table` inside the `with` block.

    Raises:
        ModelError: the file is missing, is not TensorFlow Lite, or what is read in the block is damaged.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError(f"{path} is not a regular file: expected a .tflite file or a bundle's folder.")
        with path.open("rb") as file:
            check_head(file.read(512), str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer, damage_told(str(path)):
                yield buffer
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder; expected a .tflite file or a bundle with model.yaml.") from None
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror or error}.") from None


@contextmanager
def damage_told(source: str) -> Iterator[None]:
    """Turn what `Table` raises into a `ModelError` that names the source."""
    try:
        yield
    except (struct.error, IndexError, RecursionError) as error:
        sentence = f"{source} is a damaged or truncated TensorFlow Lite model: copy or download it again."
        raise ModelError(sentence) from error


def check_head(head: bytes, source: str) -> None:
    """Raise a `ModelError` that says what it is, when the first bytes are not those of a .tflite file."""
    if head[4:8] != b"TFL3":
        raise ModelError(f"{source} is not a TensorFlow Lite model: {_what_it_is(head)}; give a .tflite file.")


def _what_it_is(head: bytes) -> str:
    if not head:
        return "the file is empty"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page, probably an error page saved in place of the download"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself (run `git lfs pull`)"
    if head[:2] == b"PK":
        return "it is a zip archive"
    if b"\0" not in head:
        return "it is a text file"
    return "it lacks the TFL3 identifier"


def _facts(buffer: mmap.mmap) -> TfliteFile:
    model = Table.root(buffer)
    codes = model.tables(1)
    # builtin_code (field 3) extends deprecated_builtin_code (field 0) past 127; the larger one is meant.
    numbers = [max(code.int32(3), code.int8(0)) for code in codes]
    customs = tuple(code.string(1) for code, number in zip(codes, numbers) if number == _CUSTOM)
    graphs = model.tables(2)
    if not graphs:
        raise struct.error("no graph in the file")
    operators = graphs[0].tables(3)
    kinds = tuple(numbers[operator.uint32(0)] for operator in operators)
    mean, std = _normalization(model)
    return TfliteFile(
        operators=kinds,
        custom_operators=customs,
        activation=_activation(graphs[0], operators, kinds),
        mean=mean,
        std=std,
        inputs=_tensors(graphs[0], graphs[0].ints(1)),
        outputs=_tensors(graphs[0], graphs[0].ints(2)),
    )


def _tensors(graph: Table, indices: tuple[int, ...]) -> tuple[TensorDetails, ...]:
    return tuple(_tensor(graph.item(0, index)) for index in indices)


def _tensor(tensor: Table) -> TensorDetails:
    quantization = tensor.table(4)
    scales = quantization.floats(2) if quantization else ()
    zero_points = quantization.longs(3) if quantization else ()
    number = tensor.uint8(1)
    quantized = len(scales) == 1  # several are those of weights, a scale for each channel
    return TensorDetails(
        name=tensor.string(3),
        shape=tensor.ints(0),
        dtype=_DTYPES[number] if number < len(_DTYPES) else f"type {number}",
        scale=scales[0] if quantized else None,
        zero_point=(zero_points[0] if zero_points else 0) if quantized else None,
    )


def _activation(graph: Table, operators: list[Table], kinds: tuple[int, ...]) -> Optional[str]:
    outputs = graph.ints(2)
    if len(outputs) != 1:
        return None
    tensor = outputs[0]
    for operator, kind in zip(reversed(operators), reversed(kinds)):
        if tensor not in operator.ints(2):
            continue
        if kind in _PASSES_VALUES_ON:
            tensor = operator.ints(1)[0]
            continue
        if kind in _MAKES_LOGITS and not {_SOFTMAX, _LOGISTIC} & set(kinds):
            return "logits"
        return {_SOFTMAX: "softmax", _LOGISTIC: "sigmoid"}.get(kind)
    return None


def _metadata(model: Table) -> Optional[Table]:
    for entry in model.tables(6):
        if entry.string(0) == METADATA_NAME:
            content = model.item(4, entry.uint32(1)).raw(0)
            return Table.root(content) if content else None
    return None


def _normalization(model: Table) -> tuple[Optional[tuple[float, ...]], Optional[tuple[float, ...]]]:
    metadata = _metadata(model)
    for graph in metadata.tables(3)[:1] if metadata else []:
        for tensor in graph.tables(2)[:1]:
            for unit in tensor.tables(4):
                options = unit.table(1)
                if unit.uint8(0) == _NORMALIZATION_OPTIONS and options:
                    return options.floats(0) or None, options.floats(1) or None
    return None, None


def _packed_labels(path: Path, model: Table) -> Optional[str]:
    """The label file of the first output, from the zip archive that TFLite Support appends to the model."""
    metadata = _metadata(model)
    if metadata is None:
        return None
    names = [
        file.string(0)
        for graph in metadata.tables(3)[:1]
        for tensor in graph.tables(3)[:1]
        for file in tensor.tables(6)
        if file.int8(2) == _TENSOR_AXIS_LABELS
    ]
    if not names:
        return None
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(names[0]).decode("utf-8-sig")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise struct.error(f"label file {names[0]!r} promised by its metadata cannot be read: {error}") from None
