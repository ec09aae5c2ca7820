"""Transfer learning: a new head on cached features of a frozen backbone, then fine-tuning of its last blocks."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, Literal, NamedTuple, Optional, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy import augment, datasets, features, files, fitting, heads, keras_files, quantize, training_report, weights
from deploy.backbones import backbone
from deploy.datasets import Dataset, Picture
from deploy.features import Item, Rows, Trunk, View
from deploy.fitting import Epoch, Fit, Part, Recipe
from deploy.heads import POOL, Head
from deploy.keras_files import Card
from deploy.training_report import METRICS_FILE, Metrics
from edge.errors import ConfigError
from edge.runtimes import default_threads
from edge.tensors import InputSpec

Mode = Literal["head", "finetune"]

MODEL_FILE = "model.keras"
SPLIT_FILE = "split.csv"
_SETTINGS_FILE = "settings.json"
_STATE_FOLDER = ".training"


class Settings(msgspec.Struct, frozen=True):
    """What decides the result of a training."""

    backbone: str
    data: tuple[str, ...]
    """One folder of classes, or three: training, validation, test."""
    weights: Optional[str] = None
    """None: the published ones; "random"; or the path of a file."""
    mode: Mode = "head"
    blocks: int = 4
    """How many of the last blocks fine-tuning trains."""
    hidden: Optional[int] = None
    dropout: float = 0.2
    epochs: int = 30
    finetune_epochs: int = 10
    batch: int = 32
    learning_rate: float = 1e-3
    finetune_learning_rate: float = 2e-4
    warmup_epochs: float = 1.0
    """Of fine-tuning."""
    patience: int = 10
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    views: int = 4
    """How many ways to see each training picture, the plain one among them; only with `augment`."""
    class_weights: bool = False
    seed: int = 0
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split: Optional[str] = None
    """A split.csv to use instead of making one."""
    licence: Optional[str] = None
    """Of the weights, where they are a file."""


def arguments(settings: Settings) -> list[str]:
    """The command line of `edge-deploy train` that these settings stand for, without --out."""
    given: list[str] = []
    for name, value in msgspec.to_builtins(settings).items():
        flag = f"--{name.replace('_', '-')}"
        if name == "data":
            parts = ("--train", "--validation", "--test")
            given += value if len(value) == 1 else [text for pair in zip(parts, value) for text in pair]
        elif name == "shares":
            given += [flag, ",".join(repr(100 * share) for share in value)]
        elif value is True:
            given.append(flag)
        elif value or (value == 0 and value is not False):
            given += [flag, ",".join(value) if isinstance(value, (list, tuple)) else str(value)]
    return given


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
        ConfigError: the settings or the data cannot be used.
        ModelError: the weights cannot be used.
        ImageError: a picture cannot be read any more.
        RuntimeUnavailableError: TensorFlow, Keras or a TFLite runtime is missing.
    """
    started_s = time.monotonic()
    _check(settings)
    row = backbone(settings.backbone)
    state = _begin(settings, out)
    progress.step("reading the pictures")
    with progress.pictures(None) as done:
        dataset = _dataset(settings, out, done)
    seconds = {"pictures": time.monotonic() - started_s}
    progress.step(f"building {row.name}")
    require_tensorflow()
    classifier, found = weights.pretrained(row, settings.weights, settings.licence)
    model = heads.with_head(classifier, Head(settings.hidden, settings.dropout), len(dataset.classes), settings.seed)
    run = _Run(settings, found, model, dataset, row.float_input(), cache or features.cache_folder(), progress, seconds)
    fit = head_fit = _stage(run, "head", POOL, state)
    if settings.mode == "finetune" and not fit.interrupted:
        fit = _stage(run, "finetune", heads.cut_before(model, settings.blocks), state)
    best, head_best = fit.best, head_fit.best
    if best is None or head_best is None or (fit.interrupted and len(head_fit.history) < 2):
        raise KeyboardInterrupt  # before the first epoch: there is nothing to keep
    history = head_fit.history + (fit.history if fit is not head_fit else [])
    answers = _answers(run)
    seconds["all"] = time.monotonic() - started_s
    metrics = training_report.measure(
        dataset,
        answers,
        backbone=row.name,
        weights=found.origin,
        weights_sha256=found.sha256,
        validation_accuracy=best.validation_accuracy,
        head_validation_accuracy=head_best.validation_accuracy,
        interrupted=fit.interrupted,
        settings=msgspec.to_builtins(settings),
        seconds={name: round(value, 1) for name, value in seconds.items()},
    )
    keras_files.save(out / MODEL_FILE, model, _card(run))
    training_report.write(out, metrics, history)
    if not fit.interrupted:
        shutil.rmtree(state)
    return metrics


def _check(settings: Settings) -> None:
    augment.check(settings.augment)
    for name, value, least in (
        ("epochs", settings.epochs, 1),
        ("finetune_epochs", settings.finetune_epochs, 1),
        ("batch", settings.batch, 1),
        ("views", settings.views, 1),
        ("patience", settings.patience, 1),
        ("blocks", settings.blocks, 1),
        ("seed", settings.seed, 0),
    ):
        if value < least:
            raise ConfigError(f"{value} was given for {name}: expected {least} or more.")
    for name, share in (("dropout", settings.dropout), ("label_smoothing", settings.label_smoothing)):
        if not 0 <= share < 1:
            raise ConfigError(f"{share} was given for {name}: expected a share of at least 0 and less than 1.")


