from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from edge.errors import ModelError
from edge.model import tflite_file
from edge.runtimes import open_runtime
from tests.conftest import MODEL, ROOT

FIXTURES = Path(__file__).parent / "fixtures" / "models"


@pytest.mark.parametrize(
    ("model", "activation"),
    [
        ("softmax_float32", "softmax"),
        ("softmax_uint8", "softmax"),
        ("softmax_int8", "softmax"),
        ("logits_float32", "logits"),
        ("logits_int8", "logits"),
        ("sigmoid_uint8", "sigmoid"),
    ],
)
def test_the_activation_is_told_by_the_last_operator(tiny: Any, model: str, activation: str) -> None:
    facts = tflite_file.read(tiny[model])
    assert facts.activation == activation
    assert not facts.edgetpu
    assert tflite_file.packed_labels(tiny[model]) is None


def test_an_edgetpu_file_is_recognised(data: Path) -> None:
    facts = tflite_file.read(data / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert facts.edgetpu
    assert facts.custom_operators == ("edgetpu-custom-op",)
    assert not tflite_file.read(data / "coral" / "mobilenet_v1_0.25_128_quant.tflite").edgetpu


@pytest.mark.parametrize("path", [*sorted(FIXTURES.glob("*.tflite")), ROOT / "models" / MODEL / "model.tflite"])
def test_inputs_and_outputs_are_what_an_interpreter_says_of_them(path: Path, runtime_name: str) -> None:
    facts, runtime = tflite_file.read(path), open_runtime(runtime_name, path, 1)
    for told, details in ((facts.inputs, runtime.input_details), (facts.outputs, runtime.output_details)):
        assert told == details


def test_a_compiled_file_takes_and_gives_what_its_twin_does(data: Path) -> None:
    """Google's own pair; the compiled file's tensors have names of their own."""
    folder = data / "coral"
    compiled = tflite_file.read(folder / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    twin = tflite_file.read(folder / "mobilenet_v1_0.25_128_quant.tflite")
    for here, there in ((compiled.inputs, twin.inputs), (compiled.outputs, twin.outputs)):
        assert [astuple(tensor)[1:] for tensor in here] == [astuple(tensor)[1:] for tensor in there]
    assert compiled.inputs[0].shape == (1, 128, 128, 3)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray((FIXTURES / "softmax_uint8.tflite").read_bytes())
    for position in data.draw(st.lists(st.integers(8, len(content) - 1), max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.tflite"
    path.write_bytes(content[: data.draw(st.integers(8, len(content)))])
    with contextlib.suppress(ModelError):
        assert isinstance(tflite_file.read(path), tflite_file.TfliteFile)
