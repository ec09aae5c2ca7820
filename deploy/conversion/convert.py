"""From a Keras classifier to a bundle, by a recipe."""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, cast

import msgspec

from deploy import files
from deploy.conversion import bundles, calibrations, equalize, golden, keras_files, quantize, rounding
from deploy.conversion.calibrations import Calibration
from deploy.conversion.inference import for_inference
from deploy.conversion.keras_files import Card
from deploy.conversion.quantize import Recipe
from deploy.pictures import datasets
from deploy.verification.verify import Side
from edge import __version__
from edge import labels as label_files
from edge.errors import LabelError, ModelError
from edge.model import tflite_file
from edge.model.bundle import Contract, Provenance
from edge.runtimes import open_runtime
from edge.tensors import Activation, DTypeName, InputSpec, Interpolation, OutputSpec

GOLDEN_SEEDS = 256
_MOST_SCALE_ERROR = 1e-5  # relative; the scale is a float32


class Request(msgspec.Struct, frozen=True):
    """What to convert."""

    model: Path
    """A .keras file."""
    out: Path
    recipe: str = "static_wi8_ai8"
    calibrate: Optional[Path] = None
    """Folder of pictures, for the recipes that need them."""
    calibration_images: int = 200
    backbone: Optional[str] = None
    """Of a file without a card."""
    labels: Optional[Path] = None
    """A label file that goes before the card's labels."""
    name: Optional[str] = None
    """Of the bundle; None: that of its folder."""
    interpolation: Optional[Interpolation] = None
    """None: the card's."""


class Naming(NamedTuple):
    """What a .tflite file says of itself besides its card."""

    name: str
    classes: str
    """What its classes are, in words."""


class Converted(msgspec.Struct, frozen=True):
    """A .tflite file on disk, with what it says of itself and how it is fed."""

    side: Side
    content: bytes
    labels: str
    """Text of the label file, which is also inside the .tflite."""


class Report(msgspec.Struct, frozen=True):
    """What was written."""

    name: str
    out: str
    recipe: str
    recipe_words: str
    backbone: str
    files: tuple[str, ...]
    sha256: str
    """Of the .tflite file."""
    bytes: int
    classes: int
    input: InputSpec
    weights: str
    calibration: Optional[str]
    golden: golden.GoldenChoice
    warnings: tuple[str, ...]
    seconds: float


def convert(request: Request, say: Callable[[str], None], warn: Callable[[str], None]) -> Report:
    """Convert a .keras file and write the bundle.

    Args:
        request: what to convert.
        say: is told each step as it begins.
        warn: is told what the result may suffer from, one sentence each.

    Raises:
        ConfigError: the request cannot be carried out.
        ImageError: a picture cannot be read.
        LabelError: the labels do not fit the model.
        ModelError: the file is not a Keras classifier, or TensorFlow cannot convert it; nothing is written.
        RuntimeUnavailableError: TensorFlow, Keras or a TFLite runtime is missing.
    """
    started_s = time.monotonic()
    row = quantize.recipe(request.recipe)
    bundles.check_target(request.out)
    keras_files.read_card(request.model)  # before the pictures are looked for and TensorFlow comes
    warnings: list[str] = []
    calibration = None
    if row.calibrated:
        calibration = calibrations.choose(request.model, request.calibrate, request.calibration_images, warnings.append)
    for warning in warnings:
        warn(warning)
    say(f"reading {request.model}")
    model, card = keras_files.load(request.model, request.backbone, request.labels)
    if request.interpolation:
        wanted = msgspec.structs.replace(card.input, interpolation=request.interpolation)
        card = msgspec.structs.replace(card, input=wanted)
    name = request.name or request.out.resolve().name
    with tempfile.TemporaryDirectory(prefix="edge-deploy-") as scratch:
        path = Path(scratch, bundles.MODEL_FILE)
        converted = to_file(path, model, card, row, calibration, Naming(name, f"{len(card.labels)} classes"), say)
        say("choosing the golden input")
        chosen = golden.choose_golden(converted.side, GOLDEN_SEEDS)
    contract = contract_of(converted, name, chosen, provenance(card, row, calibration))
    bundles.write(request.out, contract, converted.content, converted.labels)
    return Report(
        name=name,
        out=str(request.out),
        recipe=row.name,
        recipe_words=row.words,
        backbone=card.backbone,
        files=tuple(sorted(path.name for path in request.out.iterdir())),
        sha256=contract.sha256,
        bytes=len(converted.content),
        classes=len(card.labels),
        input=contract.input,
        weights=contract.provenance.weights,
        calibration=calibration.origin if calibration else None,
        golden=chosen,
        warnings=tuple(warnings),
        seconds=round(time.monotonic() - started_s, 1),
    )


