"""From a backbone's name and a folder of pictures to a verified bundle."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Callable, Optional

import msgspec

from deploy.backbones import Backbone, backbone, weights
from deploy.conversion import bundles, convert, golden, quantize
from deploy.conversion.calibrations import Calibration
from deploy.conversion.keras_files import Card
from deploy.inspection import inspect
from deploy.pictures import datasets
from deploy.verification import verify
from edge import labels as label_files
from edge.errors import ModelError
from edge.model.bundle import Accuracy
from edge.tensors import Interpolation

RECIPE = "static_wi8_ai8"
LABELS = Path(__file__).with_name("imagenet_labels.txt")
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
    golden: golden.GoldenChoice
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
    row, recipe = backbone(request.backbone), quantize.recipe(RECIPE)
    bundles.check_target(request.out)
    split = datasets.calibration_split(datasets.find_pictures(request.pictures), request.calibration_images)
    model, found = weights.pretrained(row, request.weights, request.licence)
    say(f"{row.name} with {found.origin}")
    card = _card(request, row, found, int(model.output.shape[-1]))
    count = len(split.calibration)
    whole = f"{count + len(split.evaluation)} pictures"
    calibration = Calibration(split.calibration, f"{count} of {whole}, evenly spaced by path: {_data(request)}", count)
    with tempfile.TemporaryDirectory(prefix="edge-deploy-") as scratch:
        naming = convert.Naming(row.name, "1000 ImageNet classes")
        converted = convert.to_file(Path(scratch, "int8.tflite"), model, card, recipe, calibration, naming, say)
        facts = inspect.inspect(converted.content)
        bars = _graph_bars(facts, row)
        _require(bars)
        comparison = None
        if found.sha256 is not None:
            say("converting to float TensorFlow Lite, the reference")
            as_float = quantize.recipe("float32")
            reference = convert.to_file(Path(scratch, "float.tflite"), model, card, as_float, None, naming, say)
            say(f"measuring both on {len(split.evaluation)} other pictures")
            comparison = verify.compare(reference.side, converted.side, split.evaluation)
            bars += _accuracy_bars(comparison, request, row)
            _require(bars)
        say("choosing the golden input")
        chosen = golden.choose_golden(converted.side, GOLDEN_SEEDS)
    contract = convert.contract_of(converted, f"{row.name}_int8", chosen, convert.provenance(card, recipe, calibration))
    contract = msgspec.structs.replace(contract, accuracy=_accuracy(comparison, request))
    bundles.write(request.out, contract, converted.content, converted.labels)
    return Report(
        name=contract.name,
        out=str(request.out),
        sha256=contract.sha256,
        bytes=len(converted.content),
        parameters=row.parameters,
        operators=facts.operators,
        weights=found.origin,
        trained=found.sha256 is not None,
        calibration_images=count,
        comparison=comparison,
        drop_points=comparison.drop_points if comparison else None,
        golden=chosen,
        bars=bars,
        seconds=round(time.monotonic() - started_s, 1),
    )


def _card(request: Request, row: Backbone, found: weights.Weights, classes: int) -> Card:
    names = label_files.read(LABELS)
    if classes - found.background_offset != len(names):
        raise ModelError(
            f"The weights are of {classes} classes: expected the {len(names)} of ImageNet; convert what was trained on "
            "others with `edge-deploy convert`."
        )
    spec = row.float_input()
    return Card(
        backbone=row.name,
        input=msgspec.structs.replace(spec, interpolation=request.interpolation or spec.interpolation),
        labels=(label_files.BACKGROUND,) * found.background_offset + names,
        weights=found.origin,
        licence=found.licence,
        weights_sha256=found.sha256,
        background_offset=found.background_offset,
    )


def _graph_bars(facts: inspect.Facts, row: Backbone) -> tuple[Bar, ...]:
    expected, given = (1, row.size_px, row.size_px, 3), facts.input
    allowed = row.only_operators
    foreign = [name for name in facts.operators if name not in allowed]
    most_bytes = int(row.parameters * MOST_BYTES_PER_PARAMETER)
    operators = Bar("operators", "only " + ", ".join(allowed), ", ".join(foreign) or "no other", not foreign)
    return (
        *((operators,) if allowed else ()),
        Bar(
            "convolutions",
            "weights per channel",
            f"{len(facts.convolutions_per_tensor)} per tensor",
            not facts.convolutions_per_tensor,
        ),
        Bar("input", f"uint8 {list(expected)}", _edge(given), given.dtype == "uint8" and given.shape == expected),
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
    bars = []
    if least is not None:
        required = f"at least {least:g} % of {comparison.images} pictures"
        bars.append(Bar("agreement", required, f"{agreement:.2f} %", agreement >= least))
    drop = comparison.drop_points
    if drop is not None:
        required = f"at most {request.most_drop_points:g} points of top-1 on {comparison.labelled} pictures"
        bars.append(Bar("drop", required, f"{drop:.3f} points", drop <= request.most_drop_points))
    return tuple(bars)


def _require(bars: tuple[Bar, ...]) -> None:
    missed = [f"{bar.name} is {bar.measured}, required is {bar.required}" for bar in bars if not bar.held]
    if missed:
        ways = "calibrate on other pictures"
        if any(bar.name in ("agreement", "drop") and not bar.held for bar in bars):
            ways += ", or lower the bars of accuracy with --least-agreement and --most-drop"
        raise ModelError(f"The quantized model misses its bars, so no bundle was written: {'; '.join(missed)}; {ways}.")


def _data(request: Request) -> str:
    return request.data or f"{request.pictures.resolve().name} (not comparable with published ImageNet accuracy)"


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
