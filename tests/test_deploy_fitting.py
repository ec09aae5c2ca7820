"""Training on features: deterministic, interruptible, and never worse than it began."""

from __future__ import annotations

import mmap
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from deploy.training import fitting
from deploy.training.features import Rows
from deploy.training.fitting import Epoch, Part, Recipe
from edge.errors import ConfigError
from tests.conftest import full_disk

pytestmark = pytest.mark.usefixtures("tensorflow", "ctrl_c")

RECIPE = Recipe(epochs=6, batch=16, learning_rate=0.1, warmup_epochs=1.0, patience=6, label_smoothing=0.0, seed=0)


def rows(values: np.ndarray) -> Rows:
    mapped = mmap.mmap(-1, values.nbytes)
    mapped.write(values.tobytes())
    return Rows(mapped, np.frombuffer(mapped, values.dtype).reshape(values.shape), np.arange(len(values)))


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping clouds."""
    draw = np.random.default_rng(seed)
    class_ids = np.arange(count) % 3
    return (2 * np.eye(3, 8)[class_ids] + draw.normal(0, 0.7, (count, 8))).astype(np.float32), class_ids


def make(dropout: float = 0.3) -> Any:
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dropout(dropout, seed=5),
            layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=1), activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def train() -> Part:
    views = [points(100, seed) for seed in (1, 2)]
    return Part([rows(values) for values, _ in views], views[0][1])


@pytest.fixture(scope="module")
def validation() -> Part:
    values, class_ids = points(60, 3)
    return Part([rows(values)], class_ids)


def weights_of(model: Any) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.variables]


def measured(history: list[Epoch]) -> list[Epoch]:
    """Without what differs from run to run."""
    return [msgspec.structs.replace(epoch, seconds=0.0) for epoch in history]


def nothing(epoch: Epoch) -> None:
    pass


def test_training_ends_with_the_best_epoch_and_tells_the_truth(train: Part, validation: Part, tmp_path: Path) -> None:
    model, told = make(), []
    fit = fitting.fit(model, "head", train, validation, RECIPE, tmp_path, told.append)
    assert [epoch.epoch for epoch in fit.history] == list(range(7))
    assert told == fit.history[1:]
    assert not fit.interrupted
    assert fit.best == max(fit.history, key=lambda epoch: (epoch.validation_accuracy, -epoch.validation_loss))
    assert fit.best.validation_accuracy > 0.7 > fit.history[0].validation_accuracy
    scores = fitting.predict(model, validation.views[0])
    assert scores.shape == (60, 3)
    assert (scores.argmax(axis=1) == validation.class_ids).mean() == pytest.approx(fit.best.validation_accuracy)
    loss = -np.log(scores[np.arange(60), validation.class_ids]).mean()
    assert loss == pytest.approx(fit.best.validation_loss, rel=1e-4)
    assert fit.history[0].train_loss is None


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine(train: Part, validation: Part, tmp_path: Path) -> None:
    fit = fitting.fit(make(), "finetune", train, validation, RECIPE, tmp_path, nothing)
    rates = [epoch.learning_rate for epoch in fit.history[1:]]
    wanted = [0.1 * (1 + np.cos(np.pi * epoch / 5)) / 2 for epoch in range(6)]
    np.testing.assert_allclose(rates, wanted, atol=1e-7)


def test_without_noise_the_told_loss_is_that_of_the_batches(train: Part, validation: Part, tmp_path: Path) -> None:
    model = make(dropout=0.0)
    scores = fitting.predict(model, train.views[0])
    wanted = -np.log(scores[np.arange(100), train.class_ids]).mean()
    still = msgspec.structs.replace(RECIPE, epochs=1, learning_rate=1e-12)
    fit = fitting.fit(model, "head", train, validation, still, tmp_path, nothing)
    assert fit.history[1].train_loss == pytest.approx(wanted, rel=1e-4)
    assert fit.history[1].train_accuracy == pytest.approx((scores.argmax(axis=1) == train.class_ids).mean(), abs=1e-6)


def test_weights_move_the_answers_to_what_weighs_more(train: Part, validation: Part, tmp_path: Path) -> None:
    shares = []
    for weight in (1.0, 30.0):
        weights = np.where(train.class_ids == 0, weight, 1.0).astype(np.float32)
        model = make()
        fitting.fit(model, "head", train._replace(weights=weights), validation, RECIPE, tmp_path / str(weight), nothing)
        shares.append((fitting.predict(model, train.views[0]).argmax(axis=1) == 0).mean())
    assert shares[1] > shares[0] + 0.1


def test_early_stopping(train: Part, validation: Part, tmp_path: Path) -> None:
    stuck = msgspec.structs.replace(RECIPE, learning_rate=1e-12, warmup_epochs=0.0, epochs=50, patience=3)
    fit = fitting.fit(make(), "head", train, validation, stuck, tmp_path, nothing)
    assert len(fit.history) - 1 - fit.best.epoch == 3


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_run_goes_on_as_if_it_had_not_been_interrupted(
    train: Part, validation: Part, tmp_path: Path, stop: int
) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == stop:
            signal.raise_signal(signal.SIGINT)

    whole, parts = make(), make()
    wanted = fitting.fit(whole, "head", train, validation, RECIPE, tmp_path / "whole", nothing)
    first = fitting.fit(parts, "head", train, validation, RECIPE, tmp_path / "parts", interrupt)
    assert first.interrupted
    assert measured(first.history) == measured(wanted.history[: stop + 1])
    again = make()
    second = fitting.fit(again, "head", train, validation, RECIPE, tmp_path / "parts", nothing)
    assert not second.interrupted
    assert measured(second.history) == measured(wanted.history)
    assert all(np.array_equal(one, other) for one, other in zip(weights_of(again), weights_of(whole)))


def test_an_interruption_at_the_very_beginning_is_passed_on(train: Part, validation: Part, tmp_path: Path) -> None:
    class Early(Rows):
        def take(self, chosen: np.ndarray) -> np.ndarray:
            signal.raise_signal(signal.SIGINT)
            return super().take(chosen)

    model = make()
    before = weights_of(model)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(
            model, "head", train, validation._replace(views=[Early(*validation.views[0])]), RECIPE, tmp_path, nothing
        )
    assert all(np.array_equal(one, other) for one, other in zip(weights_of(model), before))


def test_numbers_out_of_range_are_one_sentence(train: Part, validation: Part, tmp_path: Path) -> None:
    wild = msgspec.structs.replace(RECIPE, learning_rate=1e38, warmup_epochs=0.0)
    with pytest.raises(ConfigError, match=r"ran out of the range of numbers in epoch \d of head: give a lower"):
        fitting.fit(make(), "head", train, validation, wild, tmp_path, nothing)


def test_a_damaged_state_is_one_sentence(train: Part, validation: Part, tmp_path: Path) -> None:
    short = msgspec.structs.replace(RECIPE, epochs=1, warmup_epochs=0.0)
    fitting.fit(make(), "head", train, validation, short, tmp_path, nothing)
    (state,) = tmp_path.iterdir()
    content = state.read_bytes()
    places = np.linspace(0, len(content) - 1, 60).astype(int)
    damaged = [content[:place] for place in places]
    damaged += [content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :] for place in places]
    model, said = make(), []
    for wrong in damaged:
        state.write_bytes(wrong)
        try:
            fitting.fit(model, "head", train, validation, short, tmp_path, nothing)
        except ConfigError as error:
            said.append(str(error))
    assert len(said) > 100  # a zip archive has bytes that mean nothing, such as times
    assert all("delete its folder to begin anew" in sentence and "\n" not in sentence for sentence in said)


def test_a_state_of_another_network_is_one_sentence(train: Part, validation: Part, tmp_path: Path) -> None:
    import keras

    fitting.fit(make(), "head", train, validation, RECIPE, tmp_path, nothing)
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(ConfigError, match="Cannot go on from"):
        fitting.fit(other, "head", train, validation, RECIPE, tmp_path, nothing)


def test_a_full_disk_is_one_sentence(train: Part, validation: Part, tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    large = keras.Sequential([keras.Input((8,)), layers.Dense(400), layers.Dense(3, activation="softmax")])
    with full_disk(), pytest.raises(ConfigError, match=r"Cannot write .*state\.npz: File too large\."):
        fitting.fit(large, "head", train, validation, RECIPE, tmp_path, nothing)
    assert list(tmp_path.iterdir()) == []
