"""A bundle against the float model that it was made of: accuracy, what changed, and where it loses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional, cast

import msgspec

from deploy import files
from deploy.conversion import bundles
from deploy.pictures import truth
from deploy.pictures.datasets import Progress
from deploy.pictures.split_files import Part
from deploy.verification import verify
from deploy.verification.layers import PICTURES, Layer, Layers, compare_layers
from deploy.verification.reference import float_side, side_of
from deploy.verification.verify import Answer, Seen
from edge.classifier import Classifier
from edge.errors import ConfigError, ImageError, ModelError
from edge.images import path_text
from edge.model.bundle import CONTRACT_FILE, Accuracy, Bundle, locate, read_contract

_DIGITS = 6
_RANKS = {(True, False): 0, (False, True): 1, (False, False): 2}  # right before and after: what was lost comes first


class Request(msgspec.Struct, frozen=True):
    """What to verify, and with what."""

    bundle: str
    """Folder or name."""
    against: Path
    """The float model: a .keras file, a .tflite file or a bundle's folder."""
    data: Path
    """A folder of pictures for each class."""
    split: Optional[Path] = None
    """None: the split.csv beside `against`, where it is one of `data`."""
    part: Optional[Part] = None
    """Of the split; None: test, or all pictures where there is no split."""
    backbone: Optional[str] = None
    """Row of `deploy.backbones` for a .keras file that does not say how its pictures are prepared."""
    max_drop_points: float = 1.0
    """Bar: percentage points of top-1 that quantization may cost."""


class ClassDrop(msgspec.Struct, frozen=True):
    """One class before and after."""

    label: str
    images: int
    float_top1: float
    """Share of the class's pictures whose first prediction is right, in [0, 1]."""
    top1: float
    """Of the quantized model."""
    drop_points: float


class Changed(msgspec.Struct, frozen=True):
    """A picture that the two models take for different classes."""

    path: str
    truth: str
    float_label: str
    float_score: float
    label: str
    """The quantized model's answer."""
    score: float


class Report(msgspec.Struct, frozen=True):
    """What was measured."""

    model: str
    sha256: str
    """Of the bundle's .tflite."""
    classes: int
    """Outputs of the model."""
    against: str
    pictures: str
    """Which these are, in words."""
    warning: Optional[str]
    """Why the accuracy may flatter both models."""
    skipped: tuple[str, ...]
    """One sentence for each picture that could not be read and counts neither as right nor as wrong."""
    comparison: verify.Comparison
    drop_points: float
    """Top-1 that quantization costs; negative when it gains."""
    max_drop_points: float
    held: bool
    """Whether the drop is at most that."""
    per_class: tuple[ClassDrop, ...]
    """All classes that have pictures, the largest drop first."""
    changed: tuple[Changed, ...]
    """First those that were right before, then those that are right now, then the others; by path."""
    layers: Layers
    worst_layers: tuple[Layer, ...]
    """Those with the least signal to noise, the worst first."""
    seconds: float

    def accuracy(self) -> Accuracy:
        """What the bundle's contract says of this."""
        seen = self.comparison
        assert seen.top1 is not None
        assert seen.top5 is not None
        assert seen.top1_interval95 is not None
        assert seen.float_top1 is not None
        low, high = seen.top1_interval95
        return Accuracy(
            data=self.pictures if self.warning is None else f"{self.pictures}; {self.warning.partition(':')[0]}",
            images=seen.labelled,
            top1=round(seen.top1, _DIGITS),
            top1_interval95=(round(low, _DIGITS), round(high, _DIGITS)),
            top5=round(seen.top5, _DIGITS),
            float_top1=round(seen.float_top1, _DIGITS),
            agreement=round(seen.agreement, _DIGITS),
        )


def require_held(report: Report) -> None:
    """Let a drop past the bar be an error.

    Raises:
        ModelError: it is.
    """
    if report.held:
        return
    seen = report.comparison
    raise ModelError(
        f"{report.model} loses {report.drop_points:.2f} points of top-1 to {report.against} ({seen.top1:.2%} instead "
        f"of {seen.float_top1:.2%} of {seen.labelled} pictures), allowed are {report.max_drop_points:g}: calibrate on "
        "more pictures like these, or allow more with --max-drop."
    )


def write_accuracy(folder: Path, report: Report) -> None:
    """Let a bundle's contract tell what was measured; its other files stay as they are.

    Raises:
        ConfigError: the bundle cannot be written.
        ModelError: it has no contract any more.
    """
    contract = msgspec.structs.replace(read_contract(folder), accuracy=report.accuracy())
    files.write(folder / CONTRACT_FILE, bundles.contract_text(contract))


