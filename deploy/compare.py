"""Trains, converts, verifies and measures several backbones on the same pictures: which one to take, in one table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple, Optional

import msgspec
import numpy as np

from deploy import datasets, files, heads, inspect, keras_files, latency, train, training_report, weights
from deploy.backbones import backbone
from deploy.bundles import MODEL_FILE as MODEL_TFLITE
from deploy.folders import class_pictures
from deploy.keras_files import Card
from deploy.train import MODEL_FILE, SPLIT_FILE, Progress, Settings
from edge import images
from edge.errors import ConfigError, ModelError
from edge.runtimes import default_threads
from edge.stats import Summary
from edge.tensors import Preprocessor

FORMS = ("keras", "float32", "int8")
"""The three files of each model: .keras, float .tflite, int8 .tflite."""
_RECIPES = {"float32": "float32", "int8": "static_wi8_ai8"}
_BATCH = 32
_UNTRAINED_CALIBRATION = 20  # random weights have no accuracy to lose

Kind = Literal["head", "finetune", "random"]


class Entry(NamedTuple):
    """One line of the table."""

    backbone: str
    kind: Kind

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self.backbone if self.kind == "head" else f"{self.backbone}:{self.kind}"


class Request(msgspec.Struct, frozen=True):
    """What to compare."""

    entries: tuple[Entry, ...]
    settings: Settings
    """For all of them; backbone, mode, weights and seed are each entry's own."""
    weights: dict[str, str]
    """Files of pretrained weights by backbone."""
    seeds: int
    """Each model is trained on so many seeded splits; the table has the means of their accuracies."""
    out: Path
    cache: Optional[Path] = None
    calibration_images: int = 200


class Trial(msgspec.Struct, frozen=True):
    """One training and what came of it. Accuracies are shares of the test pictures in [0, 1]."""

    seed: int
    images: int
    top1: dict[str, float]
    """By form."""


class Line(msgspec.Struct, frozen=True):
    """One model of the table."""

    name: str
    backbone: str
    kind: Kind
    weights: str
    parameters: int
    """Numbers in the float .tflite, BatchNormalization folded away."""
    macs: int
    """Multiply-accumulate operations for one picture."""
    bytes: dict[str, int]
    """Size of each form's file."""
    trials: tuple[Trial, ...]
    """Empty for random weights."""
    training_seconds: Optional[float]
    """Of the first seed, with what it computed of the features."""
    peak_memory_bytes: Optional[int]
    """Of that training's process."""
    latency_ms: dict[str, Summary] = {}
    """By form."""

    def top1(self, form: str) -> Optional[float]:
        """Mean over the trials."""
        return fmean(trial.top1[form] for trial in self.trials) if self.trials else None


class Comparison(msgspec.Struct, frozen=True):
    """The whole table and how it came about."""

    data: str
    classes: tuple[str, ...]
    settings: dict[str, Any]
    seeds: int
    threads: int
    machine: str
    date: str
    lines: tuple[Line, ...]


def entry(text: str) -> Entry:
    """What `NAME`, `NAME:finetune` or `NAME:random` asks for.

    Raises:
        ConfigError: it is none of these.
    """
    name, colon, kind = text.partition(":")
    if colon and kind not in ("head", "finetune", "random"):
        raise ConfigError(f"{text} asks for {kind!r}: expected a backbone's name alone, or with :finetune or :random.")
    return Entry(backbone(name).name, kind or "head")  # type: ignore[arg-type]  # checked above


def compare(request: Request, progress: Progress) -> Comparison:
    """Do all that is not done yet, then measure the latencies and write the result.

    Raises:
        ConfigError: the request cannot be carried out.
        ModelError: a step failed; it said why.
    """
    from deploy import comparison_report

    lines = []
    for place, asked in enumerate(request.entries, start=1):
        progress.step(f"{asked.name}, {place} of {len(request.entries)}")
        if asked.kind == "random":
            lines.append(_untrained(request, asked, progress))
        else:
            trials = tuple(_trial(request, asked, seed, progress) for seed in range(request.seeds))
            lines.append(_line(request, asked, trials))
    progress.step("measuring latency")
    measured = _latencies(request, progress)
    lines = [
        msgspec.structs.replace(line, latency_ms={form: measured[f"{line.name} {form}"] for form in FORMS})
        for line in lines
    ]
    result = Comparison(
        data=Path(request.settings.data[0]).resolve().name,
        classes=tuple(class_pictures(Path(request.settings.data[0]))),
        settings=msgspec.to_builtins(request.settings),
        seeds=request.seeds,
        threads=default_threads(),
        machine=comparison_report.machine(),
        date=comparison_report.today(),
        lines=tuple(lines),
    )
    trained = [asked for asked in request.entries if asked.kind != "random"]
    histories = {asked.name: training_report.read_history(_folder(request, asked) / "training") for asked in trained}
    comparison_report.write(request.out, result, histories)
    return result


def _folder(request: Request, asked: Entry, seed: int = 0) -> Path:
    return request.out / asked.name.replace(":", "-") / f"seed{seed}"


def _settings(request: Request, asked: Entry, seed: int) -> Settings:
    return msgspec.structs.replace(
        request.settings,
        backbone=asked.backbone,
        mode="finetune" if asked.kind == "finetune" else "head",
        weights=request.weights.get(asked.backbone),
        seed=seed,
    )


