"""Transfer learning: a new head on cached features of a frozen backbone, then fine-tuning of its last blocks."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy import files, heavy
from deploy.backbones import backbone
from deploy.backbones import weights as weight_files
from deploy.backbones.networks import POOL
from deploy.conversion import keras_files, quantize
from deploy.conversion.keras_files import Card
from deploy.pictures import datasets
from deploy.pictures.datasets import Dataset, Picture
from deploy.training import features, fitting, heads
from deploy.training import report as training_report
from deploy.training import settings as training_settings
from deploy.training.features import Item, Rows, Trunk, View
from deploy.training.fitting import Epoch, Fit, Part, Recipe
from deploy.training.heads import Head
from deploy.training.report import METRICS_FILE, Metrics
from deploy.training.settings import Settings, arguments
from edge.errors import ConfigError, RuntimeUnavailableError
from edge.runtimes import default_threads
from edge.tensors import InputSpec

__all__ = ["MODEL_FILE", "SPLIT_FILE", "Progress", "Settings", "arguments", "require_tensorflow", "train"]

MODEL_FILE = "model.keras"
SPLIT_FILE = "split.csv"
_SETTINGS_FILE = "settings.json"
_STATE_FOLDER = ".training"
_NEEDED = ("tensorflow", "keras", "matplotlib")


class Progress(Protocol):
    """Is told how far things are."""

    def step(self, text: str) -> None: ...

    def pictures(self, count: Optional[int]) -> contextlib.AbstractContextManager[Callable[[int], object]]:
        """Around work on so many pictures, if known; what it gives is called with the number done since."""

    def epochs(self, epochs: int) -> contextlib.AbstractContextManager[Callable[[Epoch], object]]:
        """Around a stage of training; what it gives is called with each epoch."""


def train(settings: Settings, out: Path, cache: Optional[Path], progress: Progress) -> Metrics:
    """Train a classifier and write it with all that is known of it.

    Args:
        settings: what to do.
        out: folder of the results; an unfinished run of the same settings there is gone on with.
        cache: folder of the cached features; None: that of the user.
        progress: is told how far it is.

    Raises:
        ConfigError: the settings or the data cannot be used, or a result cannot be written.
        ModelError: the weights cannot be used.
        ImageError: a picture cannot be read any more.
        RuntimeUnavailableError: TensorFlow, Keras, matplotlib or a TFLite runtime is missing.
        KeyboardInterrupt: it came before there was a model, or while the results were written.
    """
    started_s = time.monotonic()
    training_settings.check(settings)
    row = backbone(settings.backbone)
    _check_installed()
    training_settings.check_out(settings, out)
    _check_out(settings, out)
    progress.step("reading the pictures")
    with progress.pictures(None) as done:
        dataset = _dataset(settings, out, done)
    seconds = {"pictures": time.monotonic() - started_s}
    progress.step(f"building {row.name}")
    require_tensorflow()
    classifier, found = weight_files.pretrained(row, settings.weights, settings.licence)
    model = heads.with_head(classifier, Head(settings.hidden, settings.dropout), len(dataset.classes), settings.seed)
    cuts = {"head": POOL}
    if settings.mode == "finetune":
        cuts["finetune"] = heads.cut_before(model, settings.blocks)
    state = _begin(settings, dataset, out)
    run = _Run(settings, found, model, dataset, row.float_input(), cache or features.cache_folder(), progress, seconds)
    stages, interrupted = _stages(run, cuts, state)
    last = stages[-1]
    history = [epoch for stage in stages for epoch in stage.fit.history]
    answers = fitting.predict(last.tail, last.test).argmax(axis=1)
    seconds["all"] = time.monotonic() - started_s
    metrics = training_report.measure(
        dataset,
        answers.tolist(),
        backbone=row.name,
        weights=found.origin,
        weights_sha256=found.sha256,
        validation_accuracy=last.fit.best.validation_accuracy,
        head_validation_accuracy=stages[0].fit.best.validation_accuracy,
        interrupted=interrupted,
        settings=msgspec.to_builtins(settings),
        seconds={name: round(value, 1) for name, value in seconds.items()},
    )
    keras_files.save(out / MODEL_FILE, model, _card(run))
    training_report.write(out, metrics, history)
    if not interrupted:
        shutil.rmtree(state)
    return metrics


def _check_installed() -> None:
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise RuntimeUnavailableError(f"Training needs {name}, which is not installed: {heavy.HOW_TO_INSTALL}.")


def _check_out(settings: Settings, out: Path) -> None:
    """Refuse a folder in which this training neither begins nor goes on."""
    kept = out / _SETTINGS_FILE
    if (out / METRICS_FILE).exists() and not (out / _STATE_FOLDER).exists():
        raise ConfigError(f"{out} holds a finished training: give another --out, or delete it first.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not kept.exists())):
        raise ConfigError(f"{out} holds something other than a training: give a new name with --out.")
    if kept.exists() and kept.read_bytes() != _document(settings):
        raise ConfigError(
            f"{out} holds a training with other settings (see {kept}): repeat them to go on with it, or give another "
            "--out."
        )


def _begin(settings: Settings, dataset: Dataset, out: Path) -> Path:
    """The folder of the state, beside the settings and the split that it belongs to."""
    state, split = out / _STATE_FOLDER, out / SPLIT_FILE
    files.write(out / _SETTINGS_FILE, _document(settings))
    try:
        if not split.exists():
            shutil.rmtree(state, ignore_errors=True)
            datasets.write_split(dataset, split)
        state.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(f"Cannot write {state}: {error.strerror or error}.") from None
    return state


def _document(settings: Settings) -> bytes:
    return msgspec.json.format(msgspec.json.encode(settings))


def _dataset(settings: Settings, out: Path, done: Callable[[int], object]) -> Dataset:
    """The split of an unfinished run, or a new one."""

    def read(_done: int, _count: int) -> None:
        done(1)

    kept = out / SPLIT_FILE
    roots = [Path(folder) for folder in settings.data]
    if kept.exists():
        return datasets.read_split(kept, Path(os.path.commonpath([os.path.abspath(folder) for folder in roots])))
    if len(roots) > 1:
        return datasets.from_parts(roots[0], roots[1], roots[2], read)
    if settings.split is not None:
        return datasets.read_split(Path(settings.split), roots[0])
    return datasets.split(roots[0], settings.seed, settings.shares, settings.near_bits, read)


def require_tensorflow() -> None:
    """Import TensorFlow and let it use all processors, as training and measuring should.

    Raises:
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    tf = heavy.require_tensorflow()
    with contextlib.suppress(RuntimeError):  # something was computed already
        tf.config.threading.set_intra_op_parallelism_threads(default_threads())
    tf.zeros(())  # from here on the number stays


