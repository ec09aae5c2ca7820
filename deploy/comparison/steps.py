"""The steps of a comparison that need a process of their own: conversion, accuracy, latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.backbones import backbone, weights
from deploy.comparison import latency
from deploy.comparison.records import FORMS, Trial
from deploy.conversion import convert, keras_files
from deploy.conversion.keras_files import Card
from deploy.pictures import datasets
from deploy.training import heads, train
from deploy.training.heads import Head
from deploy.training.train import MODEL_FILE, SPLIT_FILE, Progress, Settings
from deploy.verification import against
from edge import images
from edge.stats import Summary
from edge.tensors import Preprocessor

_BATCH = 32


def save_untrained(path: Path, settings: Settings, classes: tuple[str, ...]) -> None:
    """Write a classifier whose weights are random numbers.

    Raises:
        ConfigError: the place cannot be written.
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    row = backbone(settings.backbone)
    classifier, found = weights.pretrained(row, weights.RANDOM)
    model = heads.with_head(classifier, Head(settings.hidden, settings.dropout), len(classes), settings.seed)
    keras_files.save(path, model, Card(row.name, row.float_input(), classes, found.origin, found.licence))


def to_bundle(request: convert.Request, progress: Progress) -> None:
    """Convert, and keep still about few pictures: the table tells how many calibrated."""
    convert.convert(request, progress.step, lambda _: None)


def accuracies(seed: int, folder: Path, data: Path, progress: Progress) -> Trial:
    """How many of the test pictures each form of a model gets right; the int8 bundle's contract tells it from then on.

    Args:
        seed: of the training.
        folder: holds the training and both bundles.
        data: the pictures.
        progress: is told each step.

    Raises:
        EdgeError: a picture or a model cannot be read any more.
    """
    split = folder / "training" / SPLIT_FILE
    request = against.Request(str(folder / "int8"), folder / "float32", data, split, max_drop_points=100.0)
    told = against.run(request, progress.step)
    against.write_accuracy(folder / "int8", told)
    accuracy = told.accuracy()
    assert accuracy.float_top1 is not None
    progress.step("measuring the .keras file")
    right = _keras_top1(folder / "training" / MODEL_FILE, datasets.read_split(split, data).part("test"), progress)
    return Trial(seed, accuracy.images, {"keras": right, "float32": accuracy.float_top1, "int8": accuracy.top1})


def _keras_top1(path: Path, pictures: tuple[datasets.Picture, ...], progress: Progress) -> float:
    """Share of the pictures that a .keras file gets right, in Keras."""
    train.require_tensorflow()
    model, card = keras_files.load(path)
    preprocessor = Preprocessor(card.input)
    right = 0
    with progress.pictures(len(pictures)) as done:
        for start in range(0, len(pictures), _BATCH):
            batch = pictures[start : start + _BATCH]
            tensor = np.empty((len(batch), card.input.height_px, card.input.width_px, 3), np.float32)
            for place, picture in enumerate(batch):
                preprocessor.fill(images.read_rgb(picture.path), tensor[place])
            answers = np.asarray(model.predict_on_batch(tensor)).argmax(axis=1)
            right += int((answers == [picture.class_id for picture in batch]).sum())
            done(len(batch))
    return right / len(pictures)


def latencies(models: dict[str, dict[str, Path]], progress: Progress) -> dict[str, dict[str, Summary]]:
    """Times of one picture in milliseconds, all models in turn.

    Args:
        models: the file of each form, by model.
        progress: is told each round.

    Returns:
        By model and form.
    """
    train.require_tensorflow()
    opened = {"keras": latency.keras_step, "float32": latency.tflite_step, "int8": latency.tflite_step}
    steps = {(name, form): opened[form](path) for name, paths in models.items() for form, path in paths.items()}
    with progress.pictures(latency.WARM_UP_ROUNDS + latency.ROUNDS) as done:
        measured = latency.measure(steps, latency.ROUNDS, done)
    return {name: {form: measured[name, form] for form in FORMS} for name in models}
