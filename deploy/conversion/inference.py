"""A Keras model as it is converted: one flat graph, without what only training needs."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Callable, Optional, TypeVar

from edge.tensors import InputSpec

_MOST_WORKERS = 4  # each holds the statistics of one picture, some 100 MB
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def for_inference(model: Any, spec: Optional[InputSpec] = None) -> Any:
    """A copy of a Keras model for one picture: models inside it become its own layers, dropout and the like go.

    Args:
        model: one input and one output, functional or sequential; stays as it is.
        spec: put its normalization in front of the layers; the copy's input is the pixel itself then.

    Returns:
        A functional model of the same name that computes the same.
    """
    import keras

    nested = (keras.models.Model,)
    only_training = (
        *(keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.AlphaDropout),
        *(keras.layers.GaussianDropout, keras.layers.GaussianNoise, keras.layers.ActivityRegularization),
        *(
            keras.layers.RandomFlip,
            keras.layers.RandomRotation,
            keras.layers.RandomZoom,
            keras.layers.RandomTranslation,
        ),
        *(keras.layers.RandomContrast, keras.layers.RandomBrightness),
    )
    twins: dict[int, Any] = {}
    names: Counter[str] = Counter()

    def step(operation: Any) -> Any:
        if isinstance(operation, only_training):
            return lambda tensor, **_: tensor
        if isinstance(operation, nested):
            return lambda tensor, **_: run(operation, tensor)
        if not isinstance(operation, keras.layers.Layer):
            return operation  # of keras.ops: it has no weights
        if id(operation) not in twins:
            twins[id(operation)] = twin(operation)
        return twins[id(operation)][1]

    def twin(layer: Any) -> tuple[Any, Any]:
        settings = layer.get_config()
        names[layer.name] += 1
        if names[layer.name] > 1:  # models inside may use a name again
            settings["name"] = f"{layer.name}_{names[layer.name]}"
        return layer, type(layer).from_config(settings)

    def run(part: Any, tensor: Any) -> Any:
        # clone_model, which is public, begins at inputs only: it cannot put a model in the middle of another
        graph = part._functional if isinstance(part, keras.Sequential) else part
        return graph._run_through_graph(tensor, operation_fn=step)

    (given,) = model.inputs
    picture = keras.Input(given.shape[1:], batch_size=1, name="image")
    tensor = picture
    if spec is not None:
        scale = [1 / std for std in (spec.std * 3)[:3]]  # one value is for all three
        offset = [-mean * factor for mean, factor in zip((spec.mean * 3)[:3], scale)]
        tensor = keras.layers.Rescaling(scale, offset, name="normalization")(picture)
    flat = keras.Model(picture, run(model, tensor), name=model.name)
    for layer, copy in twins.values():
        copy.set_weights(layer.get_weights())
        if hasattr(copy, "finalize_state"):  # Normalization computes with what it makes of its weights
            copy.finalize_state()
    return flat


def in_order(compute: Callable[[_Given], _Made], given: Iterable[_Given]) -> Iterator[_Made]:
    """What a function makes of each item, in their order, computed on several processors.

    TensorFlow is held to one thread, so that a sum is the same on every machine; whole pictures can be shared out.
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    items = iter(given)
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(compute, item) for item in islice(items, workers))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(compute, item) for item in islice(items, 1))
            yield made