def to_file(
    path: Path,
    model: Any,
    card: Card,
    row: Recipe,
    calibration: Optional[Calibration],
    naming: Naming,
    say: Callable[[str], None],
) -> Converted:
    """Convert a Keras classifier to a .tflite file with its metadata.

    Pixels enter an integer model as they are: the normalization becomes the input's scale and zero point. That is an
    integer, so of a mean of 127.5 half a pixel level is lost. A normalization that differs by channel goes into the
    graph, by every recipe: one scale cannot say it, and MediaPipe does not know it.

    Args:
        path: of the file to write.
        model: stays as it is.
        card: what it is.
        row: the recipe.
        calibration: needed where the recipe is calibrated.
        naming: for the file's metadata.
        say: is told each step as it begins.

    Raises:
        ConfigError: the file cannot be written.
        ImageError: a picture cannot be read.
        LabelError: a label cannot stand in a label file.
        ModelError: TensorFlow refuses the model, or what comes out is no classifier.
    """
    from deploy.conversion import metadata  # needs flatbuffers, which comes with TensorFlow

    labels = labels_text(card.labels)
    spec = card.input
    by_channel = max(len(spec.mean), len(spec.std)) > 1
    flat = for_inference(model, spec if by_channel else None)
    if by_channel:
        spec = msgspec.structs.replace(spec, mean=(0.0,), std=(1.0,))
    pictures = calibration.pictures if calibration else ()
    if row.calibrated and calibration:
        say(f"quantizing, calibrated on {len(pictures)} pictures")
        equalize.equalize(flat, quantize.calibration_tensors(pictures, spec))
        fewer = datasets.calibration_pictures(pictures, calibration.rounding_images)
        rounding.round_convolutions(flat, quantize.calibration_tensors(fewer, spec))
    say(f"converting by {row.name}")
    described = metadata.Metadata(
        name=naming.name,
        description=f"Image classifier, {naming.classes}, {row.words} ({row.name}).",
        author=f"edge-runner; weights: {card.weights}",
        licence=card.licence,
        mean=spec.mean[0],
        std=spec.std[0],
        labels_file=bundles.LABELS_FILE,
    )
    content = metadata.pack(quantize.to_tflite(flat, row, pictures, spec), described, labels)
    files.write(path, content)
    return Converted(_side(path, spec, card.background_offset), content, labels)


def labels_text(labels: tuple[str, ...]) -> str:
    """The content of a label file.

    Raises:
        LabelError: the device would read something else than these labels.
    """
    text = "".join(f"{label}\n" for label in labels)
    read = label_files.parse(text, bundles.LABELS_FILE)
    if len(read) != len(labels) or not all(label.endswith(name) for label, name in zip(labels, read)):
        raise LabelError(
            "The labels cannot stand in a label file, one a line: expected names without line breaks and without "
            "spaces around them, and numbers before them only where these are the classes' indices."
        )
    return text


def _side(path: Path, spec: InputSpec, background_offset: int) -> Side:
    """A .tflite on disk with what its own tensors say of its input and output."""
    runtime = open_runtime("auto", path)
    given, made = runtime.input_details[0], runtime.output_details[0]
    runtime.close()
    whole = given.dtype != "float32"
    if whole and not (given.zero_point is not None and abs(given.zero_point - spec.mean[0]) <= 0.5):
        raise ModelError(
            f"The input's zero point came out as {given.zero_point}, {spec.mean[0]:g} was needed: a defect."
        )
    if whole and not (given.scale and math.isclose(given.scale * spec.std[0], 1, rel_tol=_MOST_SCALE_ERROR)):
        raise ModelError(f"The input's scale is {given.scale}, 1 / {spec.std[0]:g} was needed: a defect.")
    return Side(
        path,
        msgspec.structs.replace(
            spec,
            dtype=cast(DTypeName, given.dtype),
            mean=(float(given.zero_point or 0),) if whole else spec.mean,
            scale=given.scale if whole else None,
            zero_point=given.zero_point if whole else None,
        ),
        OutputSpec(
            classes=max(made.shape),
            dtype=cast(DTypeName, made.dtype),
            activation=cast(Optional[Activation], tflite_file.read(path).activation) or "logits",
            scale=made.scale if whole else None,
            zero_point=made.zero_point if whole else None,
            background_offset=background_offset,
        ),
    )


def contract_of(converted: Converted, name: str, chosen: golden.GoldenChoice, origin: Provenance) -> Contract:
    """What the bundle promises; its accuracy is not known."""
    return Contract(
        name=name,
        file=bundles.MODEL_FILE,
        sha256=hashlib.sha256(converted.content).hexdigest(),
        input=converted.side.input,
        output=converted.side.output,
        labels=bundles.LABELS_FILE,
        labels_sha256=hashlib.sha256(converted.labels.encode()).hexdigest(),
        golden=chosen.golden,
        provenance=origin,
    )


def provenance(card: Card, row: Recipe, calibration: Optional[Calibration]) -> Provenance:
    """Where a converted model came from."""
    import cv2
    import keras
    import numpy as np
    import tensorflow as tf

    steps = ", channels equalized, convolutions rounded by GPTQ" if row.calibrated else ""
    return Provenance(
        weights=card.weights + (f", trained on {card.data}" if card.data else ""),
        weights_sha256=card.weights_sha256,
        licence=card.licence,
        converter=f"edge-deploy {__version__}: Keras and TFLiteConverter, recipe {row.name}{steps}",
        calibration=calibration.origin if calibration else None,
        versions={
            "keras": keras.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "tensorflow": tf.__version__,
        },
    )