def _begin(settings: Settings, out: Path) -> Path:
    """The folder of an unfinished run's state, with settings that are the same as now."""
    state = out / _STATE_FOLDER
    kept = out / _SETTINGS_FILE
    if (out / METRICS_FILE).exists() and not state.exists():
        raise ConfigError(f"{out} holds a finished training: give another --out, or delete it first.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not kept.exists())):
        raise ConfigError(f"{out} holds something other than a training: give a new name with --out.")
    document = msgspec.json.format(msgspec.json.encode(settings))
    if kept.exists() and kept.read_bytes() != document:
        raise ConfigError(
            f"{out} holds a training with other settings (see {kept}): repeat them to go on with it, or give another "
            "--out."
        )
    state.mkdir(parents=True, exist_ok=True)
    files.write(kept, document)
    return state


def _dataset(settings: Settings, out: Path, done: Callable[[int], object]) -> Dataset:
    """The split of an unfinished run, or a new one, kept beside the results."""

    def read(_done: int, _count: int) -> None:
        done(1)

    kept = out / SPLIT_FILE
    roots = [Path(folder) for folder in settings.data]
    if kept.exists():
        return datasets.read_split(kept, Path(os.path.commonpath([os.path.abspath(folder) for folder in roots])))
    if len(roots) > 1:
        dataset = datasets.from_parts(roots[0], roots[1], roots[2], read)
    elif settings.split is not None:
        dataset = datasets.read_split(Path(settings.split), roots[0])
    else:
        dataset = datasets.split(roots[0], settings.seed, settings.shares, progress=read)
    datasets.write_split(dataset, kept)
    return dataset


def require_tensorflow() -> None:
    """Import TensorFlow and let it use all processors, as training and measuring should.

    Raises:
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    tf = quantize.require_tensorflow()
    with contextlib.suppress(RuntimeError):  # something was computed already
        tf.config.threading.set_intra_op_parallelism_threads(default_threads())
    tf.zeros(())  # from here on the number stays


class _Run(NamedTuple):
    """What the stages of one training share."""

    settings: Settings
    found: weights.Weights
    model: Any
    dataset: Dataset
    input: InputSpec
    cache: Path
    progress: Progress
    seconds: dict[str, float]


def _stage(run: _Run, phase: str, cut: str, state: Path) -> Fit:
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
    # the test pictures too: one pass is faster than two
    plain = _rows(run, cut, run.dataset.pictures, 0)
    pictures = run.dataset.part("train")
    others = [_rows(run, cut, pictures, view) for view in range(1, settings.views)] if settings.augment else []
    train, validation = _part(run, plain, "train"), _part(run, plain, "validation")
    train = train._replace(views=[*train.views, *others], weights=_weights(run, train.class_ids))
    folder = state / phase
    folder.mkdir(exist_ok=True)
    run.progress.step(f"training the {f'last {settings.blocks} blocks' if fine else 'head'}")
    with _timed(run, phase), run.progress.epochs(recipe.epochs) as tell:
        return fitting.fit(heads.tail(run.model, cut), phase, train, validation, recipe, folder, tell)


def _part(run: _Run, rows: Rows, part: str) -> Part:
    """The pictures of one part, out of the features of all."""
    chosen = np.array([place for place, picture in enumerate(run.dataset.pictures) if picture.part == part])
    class_ids = np.array([run.dataset.pictures[place].class_id for place in chosen])
    return Part([Rows(rows.stored, rows.places[chosen])], class_ids)


def _weights(run: _Run, class_ids: NDArray[np.int64]) -> Optional[NDArray[np.float32]]:
    return heads.balanced(class_ids, len(run.dataset.classes))[class_ids] if run.settings.class_weights else None


def _rows(run: _Run, cut: str, pictures: Sequence[Picture], view: int) -> Rows:
    """What the network up to the layer `cut` makes of pictures."""
    frozen = heads.trunk(run.model, cut)
    trunk = Trunk(
        name=f"{run.model.name} {cut} {run.found.sha256 or run.found.origin}",
        input=run.input,
        shape=tuple(frozen.output_shape[1:]),
        convert=lambda: quantize.to_float(frozen),
    )
    items = [Item(picture.path, picture.sha256) for picture in pictures]
    run.progress.step(f"features at {cut}" + (f", view {view + 1} of {run.settings.views}" if view else ""))
    with _timed(run, "features"), run.progress.pictures(len(items)) as done:
        return features.features(trunk, items, View(run.settings.augment if view else (), view), run.cache, done)


def _answers(run: _Run) -> list[int]:
    """The class that the trained model takes each test picture for."""
    cut = POOL
    if run.settings.mode == "finetune":
        cut = heads.cut_before(run.model, run.settings.blocks)
    test = _part(run, _rows(run, cut, run.dataset.pictures, 0), "test")
    scores = fitting.predict(heads.tail(run.model, cut), test.views[0])
    return [int(answer) for answer in scores.argmax(axis=1)]


@contextlib.contextmanager
def _timed(run: _Run, name: str) -> Iterator[None]:
    started_s = time.monotonic()
    try:
        yield
    finally:
        run.seconds[name] = run.seconds.get(name, 0.0) + time.monotonic() - started_s


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
