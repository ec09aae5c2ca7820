"""The networks that `edge-deploy` can build: one row each, and the function that makes its Keras model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import msgspec

from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.tensors import InputSpec, Interpolation


class Backbone(msgspec.Struct, frozen=True):
    """One network and how its pictures are prepared."""

    name: str
    size_px: int
    """Side of the square input."""
    parameters: int
    """Trainable parameters with the 1000-class head; the build checks that its model has as many."""
    width: float
    """Factor on the channels of EfficientNet-Lite0."""
    depth: float
    """Factor on the repeats of EfficientNet-Lite0."""
    build: Callable[[Backbone], Any]
    """Makes the Keras model: input float32 (1, size_px, size_px, 3), output softmax (1, 1000)."""
    least_agreement_percent: float = 97.0
    """Bar: pictures with the same top-1 before and after quantization; within the error of what README.md measured."""
    mean: float = 127.0
    std: float = 128.0
    """Trained on (pixel - mean) / std. Source: google/automl, efficientnet/lite."""
    crop_margin_px: int = 32
    """Evaluation shows the centre size_px / (size_px + crop_margin_px) of the short side. Source: the same."""
    interpolation: Interpolation = "bilinear"
    """Trained with bicubic. OpenCV's bilinear is as accurate within the error of measurement, and faster: README.md."""

    def float_input(self) -> InputSpec:
        """What the float model expects; the quantized one expects the same with its own dtype and scale."""
        from edge.tensors import InputSpec

        return InputSpec(
            height_px=self.size_px,
            width_px=self.size_px,
            dtype="float32",
            mean=(self.mean,),
            std=(self.std,),
            resize="crop",
            crop_fraction=self.size_px / (self.size_px + self.crop_margin_px),
            interpolation=self.interpolation,
        )


class _Stage(NamedTuple):
    """A row of EfficientNet-B0's table: inverted residual blocks of one kind."""

    repeats: int
    kernel_px: int
    stride: int
    expansion: int
    channels: int


# Mingxing Tan, Quoc V. Le: EfficientNet (2019), table 1.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_CLASSES = 1000
_BATCH_NORM_EPSILON = 1e-3
_RANDOM_SEED = 0


def scaled_channels(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8 and never more than 10 % below. Source: the paper's code."""
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


def efficientnet_lite(row: Backbone) -> Any:
    """EfficientNet-Lite: no squeeze-and-excitation, ReLU6, and a stem and head that do not scale.

    Layers bear the names of the published checkpoints' tensors, so that `load` needs no table. The input is
    fixed to one picture: TensorFlow Lite then knows every shape.
    """
    import keras

    seeds = iter(range(_RANDOM_SEED, 1 << 16))
    layers = keras.layers

    def convolution(tensor: Any, channels: int, kernel_px: int, stride: int, name: str) -> Any:
        weights = keras.initializers.HeNormal(seed=next(seeds))
        options = {"padding": "same", "use_bias": False, "kernel_initializer": weights, "name": name}
        return layers.Conv2D(channels, kernel_px, strides=stride, **options)(tensor)

    def depthwise(tensor: Any, kernel_px: int, stride: int, name: str) -> Any:
        weights = keras.initializers.HeNormal(seed=next(seeds))
        options = {"padding": "same", "use_bias": False, "depthwise_initializer": weights, "name": name}
        return layers.DepthwiseConv2D(kernel_px, strides=stride, **options)(tensor)

    def normalized(tensor: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=name)(tensor)

    def activated(tensor: Any, name: str) -> Any:
        return layers.ReLU(6.0)(normalized(tensor, name))

    picture = keras.Input((row.size_px, row.size_px, 3), batch_size=1, name="image")
    tensor = activated(convolution(picture, _STEM_CHANNELS, 3, 2, "_conv_stem"), "_bn0")
    channels, block = _STEM_CHANNELS, 0
    for number, stage in enumerate(_STAGES):
        scaled = scaled_channels(stage.channels, row.width)
        # Lite keeps the first and the last stage at their length
        repeats = stage.repeats if number in (0, len(_STAGES) - 1) else math.ceil(stage.repeats * row.depth)
        for repeat in range(repeats):
            prefix, stride, shortcut = f"_blocks.{block}.", stage.stride if repeat == 0 else 1, tensor
            if stage.expansion != 1:
                tensor = convolution(tensor, channels * stage.expansion, 1, 1, prefix + "_expand_conv")
                tensor = activated(tensor, prefix + "_bn0")
            tensor = activated(depthwise(tensor, stage.kernel_px, stride, prefix + "_depthwise_conv"), prefix + "_bn1")
            tensor = normalized(convolution(tensor, scaled, 1, 1, prefix + "_project_conv"), prefix + "_bn2")
            if stride == 1 and channels == scaled:
                tensor = layers.Add()([tensor, shortcut])
            channels, block = scaled, block + 1
    tensor = activated(convolution(tensor, _HEAD_CHANNELS, 1, 1, "_conv_head"), "_bn1")
    tensor = layers.GlobalAveragePooling2D(name="pool")(tensor)
    tensor = layers.Dense(_CLASSES, kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)), name="_fc")(
        tensor
    )
    return keras.Model(picture, layers.Softmax(name="scores")(tensor), name=row.name)


BACKBONES = {
    row.name: row
    for row in (
        Backbone("efficientnet_lite0", 224, 4_652_008, 1.0, 1.0, efficientnet_lite, least_agreement_percent=98.0),
        Backbone("efficientnet_lite1", 240, 5_416_680, 1.0, 1.1, efficientnet_lite),
        Backbone("efficientnet_lite2", 260, 6_092_072, 1.1, 1.2, efficientnet_lite),
        Backbone("efficientnet_lite3", 280, 8_197_096, 1.2, 1.4, efficientnet_lite),
        Backbone("efficientnet_lite4", 300, 13_006_568, 1.4, 1.8, efficientnet_lite),
    )
}


def backbone(name: str) -> Backbone:
    """The row of that name.

    Raises:
        ConfigError: there is none; names those that are known.
    """
    if name not in BACKBONES:
        raise ConfigError(f"No backbone {name!r}: expected one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]
