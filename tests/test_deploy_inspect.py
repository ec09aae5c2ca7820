"""What models are made of; the shipped one against its bars, and its accuracy where the pictures are."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy import heavy
from deploy.backbones import backbone
from deploy.conversion import build, golden
from deploy.inspection import edgetpu_operators, graph, inspect
from deploy.pictures import datasets
from deploy.verification import verify
from edge import labels
from edge.classifier import Classifier
from edge.errors import ModelError
from edge.model.bundle import Contract, read_contract
from tests.conftest import MODEL, ROOT

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "models").glob("*.tflite"))
FOLDER = ROOT / "models" / MODEL


@pytest.fixture(scope="module")
def facts() -> inspect.Facts:
    return inspect.inspect((FOLDER / "model.tflite").read_bytes())


@pytest.fixture(scope="module")
def contract() -> Contract:
    return read_contract(FOLDER)


def test_only_the_operators_of_the_bar(facts: inspect.Facts) -> None:
    assert set(facts.operators) == {
        "ADD",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MEAN",
        "QUANTIZE",
        "SOFTMAX",
    }


def test_convolutions_have_a_scale_for_each_channel(facts: inspect.Facts) -> None:
    assert facts.convolutions_per_tensor == ()
    assert facts.operators["CONV_2D"] + facts.operators["DEPTHWISE_CONV_2D"] == 49


def test_a_pixel_is_its_own_input(facts: inspect.Facts) -> None:
    assert facts.input == inspect.TensorFacts((1, 224, 224, 3), "uint8", 1 / 128, 127)
    assert facts.output == inspect.TensorFacts((1, 1000), "uint8", 1 / 256, 0)


def test_size(facts: inspect.Facts) -> None:
    assert facts.bytes <= 5_500_000
    assert facts.bytes <= backbone("efficientnet_lite0").parameters * build.MOST_BYTES_PER_PARAMETER


def test_float_models_are_told_apart(tiny) -> None:
    facts = inspect.inspect(tiny["softmax_float32"].read_bytes())
    assert facts.input.dtype == "float32"
    assert facts.input.scale is None


def test_what_is_quantized_is_counted_by_kind(facts: inspect.Facts) -> None:
    rows = {(row.kind, row.dtype, row.scales): row.tensors for row in facts.quantization}
    assert rows == {
        ("input", "uint8", "per tensor"): 1,
        ("output", "uint8", "per tensor"): 1,
        ("activations", "int8", "per tensor"): facts.total.operators - 1,
        ("convolution weights", "int8", "per channel"): 49,
        ("dense weights", "int8", "per tensor"): 1,
        ("biases", "int32", "per channel"): 49,
        ("biases", "int32", "per tensor"): 1,
    }


def test_parameters_are_the_published_ones_with_normalization_folded_in(facts: inspect.Facts) -> None:
    """Of each normalized channel, one bias stays of a scale and an offset."""
    channels = sum(tensor.elements for tensor in graph.read(FOLDER / "model.tflite").tensors if tensor.dtype == "int32")
    normalized = channels - 2 - 1000  # the axes of the mean, and the dense layer's biases
    assert facts.parameters == backbone("efficientnet_lite0").parameters - normalized


# Expansion, kernel, channels, repeats, stride of each stage.
MOBILENET_V2 = (  # Sandler et al., 2018, table 2
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 3, 32, 3, 2),
    (6, 3, 64, 4, 2),
    (6, 3, 96, 3, 1),
    (6, 3, 160, 3, 2),
    (6, 3, 320, 1, 1),
)
EFFICIENTNET_LITE0 = (  # Tan and Le, 2019, table 1
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def macs_of_stages(stages: tuple[tuple[int, int, int, int, int], ...], classes: int) -> int:
    """Of a network of inverted residuals on 224 x 224 pixels, from its table instead of its graph."""
    size_px, channels = 112, 32
    macs = size_px**2 * 3 * 9 * channels
    for expansion, kernel, out, repeats, stride in stages:
        for repeat in range(repeats):
            wide = channels * expansion
            macs += size_px**2 * channels * wide if expansion > 1 else 0
            size_px //= stride if repeat == 0 else 1
            macs += size_px**2 * (kernel**2 * wide + wide * out)
            channels = out
    return macs + size_px**2 * channels * 1280 + 1280 * classes


def test_macs_are_those_of_the_networks_tables(data: Path, facts: inspect.Facts) -> None:
    assert facts.macs == macs_of_stages(EFFICIENTNET_LITE0, 1000)
    assert facts.macs == pytest.approx(407e6, rel=0.06)  # google's tpu repository, which counts more than products
    mobilenet = inspect.inspect(data / "coral" / "mobilenet_v2_1.0_224_quant.tflite")
    assert mobilenet.macs == macs_of_stages(MOBILENET_V2, 1001)
    assert mobilenet.macs == pytest.approx(300e6, rel=0.01)
    assert mobilenet.inputs[0].name == "input"
    assert {row.scales for row in mobilenet.quantization} == {"per tensor"}


def test_models_with_several_outputs_are_inspected_but_have_no_single_one(tiny) -> None:
    facts = inspect.inspect(tiny["two_outputs"])
    assert [port.name for port in facts.outputs] == ["Identity", "Identity_1"]
    assert facts.operators == {"FULLY_CONNECTED": 1, "MEAN": 1, "REDUCE_MAX": 1, "SOFTMAX": 1}
    with pytest.raises(ModelError, match="1 inputs and 2 outputs"):
        _ = facts.output


def test_graphs_that_the_main_one_calls_are_counted_too(tiny) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(tiny["two_outputs"].read_bytes(), 0)
    model.subgraphs.append(model.subgraphs[0])
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    one, two = inspect.inspect(tiny["two_outputs"]), inspect.inspect(bytes(builder.Output()))
    assert two.operators == {name: 2 * count for name, count in one.operators.items()}
    assert (two.macs, two.parameters, two.edgetpu.graphs) == (2 * one.macs, 2 * one.parameters, 2)
    assert one.macs == 9  # three features to three classes


def test_an_edge_tpu_takes_what_corals_list_names(data: Path, facts: inspect.Facts, tiny) -> None:
    assert facts.edgetpu == inspect.EdgeTpu(compiled=False, problems=(), graphs=1)
    for name in ("mobilenet_v1_0.25_128_quant", "mobilenet_v2_1.0_224_quant"):
        assert not inspect.inspect(data / "coral" / f"{name}.tflite").edgetpu.problems
    compiled = inspect.inspect(data / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    assert compiled.edgetpu.compiled
    assert compiled.operators == {"CUSTOM edgetpu-custom-op": 1}
    floating = inspect.inspect(tiny["softmax_float32"])
    assert [problem.index for problem in floating.edgetpu.problems] == [0, 1, 2]
    assert "float32" in floating.edgetpu.problems[0].reason


@pytest.mark.parametrize(
    ("options", "shape", "name", "reason"),
    [
        ({}, (1, 8, 8, 4), "ADD", None),
        ({}, (1, 8, 8, 4), "GELU", "is not among the operators that Coral lists"),
        ({"activation": "RELU6"}, (1, 8, 8, 4), "MAX_POOL_2D", "has RELU6 fused into it"),
        ({"dilation_h": 2, "dilation_w": 1}, (1, 8, 8, 4), "CONV_2D", "another dilation"),
        ({}, (1, 16_001), "SOFTMAX", "one dimension of at most 16000"),
        ({}, (1, 4, 10), "SOFTMAX", "one dimension of at most 16000"),
        ({}, (2, 8, 8, 4), "ADD", "only the three innermost dimensions"),
        ({}, (1, 5, 1, 10), "SQUEEZE", "out of the middle"),
        ({}, (1, 1, 5, 10), "SQUEEZE", None),
        ({"axis": 0}, (1, 8), "PACK", "the batch dimension"),
        ({"axis": 1}, (1, 8), "PACK", None),
        ({"weights_format": 1}, (1, 8), "FULLY_CONNECTED", "another than the default format"),
    ],
)
def test_each_limit_is_told(options: dict, shape: tuple, name: str, reason: str | None) -> None:
    tensor = graph.Tensor("t", shape, shape, "int8", np.ones(1, np.float32), np.zeros(1, np.int64), 0, None)
    operator = graph.Operator(0, name, None, (0,), (1,), options)
    told = edgetpu_operators.problems(graph.Graph(0, "", (tensor, tensor), (operator,), (0,), (1,)))
    if reason is None:
        assert told == ()
    else:
        assert reason in told[0].reason
        assert (told[0].index, told[0].operator, told[0].tensor) == (0, name, "t")


def test_axes_strides_and_paddings_are_looked_at() -> None:
    values = graph.Tensor("v", (1, 8, 8, 6), (1, 8, 8, 6), "int8", np.ones(1, np.float32), np.zeros(1), 0, None)

    def reason(name: str, *constants: list) -> str:
        given = [np.array(constant, np.int32) for constant in constants]
        tensors = [graph.Tensor("c", c.shape, c.shape, "int32", np.ones(0), np.ones(0), 0, c) for c in given]
        inputs = (0, *range(2, 2 + len(given)))
        read = graph.Graph(
            0, "", (values, values, *tensors), (graph.Operator(0, name, None, inputs, (1,), {}),), (0,), (1,)
        )
        return "".join(problem.reason for problem in edgetpu_operators.problems(read))

    assert reason("MEAN", [1, 2]) == ""
    assert reason("MEAN", [0]) == "reduces the batch dimension"
    assert reason("MEAN", [-1]) == "takes the mean over 6 channels, which is not a multiple of 4"
    assert reason("SUM", [-4]) == "reduces the batch dimension"
    assert reason("PAD", [[0, 0], [1, 1], [1, 1], [0, 0]]) == ""
    assert reason("PAD", [[1, 0], [1, 1], [1, 1], [0, 0]]) == "pads the batch dimension"
    assert reason("STRIDED_SLICE", [0, 0], [1, 1], [1, 1]) == ""
    assert reason("STRIDED_SLICE", [0, 0], [1, 1], [1, 2]) == "has a stride other than 1"


def converted(name: str, size_px: int | None) -> bytes:
    """One of Keras' models as a float .tflite, with random weights; for pictures of any size with None."""
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    tf = heavy.require_tensorflow()
    import keras

    model = getattr(keras.applications, name)(weights=None, input_shape=(size_px, size_px, 3))
    signature = [tf.TensorSpec((None if size_px is None else 1, size_px, size_px, 3), tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    return bytes(converter.convert())


def test_efficientnet_b0_is_told_to_have_what_lite_leaves_out(facts: inspect.Facts, tmp_path: Path) -> None:
    model = tmp_path / "b0.tflite"
    model.write_bytes(converted("EfficientNetB0", 224))
    seen = inspect.inspect(model)
    kinds = [pattern.kind for pattern in seen.patterns]
    assert (kinds.count("squeeze_and_excitation"), kinds.count("swish")) == (16, 33)
    block = next(pattern for pattern in seen.patterns if pattern.kind == "squeeze_and_excitation")
    steps = ["MEAN", "CONV_2D", "LOGISTIC", "MUL", "CONV_2D", "LOGISTIC", "MUL"]
    assert [place.operator for place in block.operators] == steps
    assert "block1a_se_excite" in block.operators[-1].tensor
    indices = [place.index for pattern in seen.patterns for place in pattern.operators]
    assert len(indices) == len(set(indices)) == 16 * 7 + 33 * 2
    assert seen.operators["LOGISTIC"] == 33 + 2 * 16
    assert seen.macs == pytest.approx(390e6, rel=0.02)  # Tan and Le, 2019, table 2
    costs = seen.pattern_costs
    assert costs["swish"].macs == 0
    assert 0 < costs["squeeze_and_excitation"].macs < 0.01 * seen.macs
    assert costs["swish"].values > 0.5 * seen.total.values
    assert facts.patterns == ()
    assert facts.pattern_costs == {}
    summary = command(model).stdout
    for pattern in seen.patterns:
        assert ", ".join(f"{place.index} {place.operator}" for place in pattern.operators) in summary


@pytest.mark.parametrize("size_px", [224, None])
def test_mobilenet_v3_has_the_hard_ones(size_px: int | None) -> None:
    seen = inspect.inspect(converted("MobileNetV3Small", size_px))
    kinds = [pattern.kind for pattern in seen.patterns]
    assert (kinds.count("squeeze_and_excitation"), kinds.count("swish")) == (9, 19)
    assert {place.operator for p in seen.patterns if p.kind == "swish" for place in p.operators} == {"HARD_SWISH"}
    if size_px:
        assert seen.macs == pytest.approx(56e6, rel=0.03)  # Howard et al., 2019, table 3
    else:
        assert seen.inputs[0].signature == (-1, -1, -1, 3)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_file_is_inspected_or_refused_but_never_crashes(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(FIXTURES)).read_bytes())
    for position in data.draw(st.lists(st.integers(8, len(content) - 1), max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelError):
        assert msgspec.json.encode(inspect.inspect(bytes(content)))


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`edge-deploy inspect` as a program, where TensorFlow and the runtimes cannot be imported."""
    code = """
import sys
for name in ("tensorflow", "keras", "ai_edge_litert", "tflite_runtime", "flatbuffers"):
    sys.modules[name] = None
from deploy.commands.inspect import inspect
inspect(prog_name="edge-deploy inspect")
"""
    run = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("given", [FOLDER, FOLDER / "model.tflite", MODEL])
def test_the_command_takes_a_file_a_folder_or_a_name(given: object, facts: inspect.Facts) -> None:
    done = command(given, "--json")
    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout, type=inspect.Facts) == facts


def test_the_summary_can_be_read(facts: inspect.Facts, tiny, data: Path) -> None:
    lines = command(FOLDER).stdout.splitlines()
    assert "5.26 MB, parameters 4.63 M, MACs 385" in lines[0]
    assert "  convolution weights  49 int8, scales per channel" in lines
    assert "nothing stands against it" in "\n".join(lines)
    assert "its compiler decides and was not run" in "\n".join(lines)
    assert lines[-1] == "  no squeeze-and-excitation, no swish"
    floating = command(tiny["two_outputs"]).stdout
    assert "would not take 4 of 4 operators" in floating
    assert "MEAN works on float32: all values must be 8-bit integers: at 1" in floating
    compiled = command(data / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite").stdout
    assert "compiled for it" in compiled


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    truncated = tmp_path / "half.tflite"
    truncated.write_bytes((FOLDER / "model.tflite").read_bytes()[:2_000_000])
    for wrong, sentence in (
        (truncated, "half.tflite is a damaged or truncated TensorFlow Lite model"),
        (tmp_path / "missing.tflite", "No model"),
        (tmp_path, "is not a model bundle"),
        (ROOT / "README.md", "README.md is not a TensorFlow Lite model: it is a text file"),
    ):
        done = command(wrong)
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_contract_is_of_this_file(contract: Contract, facts: inspect.Facts) -> None:
    assert hashlib.sha256((FOLDER / "model.tflite").read_bytes()).hexdigest() == contract.sha256
    assert (contract.input.scale, contract.input.zero_point) == (facts.input.scale, facts.input.zero_point)
    assert contract.provenance.licence == "Apache-2.0"
    assert contract.provenance.weights_sha256


def test_the_measured_accuracy_keeps_the_bars(contract: Contract) -> None:
    accuracy = contract.accuracy
    assert accuracy is not None
    assert accuracy.images == 800
    assert accuracy.float_top1 - accuracy.top1 <= 0.005
    assert accuracy.agreement >= 0.98
    assert "not ImageNet accuracy" in accuracy.data


def test_names_can_be_told_apart() -> None:
    names = labels.read(build.LABELS)
    assert len(names) == 1000
    assert len({name.lower() for name in names}) == 1000
    assert names == labels.read(FOLDER / "labels.txt")
    assert [names[index] for index in (0, 134, 285, 517, 892, 999)] == [
        "tench",
        "crane (bird)",
        "Egyptian cat",
        "crane (machine)",
        "wall clock",
        "toilet tissue",
    ]


def test_the_golden_answer_is_far_from_a_tie(contract: Contract) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    side = verify.Side(FOLDER / "model.tflite", contract.input, contract.output)
    choice = golden.choose_golden(side, 1)
    assert choice.golden.seed == 0
    with Classifier.open(str(FOLDER), threads=1) as opened:  # opening checks the golden input
        steps = opened.runtime.output().reshape(-1).astype(int)
    highest = sorted(steps, reverse=True)[:6]
    assert min(high - low for high, low in zip(highest, highest[1:])) >= 4


def test_accuracy_on_the_sample(data: Path, contract: Contract) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    folder = data / "imagenet_sample"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    paths = datasets.calibration_split(datasets.find_pictures(folder), 200).evaluation
    side = verify.Side(FOLDER / "model.tflite", contract.input, contract.output)
    seen = verify.compare(side, side, paths[::2])
    assert seen.agreement == 1.0
    assert seen.labelled == 400
    assert seen.top1_interval95[0] <= contract.accuracy.top1 <= seen.top1_interval95[1]
    assert seen.top5 > 0.95