class _Run(NamedTuple):
    """What the stages of one training share."""

    settings: Settings
    found: weight_files.Weights
    model: Any
    dataset: Dataset
    input: InputSpec
    cache: Path
    progress: Progress
    seconds: dict[str, float]


class _Stage(NamedTuple):
    """A stage of training that came to an end."""

    fit: Fit
    tail: Any
    """What was trained."""
    test: Rows
    """What the part before it makes of the test pictures."""


def _stages(run: _Run, cuts: dict[str, str], state: Path) -> tuple[list[_Stage], bool]:
    """Train stage by stage; tells whether it was interrupted.

    Raises:
        KeyboardInterrupt: it came before one epoch was done.
    """
    stages: list[_Stage] = []
    try:
        for phase, cut in cuts.items():
            stages.append(_stage(run, phase, cut, state))
            if stages[-1].fit.interrupted:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        if not stages or len(stages[0].fit.history) < 2:
            raise
        return stages, True
    return stages, False


def _stage(run: _Run, phase: str, cut: str, state: Path) -> _Stage:
    """Compute what the frozen part makes of the pictures, then train the part behind the layer `cut`."""
    settings, fine = run.settings, phase == "finetune"
    recipe = Recipe(
        epochs=settings.finetune_epochs if fine else settings.epochs,
        batch=settings.batch,
        learning_rate=settings.finetune_learning_rate if fine else settings.learning_rate,
        warmup_epochs=settings.warmup_epochs if fine else 0.0,
        patience=settings.patience,
        label_smoothing=settings.label_smoothing,
        seed=settings.seed,
    )
    trunk = _trunk(run, cut)
    # the test pictures too: one pass is faster than two
    plain = _rows(run, trunk, run.dataset.pictures, 0)
    pictures = run.dataset.part("train")
    others = [_rows(run, trunk, pictures, view) for view in range(1, settings.views)] if settings.augment else []
    train, validation = _part(run, plain, "train"), _part(run, plain, "validation")
    train = train._replace(views=[*train.views, *others], weights=_weights(run, train.class_ids))
    folder = state / f"{phase}-{features.key(trunk, View())}"  # with other weights of the backbone it begins anew
    what = f"last {settings.blocks} blocks" if fine else "head"
    run.progress.step(f"{'going on with ' if folder.exists() else ''}training the {what}")
    tail = heads.tail(run.model, cut)
    with run.progress.epochs(recipe.epochs) as tell:
        fit = fitting.fit(tail, phase, train, validation, recipe, folder, tell)
    run.seconds[phase] = sum(epoch.seconds for epoch in fit.history)
    return _Stage(fit, tail, _part(run, plain, "test").views[0])


def _part(run: _Run, rows: Rows, part: str) -> Part:
    """The pictures of one part, out of the features of all."""
    chosen = np.array([place for place, picture in enumerate(run.dataset.pictures) if picture.part == part])
    class_ids = np.array([run.dataset.pictures[place].class_id for place in chosen])
    return Part([rows.of(chosen)], class_ids)


def _weights(run: _Run, class_ids: NDArray[np.int64]) -> Optional[NDArray[np.float32]]:
    return heads.balanced(class_ids, len(run.dataset.classes))[class_ids] if run.settings.class_weights else None


def _trunk(run: _Run, cut: str) -> Trunk:
    """The network up to the layer `cut`."""
    frozen = heads.trunk(run.model, cut)
    return Trunk(
        name=f"{run.model.name} {cut} {run.found.sha256 or run.found.origin}",
        input=run.input,
        shape=tuple(frozen.output_shape[1:]),
        convert=lambda: quantize.to_float(frozen),
    )


def _rows(run: _Run, trunk: Trunk, pictures: Sequence[Picture], view: int) -> Rows:
    """What the trunk makes of pictures."""
    items = [Item(picture.path, picture.sha256) for picture in pictures]
    shown = f", view {view + 1} of {run.settings.views}" if view else ""
    run.progress.step(f"features of {len(items)} pictures{shown}")
    started_s = time.monotonic()
    with run.progress.pictures(len(items)) as done:
        rows = features.features(trunk, items, View(run.settings.augment if view else (), view), run.cache, done)
    run.seconds["features"] = run.seconds.get("features", 0.0) + time.monotonic() - started_s
    return rows


def _card(run: _Run) -> Card:
    return Card(
        backbone=run.settings.backbone,
        input=run.input,
        labels=run.dataset.classes,
        weights=run.found.origin,
        licence=run.found.licence,
        weights_sha256=run.found.sha256,
        data=", ".join(Path(folder).resolve().name for folder in run.settings.data),
    )
