"""Trains the tail of a network on features, epoch by epoch; a run that was interrupted goes on where it stopped."""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy import files
from deploy.training.features import Rows
from edge.errors import ConfigError

_STATE_FILE = "state.npz"
_EVALUATION_BATCH = 64


class Recipe(msgspec.Struct, frozen=True):
    """How to train."""

    epochs: int
    batch: int
    learning_rate: float
    """The highest, of Adam; it falls to zero along a half cosine."""
    warmup_epochs: float
    """Epochs over which it first rises from zero, along a line."""
    patience: int
    """Epochs without a better validation result after which training ends."""
    label_smoothing: float
    seed: int


class Epoch(msgspec.Struct, frozen=True):
    """What one pass over the training pictures came to. Losses are cross-entropies in nats, accuracies shares.

    Label smoothing and weights are in the training loss and not in that of validation.
    """

    phase: str
    epoch: int
    """From 1; 0 is the state before the first."""
    train_loss: Optional[float]
    """Means over the epoch, with dropout at work."""
    train_accuracy: Optional[float]
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    """At the end of the epoch."""
    seconds: float

    def better_than(self, other: Optional[Epoch]) -> bool:
        """Whether more of the validation pictures are right or, at as many, the loss is lower."""
        if other is None:
            return True
        return (self.validation_accuracy, -self.validation_loss) > (other.validation_accuracy, -other.validation_loss)


class Part(NamedTuple):
    """Pictures to train or validate on."""

    views: Sequence[Rows]
    """Features of the pictures, once for each way to see them; epoch n takes view n modulo their number."""
    class_ids: NDArray[np.int64]
    weights: Optional[NDArray[np.float32]] = None
    """Of each picture in the loss; None: all alike."""


class Fit(NamedTuple):
    """What came of it; the model has the best epoch's weights."""

    history: list[Epoch]
    best: Epoch
    interrupted: bool


class _State(msgspec.Struct):
    """How far a training is."""

    history: list[Epoch]
    best: Optional[Epoch] = None
    best_weights: list[Any] = []

    def add(self, epoch: Epoch, model: Any) -> None:
        if epoch.better_than(self.best):
            self.best_weights = [variable.numpy() for variable in model.variables]
            self.best = epoch
        self.history.append(epoch)

    def finished(self, recipe: Recipe) -> bool:
        assert self.best is not None  # the untrained state is the first
        last = self.history[-1].epoch
        return last >= recipe.epochs or last - self.best.epoch >= recipe.patience


def fit(
    model: Any, phase: str, train: Part, validation: Part, recipe: Recipe, folder: Path, tell: Callable[[Epoch], object]
) -> Fit:
    """Train a model and leave it with the weights of its best epoch, the untrained state counting as epoch 0.

    Args:
        model: a Keras model from features to class scores.
        phase: name of this stage in the history.
        train: what to learn from.
        validation: what decides which epoch is the best and when to stop.
        recipe: how.
        folder: keeps the state after each epoch; a state that is found there is gone on from.
        tell: is called after each epoch.

    A KeyboardInterrupt ends training with the best epoch so far; it is passed on when there is none.

    Raises:
        ConfigError: the state cannot be written or read, or the learning rate is so high that numbers overflow.
    """
    _compile(model, recipe, math.ceil(len(train.class_ids) / recipe.batch))
    path = folder / _STATE_FILE
    state = _State([], best_weights=[variable.numpy() for variable in model.variables])
    interrupted = False
    try:
        if path.exists():
            state = _restore(path, model)
        else:
            state.add(_validated(model, phase, 0, validation), model)
        while not state.finished(recipe):
            epoch = _epoch(model, phase, state.history[-1].epoch + 1, train, validation, recipe)
            state.add(epoch, model)
            _keep(path, model, state)
            tell(epoch)
    except KeyboardInterrupt:
        interrupted = True
    for variable, value in zip(model.variables, state.best_weights):
        variable.assign(value)
    if state.best is None:
        raise KeyboardInterrupt
    return Fit(state.history, state.best, interrupted)


