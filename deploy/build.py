"""From a backbone's name and a folder of pictures to a verified bundle."""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import msgspec

from deploy import bundles, datasets, equalize, inspect, quantize, rounding, verify, weights
from deploy.backbones import Backbone, backbone
from edge import __version__
from edge.bundle import Accuracy, Contract, Provenance
from edge.errors import ModelError
from edge.tensors import InputSpec, Interpolation, OutputSpec

if TYPE_CHECKING:
    from deploy.metadata import Metadata

LABELS = Path(__file__).with_name("imagenet_labels.txt")
OPERATORS = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "QUANTIZE", "SOFTMAX")
MOST_BYTES_PER_PARAMETER = 1.18  # a byte each, and what per-channel scales, biases, labels and the graph add
GOLDEN_SEEDS = 2048
_SHARE_DIGITS = 6


class Request(msgspec.Struct, frozen=True):
    """What to build."""

    backbone: str
    pictures: Path
    """Calibrated on a part of these, measured on the rest."""
    out: Path
    calibration_images: int = 200
    weights: Optional[str] = None
    """None: the published ones; "random"; or the path of a .pth file."""
    licence: Optional[str] = None
    """Of the weights, where they are a file."""
    data: Optional[str] = None
    """What the pictures are, in words for the contract."""
    interpolation: Optional[Interpolation] = None
    """None: the backbone's."""
    most_drop_points: float = 0.5
    """Bar: percentage points of top-1 that quantization may cost."""
    least_agreement_percent: Optional[float] = None
    """Bar: pictures with the same top-1 before and after quantization; None: the backbone's."""


class Bar(msgspec.Struct, frozen=True):
    """One thing that a bundle must keep to be written."""

    name: str
    required: str
    measured: str
    held: bool


class Report(msgspec.Struct, frozen=True):
    """What was built and measured."""

    name: str
    out: str
    sha256: str
    bytes: int
    parameters: int
    operators: dict[str, int]
    weights: str
    trained: bool
    calibration_images: int
    comparison: Optional[verify.Comparison]
    """None for random weights, which have no accuracy to lose."""
    drop_points: Optional[float]
    golden: verify.GoldenChoice
    bars: tuple[Bar, ...]
    seconds: float


def build(request: Request, say: Callable[[str], None]) -> Report:
    """Build, verify and write a bundle.

    Args:
        request: what to build.
        say: is told each step as it begins.

    Raises:
        ConfigError: the request cannot be carried out.
        ModelError: the weights or the model are not what they should be, or a bar is missed; nothing is written.
        ImageError: a picture cannot be read.
        RuntimeUnavailableError: TensorFlow, Keras or a TFLite runtime is missing.
    """
    started_s = time.monotonic()
    row = backbone(request.backbone)
    bundles.check_target(request.out)
    split = datasets.calibration_split(datasets.find_pictures(request.pictures), request.calibration_images)
    quantize.require_tensorflow()
    from deploy import metadata  # needs flatbuffers, which comes with TensorFlow

    model, found = weights.pretrained(row, request.weights, request.licence)
    say(f"{row.name} with {found.origin}")
    model = _fixed(model)

    float_input = row.float_input()
    if request.interpolation:
        float_input = msgspec.structs.replace(float_input, interpolation=request.interpolation)
    say("converting to float TensorFlow Lite, the reference")
    reference = quantize.to_float(model)
    say(f"quantizing, calibrated on {len(split.calibration)} pictures")
    equalize.equalize(model, quantize.calibration_tensors(split.calibration, float_input))
    rounding.round_convolutions(model, quantize.calibration_tensors(split.calibration, float_input))
    bare = quantize.to_int8(model, split.calibration, float_input)
    labels = LABELS.read_text("utf-8")
    packed = metadata.pack(bare, _metadata(row, found), labels)

    facts = inspect.inspect(packed)
    bars = _graph_bars(facts, row)
    _require(bars)
    with tempfile.TemporaryDirectory(prefix="edge-deploy-") as scratch:
        float_side = _side(Path(scratch, "float.tflite"), reference, float_input)
        int8_side = _side(Path(scratch, bundles.MODEL_FILE), packed, float_input)
        comparison = None
        if found.sha256 is not None:
            say(f"measuring both on {len(split.evaluation)} other pictures")
            comparison = verify.compare(float_side, int8_side, split.evaluation)
            bars += _accuracy_bars(comparison, request, row)
            _require(bars)
        say("choosing the golden input")
        golden = verify.choose_golden(int8_side, GOLDEN_SEEDS)
    contract = Contract(
        name=f"{row.name}_int8",
        file=bundles.MODEL_FILE,
        sha256=hashlib.sha256(packed).hexdigest(),
        input=int8_side.input,
        output=int8_side.output,
        labels=bundles.LABELS_FILE,
        labels_sha256=hashlib.sha256(labels.encode()).hexdigest(),
        golden=golden.golden,
        provenance=_provenance(request, found, split),
        accuracy=_accuracy(comparison, request),
    )
    bundles.write(request.out, contract, packed, labels)
    return Report(
        name=contract.name,
        out=str(request.out),
        sha256=contract.sha256,
        bytes=len(packed),
        parameters=row.parameters,
        operators=facts.operators,
        weights=found.origin,
        trained=found.sha256 is not None,
        calibration_images=len(split.calibration),
        comparison=comparison,
        drop_points=comparison.drop_points if comparison else None,
        golden=golden,
        bars=bars,
        seconds=round(time.monotonic() - started_s, 1),
    )


