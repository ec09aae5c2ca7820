"""New heads, networks cut in two, and weights of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.training import heads
from deploy.training.heads import Head
from edge.errors import ConfigError


@given(st.lists(st.integers(0, 6), min_size=1), st.integers(7, 9))
def test_balanced_classes_count_the_same(class_ids: list[int], classes: int) -> None:
    given = np.array(class_ids)
    weights = heads.balanced(given, classes)
    assert weights.shape == (classes,)
    assert weights.dtype == np.float32
    totals = np.bincount(given, weights=weights[given], minlength=classes)
    present = np.unique(given)
    np.testing.assert_allclose(totals[present], len(given) / classes, rtol=1e-5)
    assert np.isfinite(weights).all()


def test_two_classes_by_hand() -> None:
    assert heads.balanced(np.array([0, 0, 0, 1]), 2).tolist() == pytest.approx([4 / 6, 2])


@pytest.fixture(scope="module")
def classifier(tensorflow: None) -> Any:
    from deploy.backbones import backbone, weights

    return weights.pretrained(backbone("efficientnet_lite0"), "random")[0]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)


@pytest.mark.parametrize(("hidden", "parameters"), [(None, 1281 * 5), (128, 1281 * 128 + 129 * 5)])
def test_a_head_has_its_layers_and_the_seed_decides(classifier: Any, hidden: int | None, parameters: int) -> None:
    one, same, other = (heads.with_head(classifier, Head(hidden, 0.5), 5, seed) for seed in (0, 0, 1))
    tails = [heads.tail(model, "pool") for model in (one, same, other)]
    assert sum(np.prod(variable.shape) for variable in tails[0].trainable_variables) == parameters
    assert sum("dropout" in layer.name for layer in one.layers) == (1 if hidden is None else 2)
    features = np.random.default_rng(0).uniform(0, 1, (4, 1280)).astype(np.float32)
    first, second, third = (tail.predict_on_batch(features) for tail in tails)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(first, second)
    assert not np.allclose(first, third)
    noisy = [np.asarray(tail(features, training=True)) for tail in tails[:2]]
    assert np.array_equal(*noisy)
    assert not np.allclose(noisy[0], first)


@pytest.mark.parametrize("blocks", [1, 2, 4, 10])
def test_trunk_and_tail_are_the_network(classifier: Any, picture: np.ndarray, blocks: int) -> None:
    model = heads.with_head(classifier, Head(), 3, 0)
    cut = heads.cut_before(model, blocks)
    trunk, tail = heads.trunk(model, cut), heads.tail(model, cut)
    whole = model.predict_on_batch(picture)
    np.testing.assert_allclose(tail.predict_on_batch(trunk.predict_on_batch(picture)), whole, atol=1e-5)
    frozen = {id(variable) for variable in trunk.variables}
    assert not frozen & {id(variable) for variable in tail.variables}
    assert len(frozen) + len(tail.variables) == len(model.variables)


def test_batch_normalization_stays_as_it_was_and_the_rest_is_trained(classifier: Any) -> None:
    import keras

    model = heads.with_head(classifier, Head(), 3, 0)
    tail = heads.tail(model, heads.cut_before(model, 1))
    tail.compile("sgd", "categorical_crossentropy")
    norms = [layer for layer in tail.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [variable.numpy() for layer in norms for variable in layer.variables]
    kernel = tail.get_layer("_conv_head").kernel.numpy()
    features = np.random.default_rng(0).normal(5, 3, (8, *tail.input_shape[1:])).astype(np.float32)
    tail.train_on_batch(features, np.eye(3, dtype=np.float32)[np.arange(8) % 3])
    after = [variable.numpy() for layer in norms for variable in layer.variables]
    assert norms
    assert all(np.array_equal(one, other) for one, other in zip(before, after))
    assert not np.array_equal(model.get_layer("_conv_head").kernel.numpy(), kernel)


@pytest.mark.parametrize("blocks", [0, 99])
def test_blocks_that_are_not_there(classifier: Any, blocks: int) -> None:
    with pytest.raises(ConfigError, match=f"{blocks} blocks were asked for: efficientnet_lite0 can train its last 1 "):
        heads.cut_before(classifier, blocks)