def _compile(model: Any, recipe: Recipe, steps: int) -> None:
    import keras

    warmup = min(round(recipe.warmup_epochs * steps), recipe.epochs * steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        recipe.epochs * steps - warmup,
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    model.compile(
        keras.optimizers.Adam(schedule),
        keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)


def _epoch(model: Any, phase: str, number: int, train: Part, validation: Part, recipe: Recipe) -> Epoch:
    started_s = time.monotonic()
    rows = train.views[(number - 1) % len(train.views)]
    order = np.random.default_rng([recipe.seed, number]).permutation(len(train.class_ids))
    classes = model.output_shape[-1]
    totals = np.zeros(2)
    for chosen in _batches(order, recipe.batch):
        weights = None if train.weights is None else train.weights[chosen]
        truth = np.eye(classes, dtype=np.float32)[train.class_ids[chosen]]
        said = model.train_on_batch(rows.take(chosen), truth, sample_weight=weights, return_dict=True)
        totals += len(chosen) * np.array([said["loss"], said["accuracy"]])  # Keras tells those of this batch
    loss, accuracy = totals / len(order)
    after = _validated(model, phase, number, validation)
    return msgspec.structs.replace(
        after,
        train_loss=float(loss),
        train_accuracy=float(accuracy),
        learning_rate=float(np.asarray(model.optimizer.learning_rate)),
        seconds=round(time.monotonic() - started_s, 3),
    )


def _validated(model: Any, phase: str, number: int, validation: Part) -> Epoch:
    scores = predict(model, validation.views[0])
    if not np.isfinite(scores).all():
        raise ConfigError(
            f"Training ran out of the range of numbers in epoch {number} of {phase}: give a lower learning rate."
        )
    truth = scores[np.arange(len(scores)), validation.class_ids].astype(np.float64)
    return Epoch(
        phase=phase,
        epoch=number,
        train_loss=None,
        train_accuracy=None,
        validation_loss=float(-np.log(np.maximum(truth, np.finfo(np.float32).tiny)).mean()),
        validation_accuracy=float((scores.argmax(axis=1) == validation.class_ids).mean()),
        learning_rate=0.0,
        seconds=0.0,
    )


def predict(model: Any, rows: Rows) -> NDArray[np.float32]:
    """Class scores of pictures, shape (pictures, classes)."""
    order = np.arange(len(rows.places))
    batches = _batches(order, _EVALUATION_BATCH)
    return np.concatenate([np.asarray(model.predict_on_batch(rows.take(chosen))) for chosen in batches])


def _batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _keep(path: Path, model: Any, state: _State) -> None:
    """Write the state, so that a run that ends at any moment can go on from its last whole epoch."""
    arrays = {f"best_{place}": value for place, value in enumerate(state.best_weights)}
    for prefix, variables in _kept(model):
        arrays |= {f"{prefix}_{place}": variable.numpy() for place, variable in enumerate(variables)}
    told = msgspec.json.encode({"history": state.history, "best": state.best})
    content = io.BytesIO()
    np.savez(content, state=np.frombuffer(told, np.uint8), **arrays)
    files.write(path, content.getvalue())


def _restore(path: Path, model: Any) -> _State:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            state = msgspec.json.decode(arrays["state"].tobytes(), type=_State)
            for prefix, variables in _kept(model):
                for place, variable in enumerate(variables):
                    variable.assign(arrays[f"{prefix}_{place}"])
            state.best_weights = [arrays[f"best_{place}"] for place in range(len(model.variables))]
            return state
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"Cannot go on from {path} ({detail}): delete its folder to begin anew.") from None


def _kept(model: Any) -> tuple[tuple[str, list[Any]], ...]:
    return ("model", model.variables), ("optimizer", model.optimizer.variables)
