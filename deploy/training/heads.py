"""The new head of a classifier, and a network cut in two: a frozen trunk and the tail that is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import msgspec

from deploy.backbones.networks import POOL, block_ends
from edge.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Head(msgspec.Struct, frozen=True):
    """What stands behind the pooled features."""

    hidden: Optional[int] = None
    """Units of a dense layer with ReLU before the last one; None: no such layer."""
    dropout: float = 0.2
    """Share of the features (and of the hidden units) that each training step leaves out."""


def with_head(classifier: Any, head: Head, classes: int, seed: int) -> Any:
    """A classifier with a new head on the old pooled features; the layers below are shared with the old one.

    Args:
        classifier: has a layer named "pool", which gives the pooled features.
        head: what to put there.
        classes: outputs, a softmax named "scores".
        seed: of the initial weights and of the dropout.
    """
    import keras

    layers = keras.layers

    def dense(tensor: Any, units: int, name: str, **options: Any) -> Any:
        kernel = keras.initializers.GlorotUniform(seed=seed)
        return layers.Dense(units, kernel_initializer=kernel, name=name, **options)(tensor)

    tensor = layers.Dropout(head.dropout, seed=seed, name="head_dropout")(classifier.get_layer(POOL).output)
    if head.hidden is not None:
        tensor = dense(tensor, head.hidden, "hidden", activation="relu")
        tensor = layers.Dropout(head.dropout, seed=seed + 1, name="hidden_dropout")(tensor)
    tensor = layers.Softmax(name="scores")(dense(tensor, classes, "logits"))
    return keras.Model(classifier.inputs, tensor, name=classifier.name)


def trunk(model: Any, cut: str) -> Any:
    """The network up to the output of the layer `cut`."""
    import keras

    return keras.Model(model.inputs, model.get_layer(cut).output, name=f"{model.name}_to_{cut}")


def tail(model: Any, cut: str) -> Any:
    """The network behind the layer `cut`, sharing its layers: what is trained here is trained there.

    BatchNormalization stays as it was trained: a few thousand pictures would spoil its statistics.
    """
    import keras

    part = keras.Model(model.get_layer(cut).output, model.outputs[0], name=f"{model.name}_from_{cut}")
    for layer in part.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return part


def cut_before(model: Any, blocks: int) -> str:
    """Name of the layer at which the last `blocks` blocks begin.

    Raises:
        ConfigError: there are not that many.
    """
    ends = [name for name in block_ends(model) if name != POOL]
    if not 1 <= blocks <= len(ends):
        raise ConfigError(f"{blocks} blocks were asked for: {model.name} can train its last 1 to {len(ends)}.")
    return ends[-blocks]


def balanced(class_ids: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weight of each class so that all count the same: pictures / (classes * pictures of the class)."""
    import numpy as np

    counts = np.bincount(class_ids, minlength=classes)
    weights: NDArray[np.float32] = (len(class_ids) / (classes * np.maximum(counts, 1))).astype(np.float32)
    return weights