def _trial(request: Request, asked: Entry, seed: int, progress: Progress) -> Trial:
    """Train, convert and verify with one seed, as far as that is not done."""
    folder = _folder(request, asked, seed)
    training, done = folder / "training", folder / "trial.json"
    _train(_settings(request, asked, seed), training, request.cache)
    if done.exists():
        return msgspec.json.decode(done.read_bytes(), type=Trial)
    _convert(request, folder)
    told = _edge_deploy(
        *("verify", folder / "int8", "--against", folder / "float32", "--split", training / SPLIT_FILE),
        *("--data", request.settings.data[0], "--max-drop", 100, "--json"),
    )
    verified = msgspec.json.decode(told)["comparison"]
    progress.step("accuracy of the .keras file")
    top1 = {"keras": _keras_top1(training), "float32": verified["float_top1"], "int8": verified["top1"]}
    trial = Trial(seed, verified["labelled"], top1)
    files.write(done, msgspec.json.format(msgspec.json.encode(trial)))
    return trial


def _train(settings: Settings, folder: Path, cache: Optional[Path]) -> None:
    """Train in a process of its own, whose memory is measured; a finished training of these settings is enough."""
    if training_report.is_finished(folder):
        if training_report.read(folder).settings != msgspec.json.decode(msgspec.json.encode(settings)):
            raise ConfigError(f"{folder} holds a training with other settings: give another --out, or delete it.")
        return
    place = ("--cache", cache) if cache else ()
    _edge_deploy("train", *train.arguments(settings), "--out", folder, *place)


def _convert(request: Request, folder: Path, images: Optional[int] = None) -> None:
    model = folder / "training" / MODEL_FILE
    pictures = Path(request.settings.data[0])
    _edge_deploy("convert", model, "--recipe", _RECIPES["float32"], "--out", folder / "float32")
    _edge_deploy(
        *("convert", model, "--recipe", _RECIPES["int8"], "--out", folder / "int8"),
        *("--calibrate", pictures, "--calibration-images", images or request.calibration_images),
    )


def _edge_deploy(*arguments: object) -> str:
    """Run a command of its own, so that its memory is its own; what it says on stderr is seen.

    Raises:
        ModelError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise ModelError(f"`edge-deploy {' '.join(map(str, arguments))}` failed: see above; what is done is kept.")
    return done.stdout


def _line(request: Request, asked: Entry, trials: tuple[Trial, ...]) -> Line:
    metrics = training_report.read(_folder(request, asked) / "training")
    line = _measured(request, asked, metrics.weights)
    return msgspec.structs.replace(
        line, trials=trials, training_seconds=metrics.seconds["all"], peak_memory_bytes=metrics.peak_memory_bytes
    )


def _untrained(request: Request, asked: Entry, progress: Progress) -> Line:
    """Structure, sizes and latency of a backbone whose weights are not at hand."""
    folder = _folder(request, asked)
    training = folder / "training"
    row = backbone(asked.backbone)
    if not (folder / "int8" / "model.yaml").exists():
        classes = tuple(class_pictures(Path(request.settings.data[0])))
        progress.step(f"building {row.name} with random weights")
        train.require_tensorflow()
        classifier, found = weights.pretrained(row, weights.RANDOM)
        head = heads.Head(request.settings.hidden, request.settings.dropout)
        model = heads.with_head(classifier, head, len(classes), request.settings.seed)
        card = Card(row.name, row.float_input(), classes, found.origin, found.licence)
        keras_files.save(training / MODEL_FILE, model, card)
        _convert(request, folder, _UNTRAINED_CALIBRATION)
    return _measured(request, asked, weights.RANDOM)


def _measured(request: Request, asked: Entry, origin: str) -> Line:
    paths = _files(request, asked)
    facts = inspect.inspect(paths["float32"])
    return Line(
        name=asked.name,
        backbone=asked.backbone,
        kind=asked.kind,
        weights=origin,
        parameters=facts.parameters,
        macs=facts.total.macs,
        bytes={form: path.stat().st_size for form, path in paths.items()},
        trials=(),
        training_seconds=None,
        peak_memory_bytes=None,
    )


def _files(request: Request, asked: Entry) -> dict[str, Path]:
    """The file of each form, of the first seed."""
    folder = _folder(request, asked)
    return {
        "keras": folder / "training" / MODEL_FILE,
        "float32": folder / "float32" / MODEL_TFLITE,
        "int8": folder / "int8" / MODEL_TFLITE,
    }


def _keras_top1(training: Path) -> float:
    """Share of the test pictures that the .keras file itself gets right, in Keras."""
    train.require_tensorflow()
    model, card = keras_files.load(training / MODEL_FILE)
    settings = training_report.read(training).settings
    pictures = datasets.read_split(training / SPLIT_FILE, Path(settings["data"][0])).part("test")
    preprocessor = Preprocessor(card.input)
    right = 0
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH]
        tensor = np.empty((len(batch), card.input.height_px, card.input.width_px, 3), np.float32)
        for place, picture in enumerate(batch):
            preprocessor.fill(images.read_rgb(picture.path), tensor[place])
        answers = np.asarray(model.predict_on_batch(tensor)).argmax(axis=1)
        right += int((answers == [picture.class_id for picture in batch]).sum())
    return right / len(pictures)


def _latencies(request: Request, progress: Progress) -> dict[str, Summary]:
    train.require_tensorflow()
    steps = {}
    for asked in request.entries:
        for form, path in _files(request, asked).items():
            step = latency.keras_step if form == "keras" else latency.tflite_step
            steps[f"{asked.name} {form}"] = step(path)
    with progress.pictures(latency.ROUNDS + latency.WARM_UP_ROUNDS) as done:
        return latency.measure(steps, progress=done)
