"""Reading graphs: against LiteRT's own reader, and of files that are damaged."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.inspection import graph, schema_names
from edge.errors import ModelError
from tests.conftest import MODEL, ROOT

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "models").glob("*.tflite"))
SHIPPED = ROOT / "models" / MODEL / "model.tflite"


@pytest.fixture(scope="module")
def schema() -> Any:
    return pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")


@pytest.fixture(scope="module")
def shipped() -> graph.Graph:
    return graph.read(SHIPPED)


def names(enumeration: Any) -> list[str]:
    numbers = {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}
    return [numbers[number] for number in range(len(numbers))]


def test_names_are_those_of_the_schema(schema: Any) -> None:
    for ours, theirs in (
        (schema_names.OPERATORS, names(schema.BuiltinOperator)),
        (schema_names.DTYPES, [name.lower() for name in names(schema.TensorType)]),
        (schema_names.PADDINGS, names(schema.Padding)),
        (schema_names.ACTIVATIONS, names(schema.ActivationFunctionType)),
    ):
        assert list(ours[: len(theirs)]) == theirs  # an older runtime knows fewer


@pytest.mark.parametrize("path", [*FIXTURES, SHIPPED], ids=lambda path: path.stem)
def test_all_is_read_as_litert_reads_it(schema: Any, path: Path) -> None:
    read = graph.read(path)
    content = path.read_bytes()
    assert read.bytes == len(content)
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    expected = model.subgraphs[0]
    assert (read.inputs, read.outputs) == (tuple(expected.inputs), tuple(expected.outputs))
    assert [operator.inputs for operator in read.operators] == [tuple(o.inputs) for o in expected.operators]
    assert [operator.outputs for operator in read.operators] == [tuple(o.outputs) for o in expected.operators]
    for operator, theirs in zip(read.operators, expected.operators):
        code = model.operatorCodes[theirs.opcodeIndex]
        assert operator.name == names(schema.BuiltinOperator)[max(code.builtinCode, code.deprecatedBuiltinCode)]
    assert len(read.tensors) == len(expected.tensors)
    for tensor, theirs in zip(read.tensors, expected.tensors):
        assert tensor.name == theirs.name.decode()
        assert tensor.shape == tuple([] if theirs.shape is None else theirs.shape)
        assert tensor.dtype == names(schema.TensorType)[theirs.type].lower()
        scales = theirs.quantization.scale if theirs.quantization else None
        assert tensor.scale.tolist() == ([] if scales is None else scales.tolist())
        assert tensor.zero_point.tolist() == ([] if scales is None else theirs.quantization.zeroPoint.tolist())
        data = model.buffers[theirs.buffer].data
        assert (tensor.data is None) == (data is None)
        if tensor.data is not None:
            assert tensor.data.tobytes() == data.tobytes()
            assert tensor.data.shape == tensor.shape
            assert tensor.data.dtype == tensor.dtype
            assert not tensor.data.flags.writeable


def test_options_tell_the_convolutions_of_lite0(shipped: graph.Graph) -> None:
    convolutions = [operator for operator in shipped.operators if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert convolutions[0].options == {
        "padding": "SAME",
        "stride_h": 2,
        "stride_w": 2,
        "dilation_h": 1,
        "dilation_w": 1,
        "activation": "RELU6",
    }
    assert sum(operator.options["stride_h"] == 2 for operator in convolutions) == 5
    depthwise = [operator for operator in convolutions if operator.name == "DEPTHWISE_CONV_2D"]
    assert {operator.options["depth_multiplier"] for operator in depthwise} == {1}
    assert {o.options["activation"] for o in shipped.operators if o.name == "ADD"} == {"NONE"}


def test_producers_and_consumers_lead_through_the_graph(shipped: graph.Graph) -> None:
    assert shipped.producer(shipped.inputs[0]) is None
    tensor, steps = shipped.inputs[0], 0
    while tensor != shipped.outputs[0]:
        tensor = shipped.consumers(tensor)[0].outputs[0]
        steps += 1
    assert steps > 50
    last = shipped.producer(tensor)
    assert last is not None
    assert last.name == "QUANTIZE"
    assert shipped.consumers(tensor) == ()


def test_a_constant_behind_the_flatbuffer_is_found(schema: Any, tiny: Any) -> None:
    import flatbuffers

    content = tiny["softmax_float32"].read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    moved = {}
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) >= 36:
            moved[len(moved)] = (buffer, buffer.data.tobytes())
            buffer.data, buffer.offset, buffer.size = None, 2**62, len(moved[len(moved) - 1][1])
    assert moved

    def packed() -> bytes:
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    start = len(packed())
    for buffer, data in moved.values():
        buffer.offset = start
        start += len(data)
    outside = packed() + b"".join(data for _, data in moved.values())

    here, there = graph.parse(content, "inside"), graph.parse(outside, "outside")
    for tensor, other in zip(here.tensors, there.tensors):
        np.testing.assert_array_equal(tensor.data, other.data)
    with pytest.raises(ModelError, match="damaged or truncated"):
        graph.parse(outside[:-1], "outside")


def test_further_graphs_and_custom_operators_are_read(schema: Any, tiny: Any, data: Path) -> None:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(tiny["two_outputs"].read_bytes(), 0)
    model.subgraphs.append(model.subgraphs[0])
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    both = graph.parse(bytes(builder.Output()), "both")
    assert [other.operators for other in both.others] == [both.operators]
    compiled = graph.read(data / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert [(operator.name, operator.custom) for operator in compiled.operators] == [("CUSTOM", "edgetpu-custom-op")]


def parses_or_is_refused(content: bytes) -> None:
    with contextlib.suppress(ModelError):
        read = graph.parse(content, "damaged.tflite")
        for operator in read.operators:
            assert all(-1 <= tensor < len(read.tensors) for tensor in (*operator.inputs, *operator.outputs))
        for tensor in read.tensors:
            if tensor.data is not None and tensor.data.dtype == tensor.dtype:
                assert tensor.data.sum() is not None  # every byte of the view can be read
            assert len(tensor.scale) in (0, 1, tensor.shape[tensor.axis] if tensor.shape else 1)


@settings(max_examples=500)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(FIXTURES)).read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    parses_or_is_refused(bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]))


@settings(max_examples=100)
@given(st.data())
def test_the_shipped_model_damaged_in_its_tables(data: st.DataObject) -> None:
    content = bytearray(SHIPPED.read_bytes())
    tables = len(content) - 120_000  # the tables lie behind the constants
    for position in data.draw(st.lists(st.integers(tables, len(content) - 1), min_size=1, max_size=30)):
        content[position] = data.draw(st.integers(0, 255))
    parses_or_is_refused(bytes(content))


def test_vectors_laid_over_each_other_fill_no_memory(schema: Any, tiny: Any) -> None:
    """20,000 tensors that are all the same one, whose name has 80,000 letters: 1.6 GB from a file of 160 kB."""
    count, letters = 20_000, 80_000
    content = bytearray(tiny["softmax_float32"].read_bytes())
    subgraph = schema.Model.GetRootAs(content, 0).Subgraphs(0)._tab
    field = subgraph.Pos + subgraph.Offset(4)
    vector = len(content)
    content[field : field + 4] = struct.pack("<I", vector - field)
    tensor = vector + 4 + 4 * count + 12
    content += struct.pack("<I", count)
    content += b"".join(struct.pack("<I", tensor - (vector + 4 + 4 * index)) for index in range(count))
    content += struct.pack("<HHHHHH", 12, 8, 0, 0, 0, 4)  # the tensor's vtable: only a name
    content += struct.pack("<iII", 12, 4, letters) + b"a" * letters
    started_s = time.monotonic()
    with pytest.raises(ModelError, match="damaged or truncated"):
        graph.parse(bytes(content), "overlaid.tflite")
    assert time.monotonic() - started_s < 5
    one = schema.Model.GetRootAs(content, 0).Subgraphs(0).Tensors(count - 1)
    assert len(one.Name()) == letters  # which is a FlatBuffer that can be read


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"text\.tflite is not a TensorFlow Lite model: it is a text file"):
        graph.parse(b"hello, this is text", "text.tflite")
    with pytest.raises(ModelError, match="the file is empty"):
        graph.parse(b"", "empty.tflite")
    with pytest.raises(ModelError, match="Cannot read the model"):
        graph.read(tmp_path / "missing.tflite")
