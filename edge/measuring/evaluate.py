"""Accuracy on labelled pictures, through the same classifier as the device's own frames."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, Callable, Optional

import msgspec

from edge.cameras import Camera
from edge.classifier import Classifier
from edge.errors import CameraError, ConfigError
from edge.measuring.class_folders import Truth
from edge.records import Ran
from edge.stats import Summary, insufficient, shown_insufficient, summary, table, wilson

TOP = 5
_CONFUSIONS = 10
_FEWEST_SHOWN = 5  # a share of fewer pictures tells a person nothing
_STAGES = ("preprocess", "invoke", "postprocess")


class ClassResult(msgspec.Struct, frozen=True):
    """One class of an evaluation."""

    images: int
    top1: float
    """Share of the class's pictures whose first prediction is right, in [0, 1]."""


class Confusion(msgspec.Struct, frozen=True):
    """How often pictures of one class were taken for another."""

    truth: str
    predicted: str
    count: int


class Result(Ran, frozen=True):
    """What an evaluation found."""

    images: int
    skipped: int
    """Pictures that could not be read; they count neither as right nor as wrong."""
    top1: float
    top5: float
    top1_interval95: tuple[float, float]
    """Wilson score interval."""
    per_class: dict[str, ClassResult]
    confusion_top: tuple[Confusion, ...]
    """The most frequent ones, first the most frequent."""
    backends: dict[str, int]
    """Pictures by what answered them; two where the CPU stepped in for an Edge TPU."""
    latency_ms: dict[str, Summary]
    """Preprocess, invoke and postprocess of the pictures that `backend` answered; decoding the files is not in it."""
    insufficient: dict[str, str]
    """Why percentiles of `latency_ms` are null."""

    def as_json(self) -> dict[str, Any]:
        """The result as one JSON object."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def evaluate(
    classifier: Classifier, camera: Camera, truth: Truth, progress: Optional[Callable[[int], object]] = None
) -> Result:
    """Classify every frame of a labelled source and count what is right.

    Args:
        classifier: opened with `top` of at least 5, or of all classes where there are fewer.
        camera: an opened source whose frames have labels; a folder.
        truth: from `edge.measuring.class_folders.truth_of`.
        progress: called after each picture with the number of pictures done.

    Raises:
        ConfigError: the classifier gives too few predictions, or a frame has a label that `truth` does not know.
        CameraError: the source gave nothing.
    """
    enough = min(TOP, classifier.output.classes)
    answered: list[tuple[str, tuple[int, ...]]] = []
    times_ns: dict[str, dict[str, array[int]]] = {}
    while not camera.ended:
        frame = camera.read()
        if frame is None:
            continue
        if frame.label not in truth:
            raise ConfigError(f"{frame.source or camera.name} has the label {frame.label!r}, which has no class.")
        record = classifier.classify(frame)
        if len(record.predictions) < enough:
            raise ConfigError(f"The classifier gives {len(record.predictions)} predictions: open it with top={enough}.")
        answered.append((frame.label, tuple(prediction.class_id for prediction in record.predictions[:TOP])))
        of_backend = times_ns.setdefault(record.backend, {stage: array("q") for stage in _STAGES})
        for stage in _STAGES:
            of_backend[stage].append(getattr(record.timings, f"{stage}_ns"))
        if progress:
            progress(len(answered))
    if not answered:
        raise CameraError(f"{camera.name} gave no pictures to evaluate.")
    right = [answers[0] in truth[folder] for folder, answers in answered]
    interval = wilson(sum(right), len(right))
    assert interval is not None  # only without pictures
    ran = classifier.ran
    own_ns: dict[str, array[int]] = times_ns.get(ran.backend, {stage: array("q") for stage in _STAGES})
    return Result(
        **msgspec.structs.asdict(ran),
        images=len(answered),
        skipped=int(getattr(camera, "skipped", 0)),
        top1=_share(sum(right), len(right)),
        top5=_share(sum(not truth[folder].isdisjoint(answers) for folder, answers in answered), len(answered)),
        top1_interval95=(round(interval[0], 6), round(interval[1], 6)),
        per_class=_per_class([folder for folder, _ in answered], right, _names(truth, classifier.bundle.labels)),
        confusion_top=_confusions(answered, truth, classifier.bundle.labels),
        backends={backend: len(stages["invoke"]) for backend, stages in times_ns.items()},
        latency_ms={stage: summary(own_ns[stage]) for stage in _STAGES},
        insufficient=insufficient(len(own_ns["invoke"])),
    )


def text_of(result: Result) -> str:
    """The result for a person: accuracy, the classes that do worst, the most frequent confusions, latency."""
    low, high = result.top1_interval95
    skipped = f" ({result.skipped} could not be read)" if result.skipped else ""
    lines = [
        result.title(),
        f"{result.images} pictures{skipped}, {len(result.per_class)} classes",
        f"top-1 {result.top1:.1%} (95 % interval {low:.1%} to {high:.1%}), top-5 {result.top5:.1%}",
    ]
    enough = {name: told for name, told in result.per_class.items() if told.images >= _FEWEST_SHOWN}
    worst = sorted(enough.items(), key=lambda item: (item[1].top1, -item[1].images, item[0]))
    lines += ["", f"Lowest top-1 of classes with at least {_FEWEST_SHOWN} pictures:"] + [
        f"  {told.top1:7.1%} of {told.images:5d}  {_short(name)}" for name, told in worst[:_CONFUSIONS] if told.top1 < 1
    ]
    lines += ["", "Most often confused:"] + [
        f"  {confusion.count:5d} x {confusion.truth} taken for {confusion.predicted}"
        for confusion in result.confusion_top
    ]
    lines += ["", *table(result.latency_ms)]
    others = {backend: count for backend, count in result.backends.items() if backend != result.backend}
    if others:
        told = ", ".join(f"{count} by {backend}" for backend, count in others.items())
        lines.append(f"of {result.backends.get(result.backend, 0)} pictures; others were answered elsewhere: {told}")
    if shown := shown_insufficient(result.insufficient):
        lines.append(shown)
    return "\n".join(lines)


def _names(truth: Truth, labels: Sequence[str]) -> dict[str, str]:
    """What each class folder is called in a result: its label where that is one and no other folder's."""
    called = {folder: labels[min(right)] if len(right) == 1 else folder for folder, right in truth.items()}
    owners: dict[str, set[frozenset[int]]] = {}
    for folder, name in called.items():
        owners.setdefault(name, set()).add(truth[folder])
    return {folder: name if len(owners[name]) == 1 else folder for folder, name in called.items()}


def _per_class(folders: Sequence[str], right: Sequence[bool], names: dict[str, str]) -> dict[str, ClassResult]:
    images = Counter(names[folder] for folder in folders)
    hits = Counter(names[folder] for folder, hit in zip(folders, right) if hit)
    return {name: ClassResult(images[name], _share(hits[name], images[name])) for name in sorted(images)}


def _confusions(
    answered: Sequence[tuple[str, tuple[int, ...]]], truth: Truth, labels: Sequence[str]
) -> tuple[Confusion, ...]:
    names = _names(truth, labels)
    pairs = Counter(
        (names[folder], labels[answers[0]]) for folder, answers in answered if answers[0] not in truth[folder]
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(*pair, count) for pair, count in ranked[:_CONFUSIONS])


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6)


def _short(label: str) -> str:
    return label.partition(",")[0]