def _fixed(model: Any) -> Any:
    """The same for one picture at a time: TensorFlow Lite then knows every shape."""
    import keras

    image = keras.Input(model.input.shape[1:], batch_size=1, name="image")
    fixed = keras.models.clone_model(model, input_tensors=image)
    fixed.set_weights(model.get_weights())
    return fixed


def _side(path: Path, model: bytes, float_input: InputSpec) -> verify.Side:
    """A .tflite on disk with what its own tensors say of its input and output."""
    path.write_bytes(model)
    facts = inspect.inspect(model)
    return verify.Side(
        path,
        msgspec.structs.replace(
            float_input, dtype=facts.input.dtype, scale=facts.input.scale, zero_point=facts.input.zero_point
        ),
        OutputSpec(
            classes=facts.output.shape[-1],
            dtype=facts.output.dtype,  # type: ignore[arg-type]  # _graph_bars holds the quantized one to uint8
            activation="softmax",
            scale=facts.output.scale,
            zero_point=facts.output.zero_point,
        ),
    )


def _graph_bars(facts: inspect.Facts, row: Backbone) -> tuple[Bar, ...]:
    expected = inspect.TensorFacts((1, row.size_px, row.size_px, 3), "uint8", 1 / row.std[0], int(row.mean[0]))
    foreign = [name for name in facts.operators if name not in OPERATORS]
    most_bytes = int(row.parameters * MOST_BYTES_PER_PARAMETER)
    return (
        Bar("operators", "only " + ", ".join(OPERATORS), ", ".join(foreign) or "no other", not foreign),
        Bar(
            "convolutions",
            "weights per channel",
            f"{len(facts.convolutions_per_tensor)} per tensor",
            not facts.convolutions_per_tensor,
        ),
        Bar("input", _edge(expected), _edge(facts.input), facts.input == expected),
        Bar("output", "uint8", _edge(facts.output), facts.output.dtype == "uint8" and facts.output.scale is not None),
        Bar("size", f"at most {most_bytes} bytes", f"{facts.bytes} bytes", facts.bytes <= most_bytes),
    )


def _edge(tensor: inspect.TensorFacts) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}, scale {tensor.scale}, zero point {tensor.zero_point}"


def _accuracy_bars(comparison: verify.Comparison, request: Request, row: Backbone) -> tuple[Bar, ...]:
    agreement = 100 * comparison.agreement
    least = request.least_agreement_percent
    if least is None:
        least = row.least_agreement_percent
    bars = [
        Bar(
            "agreement",
            f"at least {least:g} % of {comparison.images} pictures",
            f"{agreement:.2f} %",
            agreement >= least,
        )
    ]
    drop = comparison.drop_points
    if drop is not None:
        required = f"at most {request.most_drop_points:g} points of top-1 on {comparison.labelled} pictures"
        bars.append(Bar("drop", required, f"{drop:.3f} points", drop <= request.most_drop_points))
    return tuple(bars)


def _require(bars: tuple[Bar, ...]) -> None:
    missed = [f"{bar.name} is {bar.measured}, required is {bar.required}" for bar in bars if not bar.held]
    if missed:
        raise ModelError(
            f"The quantized model misses its bars, so no bundle was written: {'; '.join(missed)}; calibrate on other "
            "pictures, or lower the bars of accuracy with --least-agreement and --most-drop."
        )


def _metadata(row: Backbone, found: weights.Weights) -> Metadata:
    from deploy.metadata import Metadata

    return Metadata(
        name=row.name,
        description=f"Image classifier, 1000 ImageNet classes, full integer ({quantize.RECIPE}).",
        author=f"edge-runner; weights: {found.origin}",
        licence=found.licence,
        mean=row.mean[0],
        std=row.std[0],
        labels_file=bundles.LABELS_FILE,
    )


def _data(request: Request) -> str:
    return request.data or f"{request.pictures.resolve().name} (not comparable with published ImageNet accuracy)"


def _provenance(request: Request, found: weights.Weights, split: datasets.CalibrationSplit) -> Provenance:
    import cv2
    import keras
    import numpy as np
    import tensorflow as tf

    count = len(split.calibration)
    return Provenance(
        weights=found.origin,
        weights_sha256=found.sha256,
        licence=found.licence,
        converter=f"edge-deploy {__version__}: Keras and TFLiteConverter, recipe {quantize.RECIPE}, "
        "channels equalized, convolutions rounded by GPTQ",
        calibration=f"{count} of {count + len(split.evaluation)} pictures, evenly spaced by path: {_data(request)}",
        versions={
            "keras": keras.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "tensorflow": tf.__version__,
        },
    )


def _accuracy(comparison: Optional[verify.Comparison], request: Request) -> Optional[Accuracy]:
    if comparison is None or comparison.top1 is None or comparison.top5 is None or comparison.float_top1 is None:
        return None
    low, high = comparison.top1_interval95 or (0.0, 1.0)
    return Accuracy(
        data=f"the pictures that calibration did not use: {_data(request)}",
        images=comparison.labelled,
        top1=round(comparison.top1, _SHARE_DIGITS),
        top1_interval95=(round(low, _SHARE_DIGITS), round(high, _SHARE_DIGITS)),
        top5=round(comparison.top5, _SHARE_DIGITS),
        float_top1=round(comparison.float_top1, _SHARE_DIGITS),
        agreement=round(comparison.agreement, _SHARE_DIGITS),
    )
