"""Packs TFLite Metadata into a .tflite, so that the very same file also runs bare and in MediaPipe, with its labels.

Two parts: a FlatBuffer that says how pixels are normalized and which file holds the labels, referred to by the
model; and a zip archive with that file, appended to the model. Field numbers are those of TFLite Support's
metadata_schema.fbs and of TensorFlow Lite's schema.fbs.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence

import flatbuffers  # type: ignore[import-untyped]
import msgspec
from flatbuffers import number_types
from flatbuffers.table import Table  # type: ignore[import-untyped]

from edge.errors import ModelError
from edge.model.tflite_file import METADATA_NAME

_MODEL_IDENTIFIER = b"TFL3"
_METADATA_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
_ALIGNMENT_BYTES = 16  # force_align of schema.fbs's Buffer.data
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can say: the same bytes on every day

# table Model of schema.fbs
_VERSION, _BUFFERS, _METADATA, _MODEL_FIELDS = 0, 4, 6, 8
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES = 2, 1  # union ContentProperties
_RGB = 1  # enum ColorSpaceType
_NORMALIZATION_OPTIONS = 1  # union ProcessUnitOptions
_TENSOR_AXIS_LABELS = 2  # enum AssociatedFileType


class Metadata(msgspec.Struct, frozen=True):
    """What is said of a classifier."""

    name: str
    description: str
    author: str
    licence: str
    mean: float
    std: float
    """value = (pixel - mean) / std, the same for R, G and B: MediaPipe takes no other."""
    labels_file: str
    """Name of the label file inside the archive."""


def pack(model: bytes, metadata: Metadata, labels: str) -> bytes:
    """The model with its metadata and its labels inside; the same bytes for the same arguments.

    Args:
        model: a .tflite file without metadata.
        metadata: what to say of it.
        labels: text of the label file, one name a line.

    Raises:
        ModelError: the file is not a .tflite that can be extended, or has metadata already.
    """
    try:
        extended = _extended(model, _described(metadata))
    except (struct.error, IndexError, TypeError, AssertionError, flatbuffers.builder.BuilderSizeError) as error:
        raise ModelError(f"The model cannot take metadata ({error}): expected an undamaged .tflite file.") from None
    file = io.BytesIO(extended)
    entry = zipfile.ZipInfo(metadata.labels_file, _ZIP_TIME)  # stored, not deflated: MediaPipe reads no other
    entry.create_system = 3  # as on Unix, wherever it is made
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, labels.encode())
    return file.getvalue()


def _extended(model: bytes, metadata: bytes) -> bytes:
    """The model with a new root table in front that refers to the old content and to the metadata.

    A FlatBuffer is built from its end to its beginning, and its references point towards its end. So the
    finished file is taken as one half built, and grows at its front: no weight moves or loses its alignment.
    """
    if model[4:8] != _MODEL_IDENTIFIER:
        raise ModelError("The model cannot take metadata: it is not a TensorFlow Lite file.")
    body = model + bytes(-len(model) % _ALIGNMENT_BYTES)
    builder = flatbuffers.Builder(len(body) + 2 * len(metadata) + (1 << 16))
    builder.head -= len(body)
    builder.Bytes[builder.head :] = body
    builder.minalign = _ALIGNMENT_BYTES

    (root,) = struct.unpack_from("<I", body, 0)
    old = Table(body, root)
    if (struct.unpack_from("<H", body, root - old.Get(number_types.SOffsetTFlags, root))[0] - 4) // 2 > _MODEL_FIELDS:
        raise ModelError("The model cannot take metadata: its schema is newer than this program.")
    if METADATA_NAME in _names(old):
        raise ModelError("The model cannot take metadata: it has some already.")

    def from_end(position: int) -> int:
        return len(body) - position

    content = _aligned_bytes(builder, metadata)
    builder.StartObject(3)  # Buffer: data
    builder.PrependUOffsetTRelativeSlot(0, content, 0)
    buffers = [from_end(position) for position in _elements(old, _BUFFERS)] + [builder.EndObject()]
    name = builder.CreateString(METADATA_NAME)
    builder.StartObject(2)  # Metadata: name, buffer
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, len(buffers) - 1, 0)
    entries = [from_end(position) for position in _elements(old, _METADATA)] + [builder.EndObject()]
    new = {_BUFFERS: _vector(builder, buffers), _METADATA: _vector(builder, entries)}

    builder.StartObject(_MODEL_FIELDS)
    slot = old.Offset(4 + 2 * _VERSION)
    builder.PrependUint32Slot(_VERSION, old.Get(number_types.Uint32Flags, root + slot) if slot else 0, 0)
    for field in range(_VERSION + 1, _MODEL_FIELDS):
        slot = old.Offset(4 + 2 * field)
        kept = from_end(old.Indirect(root + slot)) if slot else 0
        builder.PrependUOffsetTRelativeSlot(field, new.get(field, kept), 0)
    builder.Finish(builder.EndObject(), file_identifier=_MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _elements(table: Table, field: int) -> list[int]:
    """Positions of the tables in a vector of tables."""
    slot = table.Offset(4 + 2 * field)
    if not slot:
        return []
    start = table.Vector(slot)
    return [table.Indirect(start + 4 * number) for number in range(table.VectorLen(slot))]


def _names(model: Table) -> list[str]:
    """Names of the metadata entries that a model has."""
    entries = [Table(model.Bytes, position) for position in _elements(model, _METADATA)]
    return [
        entry.String(entry.Pos + entry.Offset(4)).decode("utf-8", "replace") for entry in entries if entry.Offset(4)
    ]


def _aligned_bytes(builder: flatbuffers.Builder, content: bytes) -> int:
    """A vector of bytes that begins on the boundary that Buffer.data demands."""
    builder.StartVector(1, len(content), _ALIGNMENT_BYTES)
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return int(builder.EndVector())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _described(metadata: Metadata) -> bytes:
    """The ModelMetadata FlatBuffer."""
    builder = flatbuffers.Builder(1024)
    content, units = _content(builder, _IMAGE_PROPERTIES), _units(builder, metadata)
    image = _table(builder, 7, {0: _text(builder, "image"), 3: content, 4: units})
    labels = _vector(builder, [_label_file(builder, metadata)])
    scores = _table(builder, 7, {0: _text(builder, "scores"), 3: _content(builder, _FEATURE_PROPERTIES), 6: labels})
    inputs, outputs = _vector(builder, [image]), _vector(builder, [scores])
    graph = _vector(builder, [_table(builder, 6, {2: inputs, 3: outputs})])
    texts = {0: metadata.name, 1: metadata.description, 4: metadata.author, 5: metadata.licence, 7: _PARSER_VERSION}
    model = _table(builder, 8, {3: graph, **{field: _text(builder, text) for field, text in texts.items()}})
    builder.Finish(model, file_identifier=_METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _text(builder: flatbuffers.Builder, text: str) -> int:
    return int(builder.CreateString(text))


def _table(builder: flatbuffers.Builder, fields: int, references: dict[int, int]) -> int:
    builder.StartObject(fields)
    for field, reference in references.items():
        builder.PrependUOffsetTRelativeSlot(field, reference, 0)
    return int(builder.EndObject())


def _content(builder: flatbuffers.Builder, kind: int) -> int:
    """Content of a tensor: a union of ImageProperties (color_space) and FeatureProperties (nothing)."""
    builder.StartObject(2)
    if kind == _IMAGE_PROPERTIES:
        builder.PrependInt8Slot(0, _RGB, 0)
    properties = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, properties, 0)
    return int(builder.EndObject())


def _units(builder: flatbuffers.Builder, metadata: Metadata) -> int:
    """The one processing step of the input: NormalizationOptions."""
    options = _table(builder, 2, {0: _floats(builder, metadata.mean), 1: _floats(builder, metadata.std)})
    builder.StartObject(2)
    builder.PrependUint8Slot(0, _NORMALIZATION_OPTIONS, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    return _vector(builder, [int(builder.EndObject())])


def _floats(builder: flatbuffers.Builder, value: float) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependFloat32(value)
    return int(builder.EndVector())


def _label_file(builder: flatbuffers.Builder, metadata: Metadata) -> int:
    name = _text(builder, metadata.labels_file)
    description = _text(builder, "Names of the classes, one a line, in the order of the outputs.")
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUOffsetTRelativeSlot(1, description, 0)
    builder.PrependInt8Slot(2, _TENSOR_AXIS_LABELS, 0)
    return int(builder.EndObject())
