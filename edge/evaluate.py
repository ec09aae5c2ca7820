"""Accuracy on labelled pictures, through the same classifier as the device's own frames."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, Union

import msgspec
import yaml

from edge.cameras import Camera
from edge.cameras.directory import find_pictures
from edge.classifier import Classifier
from edge.errors import CameraError, ConfigError
from edge.labels import ClassNames
from edge.records import Ran
from edge.stats import Summary, insufficient, shown_insufficient, summary, table, wilson

TOP = 5
_CONFUSIONS = 10
_MOST_NAMED = 20
_FEWEST_SHOWN = 5  # a share of fewer pictures tells a person nothing
_STAGES = ("preprocess", "invoke", "postprocess")
_INDEX = re.compile(r"\d+")

Truth = dict[str, frozenset[int]]
"""The class indices that are right for the pictures of each folder."""


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
    latency_ms: dict[str, Summary]
    """Preprocess, invoke and postprocess; decoding the picture files is not in it."""
    insufficient: dict[str, str]
    """Why percentiles of `latency_ms` are null."""

    def as_json(self) -> dict[str, Any]:
        """The result as one JSON object."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def truth_of(
    folder: Path,
    labels: Sequence[str],
    *,
    map_file: Optional[Path] = None,
    index_prefix: bool = False,
    background_offset: int = 0,
) -> Truth:
    """Find the class of each class folder below `folder`.

    Args:
        folder: its pictures lie in folders named after their class.
        labels: the model's, by output index.
        map_file: YAML or plain lines `folder: label` for folders with names of their own; see `read_map`.
        index_prefix: the number that a folder's name begins with is its class index, background not counted.
        background_offset: 1 when output 0 is a background class.

    Raises:
        ConfigError: there are no class folders, or one has no class or several.
    """
    folders = class_folders(folder)
    if index_prefix:
        if map_file is not None:
            raise ConfigError("--map and --index-prefix were both given: folders are either named or numbered.")
        return _by_index(folders, len(labels), background_offset)
    return _by_name(folders, labels, read_map(map_file) if map_file else {})


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders that the pictures below `folder` lie in, sorted.

    Raises:
        ConfigError: there are none, or pictures lie beside them.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: expected one with a folder of pictures for each class.")
    parents = Counter(path.parent for path in find_pictures(folder))
    if not parents:
        raise ConfigError(f"{folder} holds no pictures: expected a folder of pictures for each class.")
    if folder in parents:
        raise ConfigError(
            f"{_pictures(parents[folder])} in {folder} itself: expected each in a folder named after its class."
        )
    return tuple(sorted({parent.name for parent in parents}))


def read_map(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `folder: label` lines (or a list of labels, any of which is right) from a YAML file.

    A label is a label's text as in `truth_of`, or an output's index.

    Raises:
        ConfigError: the file cannot be read or holds something else.
    """
    try:
        # BaseLoader: all scalars stay text, so that `no: 001` means a folder "no".
        document: Any = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
        read = msgspec.convert(document, dict[str, Union[str, list[str]]])
    except OSError as error:
        raise ConfigError(f"Cannot read the map {path}: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a map of `folder: label` lines: {' '.join(str(error).split())}.") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} is not a map of `folder: label` lines: {error}.") from None
    return {folder: (value,) if isinstance(value, str) else tuple(value) for folder, value in read.items()}


def _by_index(folders: Iterable[str], classes: int, background_offset: int) -> Truth:
    truth: Truth = {}
    wrong = []
    for folder in folders:
        match = _INDEX.match(folder)
        index = int(match[0]) + background_offset if match else classes
        truth[folder] = frozenset({index})
        if index >= classes:
            wrong.append(folder)
    if wrong:
        raise ConfigError(
            f"With --index-prefix a folder's name begins with its class index, 0 to {classes - 1 - background_offset}; "
            f"these do not: {_listed(wrong)}."
        )
    return truth


def _by_name(folders: Iterable[str], labels: Sequence[str], mapping: dict[str, tuple[str, ...]]) -> Truth:
    classes = ClassNames(labels)

    def indices(text: str, mapped: bool) -> frozenset[int]:
        found = classes.find(text)
        # A number is an index only where a person wrote it in a map; a folder "3" must be the label "3".
        if mapped and not found and text.isdecimal() and len(text) < 10 and int(text) < len(labels):
            return frozenset({int(text)})
        return found

    truth: Truth = {}
    unmatched, ambiguous = [], []
    for folder in folders:
        right: set[int] = set()
        for text in mapping.get(folder, (folder,)):
            found = indices(text, folder in mapping)
            name = folder if text == folder else f"{folder} ({text})"
            if not found:
                unmatched.append(name)
            elif len(found) > 1:
                ambiguous.append(f"{name} ({' or '.join(str(index) for index in sorted(found))})")
            right |= found
        truth[folder] = frozenset(right)
    if unmatched or ambiguous:
        reasons = [f"{_listed(unmatched)} match no label"] if unmatched else []
        reasons += [f"{_listed(ambiguous)} match several"] if ambiguous else []
        raise ConfigError(
            f"Class folders must match the model's labels: {'; '.join(reasons)}. Say which label or index is meant in "
            "a file of `folder: label` lines with --map FILE, or --index-prefix where folders begin with a class index."
        )
    return truth


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def evaluate(
    classifier: Classifier, camera: Camera, truth: Truth, progress: Optional[Callable[[int], object]] = None
) -> Result:
    """Classify every frame of a labelled source and count what is right.

    Args:
        classifier: opened with `top` of at least 5, or of all classes where there are fewer.
        camera: an opened source whose frames have labels; a folder.
        truth: from `truth_of`.
        progress: called after each picture with the number of pictures done.

    Raises:
        ConfigError: the classifier gives too few predictions, or a frame has a label that `truth` does not know.
        CameraError: the source gave nothing.
    """
    enough = min(TOP, classifier.output.classes)
    answered: list[tuple[str, tuple[int, ...]]] = []
    times_ns = {stage: array("q") for stage in _STAGES}
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
        for stage in _STAGES:
            times_ns[stage].append(getattr(record.timings, f"{stage}_ns"))
        if progress:
            progress(len(answered))
    if not answered:
        raise CameraError(f"{camera.name} gave no pictures to evaluate.")
    right = [answers[0] in truth[folder] for folder, answers in answered]
    interval = wilson(sum(right), len(right))
    assert interval is not None  # only without pictures
    return Result(
        **msgspec.structs.asdict(classifier.ran),
        images=len(answered),
        skipped=int(getattr(camera, "skipped", 0)),
        top1=_share(sum(right), len(right)),
        top5=_share(sum(not truth[folder].isdisjoint(answers) for folder, answers in answered), len(answered)),
        top1_interval95=(round(interval[0], 6), round(interval[1], 6)),
        per_class=_per_class([folder for folder, _ in answered], right, _names(truth, classifier.bundle.labels)),
        confusion_top=_confusions(answered, truth, classifier.bundle.labels),
        latency_ms={stage: summary(times_ns[stage]) for stage in _STAGES},
        insufficient=insufficient(len(answered)),
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


def _pictures(count: int) -> str:
    return "1 picture lies" if count == 1 else f"{count} pictures lie"


def _short(label: str) -> str:
    return label.partition(",")[0]
