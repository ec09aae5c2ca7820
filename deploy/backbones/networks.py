"""The Keras models of the backbones, each by a function that its row names, and where a model can be cut.

Nothing here is random from run to run: without pretrained weights a model has numbers from one fixed seed, drawn
apart from Keras' global one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from edge.errors import ModelError

if TYPE_CHECKING:
    from deploy.backbones import Backbone

IMAGENET_CLASSES = 1000
POOL = "pool"
HEAD = "_fc"
"""The dense layer's name in EfficientNet-Lite's checkpoints, and so in all models."""
_RANDOM_SEED = 0
_BATCH_NORM_EPSILON = 1e-3  # of EfficientNet and of MobileNetV2
_BRANCH_GAMMA = 0.5
_STEM_CHANNELS = 32
_TOP_CHANNELS = 1280
# Of the pictures that EfficientNet was trained on, as shares of 255. Source: google/automl, efficientnet.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Stage(NamedTuple):
    """Inverted residual blocks of one kind: a row of the tables in the papers."""

    repeats: int
    kernel_px: int
    stride: int
    """Of the first block; the others have 1."""
    expansion: int
    channels: int


# Mingxing Tan, Quoc V. Le: EfficientNet (2019), table 1.
_EFFICIENTNET = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
# Mark Sandler et al.: MobileNetV2 (2018), table 2.
_MOBILENET_V2 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)


def mobilenet_v2(row: Backbone, classes: int = IMAGENET_CLASSES) -> Any:
    """MobileNetV2 1.0: the same numbers as `keras.applications.MobileNetV2`, without its layers that only pad."""
    return _inverted_residuals(row, _MOBILENET_V2, classes)


def efficientnet_lite(row: Backbone, classes: int = IMAGENET_CLASSES, *, width: float = 1.0, depth: float = 1.0) -> Any:
    """EfficientNet-Lite: no squeeze-and-excitation, ReLU6, and a stem and top that do not scale.

    Args:
        row: its name and size.
        classes: of the head.
        width: factor on the channels of Lite0.
        depth: factor on the repeats of Lite0.
    """
    last = len(_EFFICIENTNET) - 1
    stages = tuple(
        stage._replace(
            channels=scaled_channels(stage.channels, width),
            # Lite keeps the first and the last stage at their length
            repeats=stage.repeats if number in (0, last) else math.ceil(stage.repeats * depth),
        )
        for number, stage in enumerate(_EFFICIENTNET)
    )
    return _inverted_residuals(row, stages, classes)


def application(row: Backbone, classes: int = IMAGENET_CLASSES, *, name: str) -> Any:
    """A network of `keras.applications` up to its features, with the end that all models here have.

    Args:
        row: its name and size.
        classes: of the head.
        name: of the function in `keras.applications`.
    """
    import keras
    import numpy as np

    picture = _picture(row)
    features = getattr(keras.applications, name)(include_top=False, weights=None, input_tensor=picture)
    model = _classifier(row, picture, features.output, classes)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            # Keras' weights come with another division by the root of the deviation: this is both at once
            mean, deviation = np.asarray([_IMAGENET_MEAN, _IMAGENET_STD], np.float32)
            layer.set_weights([mean, deviation**2, np.int64(0)])
            layer.finalize_state()
    return model


def scaled_channels(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8 and never more than 10 % below. Source: the paper's code."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


def block_ends(model: Any) -> tuple[str, ...]:
    """Names of the layers, in order, where a network can be cut between two blocks.

    There, one tensor is all that the rest needs, and it is the sum or concatenation that ends a block or the tensor at
    which one branches off. A gate (squeeze-and-excitation) is no block, and ends without anything to train between
    them are one, the last.
    """
    layers = model.layers
    sources = {layer: [node.operation for node in layer._inbound_nodes[0].parent_nodes] for layer in layers}
    consumers = Counter(source for given in sources.values() for source in given)
    unread = Counter[Any]()
    cuts: list[Any] = []
    for layer in layers:
        unread.subtract(sources[layer])
        if not +unread:
            cuts.append(layer)
        unread[layer] = consumers[layer]
    ends = [
        layer
        for layer, following in zip(cuts, [*cuts[1:], None])
        if (len(sources[layer]) > 1 and not _is_gate(layer)) or (consumers[layer] > 1 and not _is_gate(following))
    ]
    place = {layer: number for number, layer in enumerate(layers)}
    return tuple(
        layer.name
        for layer, following in zip(ends, [*ends[1:], None])
        if following is None or any(part.weights for part in layers[place[layer] + 1 : place[following] + 1])
    )


def place(model: Any, layer: Any, values: Sequence[Any], source: str) -> None:
    """Give a layer its variables, after a look at their shapes.

    Args:
        model: the layer's, for errors.
        layer: a Keras layer.
        values: NumPy or h5py arrays, one for each variable.
        source: the file that they came from, for errors.

    Raises:
        ModelError: their shapes are not the variables'.
    """
    import numpy as np

    given, expected = ([tuple(value.shape) for value in part] for part in (values, layer.weights))
    if given != expected:
        raise ModelError(
            f"{source} does not fit {model.name}: {layer.name} has shapes {given}, expected {expected}; give the "
            "weights of this very backbone."
        )
    layer.set_weights([np.asarray(value) for value in values])


def _is_gate(layer: Any) -> bool:
    return type(layer).__name__ == "Multiply"


def _picture(row: Backbone) -> Any:
    import keras

    return keras.Input((row.size_px, row.size_px, 3), name="image")


def _inverted_residuals(row: Backbone, stages: tuple[Stage, ...], classes: int) -> Any:
    """A stem, inverted residual blocks with ReLU6, and a top.

    Layers bear the names of the tensors in EfficientNet-Lite's published checkpoints, which so need no table.
    """
    import keras

    layers = keras.layers

    def convolution(tensor: Any, channels: int, kernel_px: int, stride: int, name: str) -> Any:
        return layers.Conv2D(channels, kernel_px, strides=stride, padding="same", use_bias=False, name=name)(tensor)

    def depthwise(tensor: Any, kernel_px: int, stride: int, name: str) -> Any:
        return layers.DepthwiseConv2D(kernel_px, strides=stride, padding="same", use_bias=False, name=name)(tensor)

    def normalized(tensor: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=name)(tensor)

    def activated(tensor: Any, name: str) -> Any:
        return layers.ReLU(6.0)(normalized(tensor, name))

    picture = _picture(row)
    tensor = activated(convolution(picture, _STEM_CHANNELS, 3, 2, "_conv_stem"), "_bn0")
    channels, block = _STEM_CHANNELS, 0
    for stage in stages:
        for repeat in range(stage.repeats):
            prefix, stride, shortcut = f"_blocks.{block}.", stage.stride if repeat == 0 else 1, tensor
            if stage.expansion != 1:
                tensor = convolution(tensor, channels * stage.expansion, 1, 1, prefix + "_expand_conv")
                tensor = activated(tensor, prefix + "_bn0")
            tensor = activated(depthwise(tensor, stage.kernel_px, stride, prefix + "_depthwise_conv"), prefix + "_bn1")
            tensor = normalized(convolution(tensor, stage.channels, 1, 1, prefix + "_project_conv"), prefix + "_bn2")
            if stride == 1 and channels == stage.channels:
                tensor = layers.Add()([tensor, shortcut])
            channels, block = stage.channels, block + 1
    tensor = activated(convolution(tensor, _TOP_CHANNELS, 1, 1, "_conv_head"), "_bn1")
    return _classifier(row, picture, tensor, classes)


def _classifier(row: Backbone, picture: Any, features: Any, classes: int) -> Any:
    """The end that all models have."""
    import keras

    tensor = keras.layers.GlobalAveragePooling2D(name=POOL)(features)
    tensor = keras.layers.Dense(classes, name=HEAD)(tensor)
    model = keras.Model(picture, keras.layers.Softmax(name="scores")(tensor), name=row.name)
    _draw(model)
    return model


def _draw(model: Any) -> None:
    """Random kernels that neither let numbers vanish nor leave the range of float16, the same each time."""
    import keras
    import numpy as np

    draw = np.random.default_rng(_RANDOM_SEED)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            depthwise = variable.shape[-1] == 1
            taps = math.prod(variable.shape[:2] if depthwise else variable.shape[:-1])
            values = draw.standard_normal(tuple(variable.shape), np.float32)
            variable.assign(values * np.float32(math.sqrt(2 / taps)))  # Kaiming He et al. (2015)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Add):
            for node in layer._inbound_nodes[0].parent_nodes:
                if isinstance(node.operation, keras.layers.BatchNormalization):
                    # residual branches begin small. Source: Priya Goyal et al. (2017), there with 0
                    node.operation.gamma.assign(np.full(node.operation.gamma.shape, _BRANCH_GAMMA, np.float32))