def run(request: Request, say: Callable[[str], None], progress: Optional[Progress] = None) -> Report:
    """Measure both models on the same pictures.

    Args:
        request: what to verify.
        say: is told each step as it begins.
        progress: is told how many of how many pictures are done.

    Raises:
        ConfigError: the pictures or the split are not of this model.
        ImageError: not one of the pictures can be read.
        ModelError: a model cannot be used, or the two do not belong together.
        RuntimeUnavailableError: a TFLite runtime is missing, or TensorFlow for a .keras file.
    """
    started_s = time.monotonic()
    bundle = _open(request.bundle)
    quantized = side_of(bundle)
    chosen = _choose(request, bundle.labels, quantized.output.background_offset)
    skipped: list[str] = []
    with float_side(request.against, bundle, request.backbone, say) as reference:
        say(f"measuring both on {len(chosen.pictures)} pictures")
        pictures = _counted(chosen.pictures, progress) if progress else chosen.pictures
        seen = list(verify.both(reference, quantized, pictures, lambda error: skipped.append(str(error))))
        if not seen:
            raise ImageError(f"Not one of the {len(skipped)} pictures of {request.data} can be read: {skipped[0]}")
        say("comparing the layers")
        spaced = seen[:: max(1, len(seen) // PICTURES)][:PICTURES]
        compared = compare_layers(reference, quantized, [each.path for each in spaced])
    comparison = verify.summary(seen)
    assert comparison.drop_points is not None
    return Report(
        model=bundle.name,
        sha256=bundle.sha256,
        classes=len(bundle.labels),
        against=str(request.against),
        pictures=chosen.origin,
        warning=chosen.warning,
        skipped=tuple(skipped),
        comparison=comparison,
        drop_points=comparison.drop_points,
        max_drop_points=request.max_drop_points,
        held=comparison.drop_points <= request.max_drop_points,
        per_class=_per_class(seen, bundle.labels),
        changed=_changed(seen, bundle.labels),
        layers=compared,
        worst_layers=compared.worst(),
        seconds=round(time.monotonic() - started_s, 1),
    )


def _open(given: str) -> Bundle:
    path = locate(given)
    if not path.is_dir():
        raise ModelError(f"{path} is not a bundle: expected the folder that `edge-deploy convert` wrote.")
    with Classifier.open(str(path)) as classifier:  # checks the golden input too
        return classifier.bundle


def _choose(request: Request, labels: Sequence[str], background_offset: int) -> truth.Labelled:
    """The part of the split that was given, or that the float model's folder has for these pictures; else all."""
    beside = request.against.parent / truth.SPLIT_FILE
    asked = request.split is not None or request.part is not None
    if not asked and not beside.is_file():
        return truth.from_folder(request.data, labels, background_offset)
    try:
        split, part = request.split or beside, request.part or "test"
        return truth.from_split(request.data, split, part, labels, background_offset)
    except ConfigError as error:
        if asked:
            raise
        everything = truth.from_folder(request.data, labels, background_offset)
        return msgspec.structs.replace(everything, warning=f"training pictures may be among them: {error}")


def _counted(pictures: Sequence[tuple[Path, int]], progress: Progress) -> Iterator[tuple[Path, int]]:
    for done, each in enumerate(pictures, start=1):
        yield each
        progress(done, len(pictures))


def _per_class(seen: Sequence[Seen], labels: Sequence[str]) -> tuple[ClassDrop, ...]:
    by_class: dict[int, list[Seen]] = {}
    for each in seen:
        by_class.setdefault(cast(int, each.truth), []).append(each)
    drops = []
    for index, members in sorted(by_class.items()):
        before = sum(verify.is_right(each, each.reference) for each in members) / len(members)
        after = sum(verify.is_right(each, each.quantized) for each in members) / len(members)
        drops.append(ClassDrop(labels[index], len(members), before, after, round(100 * (before - after), 9)))
    return tuple(sorted(drops, key=lambda drop: -drop.drop_points))


def _changed(seen: Sequence[Seen], labels: Sequence[str]) -> tuple[Changed, ...]:
    def rank(each: Seen) -> tuple[int, Path]:
        return _RANKS[verify.is_right(each, each.reference), verify.is_right(each, each.quantized)], each.path

    def first(answer: Answer) -> str:
        return labels[answer.class_ids[0]]

    return tuple(
        Changed(
            path=path_text(each.path),
            truth=labels[cast(int, each.truth)],
            float_label=first(each.reference),
            float_score=round(each.reference.score, _DIGITS),
            label=first(each.quantized),
            score=round(each.quantized.score, _DIGITS),
        )
        for each in sorted((each for each in seen if verify.is_changed(each)), key=rank)
    )
