"""From a Keras classifier to a bundle, by a recipe."""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import msgspec

from deploy import bundles, datasets, equalize, files, golden, keras_files, quantize, rounding
from deploy.inference import for_inference
from deploy.keras_files import Card
from deploy.quantize import Recipe
from deploy.verify import Side
from edge import __version__, loading, tflite_file
from edge import labels as label_files
from edge.bundle import Contract, Provenance
from edge.errors import ConfigError, LabelError, ModelError
from edge.tensors import InputSpec, Interpolation

GOLDEN_SEEDS = 256
SPLIT_FILE = "split.csv"
_FEW_PICTURES = 100
_MOST_STD_ERROR = 1e-5  # relative; the scale is a float32


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


class Calibration(msgspec.Struct, frozen=True):
    """Pictures on which the ranges of activations are measured."""

    pictures: tuple[Path, ...]
    origin: str
    """Which these are, in words."""
    rounding_images: int = 32
    """How many of them the convolutions are rounded on: the longest step, and more gain nothing that can be measured
    in accuracy (README.md)."""


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
    calibration = _calibration(request, row, warnings)
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


def _calibration(request: Request, row: Recipe, warnings: list[str]) -> Optional[Calibration]:
    if not row.calibrated:
        return None
    if request.calibrate is None:
        raise ConfigError(f"The recipe {row.name} needs pictures to calibrate on: give --calibrate FOLDER.")
    found = _training_part(request.model.parent / SPLIT_FILE, request.calibrate, warnings)
    pictures, whole = found if found else (datasets.find_pictures(request.calibrate), "pictures")
    chosen = datasets.calibration_pictures(pictures, request.calibration_images)
    if len(chosen) == 1:
        warnings.append(
            "One picture calibrates: whatever is brighter or busier than it will be clipped, and the accuracy can fall "
            f"by many points; give {_FEW_PICTURES} or more, and measure with `edge-deploy verify`."
        )
    elif len(chosen) < _FEW_PICTURES:
        warnings.append(
            f"{len(chosen)} pictures calibrate: the ranges may miss what other pictures have; {_FEW_PICTURES} or more, "
            "of all classes, are better."
        )
    folder = request.calibrate.resolve().name
    return Calibration(chosen, f"{len(chosen)} of {len(pictures)} {whole} of {folder}, evenly spaced by path")


def _training_part(path: Path, folder: Path, warnings: list[str]) -> Optional[tuple[tuple[Path, ...], str]]:
    """The training pictures by the split beside the model; None when there is none of that folder."""
    if not path.is_file():
        return None
    try:
        dataset = datasets.read_split(path, folder)
    except ConfigError as error:
        warnings.append(f"All of {folder} calibrates, test pictures too, as {path} is of other pictures: {error}")
        return None
    return tuple(picture.path for picture in dataset.part("train")), f"training pictures by {path.name}"


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
    from deploy import metadata  # needs flatbuffers, which comes with TensorFlow

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
    return Converted(_side(path, spec, bool(card.background_offset)), content, labels)


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


def _side(path: Path, spec: InputSpec, background: bool) -> Side:
    """A .tflite on disk as the device opens it bare, with what the file cannot say."""
    options = loading.BareOptions(
        background=background,
        resize=spec.resize,
        crop_fraction=spec.crop_fraction,
        interpolation=spec.interpolation,
        activation=None if tflite_file.read(path).activation else "logits",
    )
    opened, runtime = loading.open_model(str(path), options=options)
    runtime.close()
    assert opened.input is not None
    assert opened.output is not None
    given = opened.input
    if given.scale is None:
        return Side(path, msgspec.structs.replace(given, mean=spec.mean, std=spec.std), opened.output)
    if abs(given.mean[0] - spec.mean[0]) > 0.5 or not math.isclose(given.std[0], spec.std[0], rel_tol=_MOST_STD_ERROR):
        raise ModelError(
            f"The converted model takes (pixel - {given.mean[0]:g}) / {given.std[0]:g}, and it was to be "
            f"(pixel - {spec.mean[0]:g}) / {spec.std[0]:g}: give other pictures with --calibrate."
        )
    return Side(path, msgspec.structs.replace(given, std=spec.std), opened.output)


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
