"""Where pretrained weights come from, each with its SHA-256 and licence, and how they enter a Keras model."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

import msgspec

from deploy.backbones.networks import HEAD, IMAGENET_CLASSES, POOL, place
from deploy.heavy import HOW_TO_INSTALL
from edge.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deploy.backbones import Backbone, Download, Package

RANDOM = "random"
_CHOICES = f"give --weights FILE, or --weights {RANDOM} for an untrained model"
_UNUSED_SUFFIX = ".num_batches_tracked"  # torch counts its training batches; inference does not


class Weights(msgspec.Struct, frozen=True):
    """Where a model's numbers come from."""

    origin: str
    licence: str
    sha256: Optional[str]
    """Of the file that they were read from; None for random ones."""
    classes: Optional[int]
    """Outputs of the head that came with them; None: the head is random."""
    background_offset: int = 0
    """1 when output 0 is a background class."""


def pretrained(row: Backbone, given: Optional[str], licence: Optional[str] = None) -> tuple[Any, Weights]:
    """A backbone's Keras model with weights in it.

    Args:
        row: the backbone.
        given: None: the published ones, from a package that is installed or from Keras' server; "random"; or the path
            of a .pth, .h5, .keras, .weights.h5 or .tflite file of the same architecture.
        licence: of the file, where one is given.

    Returns:
        The model with all its layers, and where its weights came from. It has as many classes as the weights, or 1000
        random ones where these have no head of one layer.

    Raises:
        ModelError: there are none, they cannot be read, or they are of another architecture.
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    if given == RANDOM:
        return built(row), Weights("random initialization, not trained", "none: random numbers", None, None)
    if given is not None:
        content = _read(Path(given))
        return _loaded(row, content, Path(given), Path(given).name, licence or "not stated by whoever gave the file")
    if row.package:
        path, content = _packaged(row.package)
        origin = f"{row.package.name} {row.package.version} (PyPI), {path.name}"
        return _loaded(row, content, path, origin, row.package.licence)
    if row.download:
        path = _downloaded(row.download, row.name)
        return _loaded(row, _read(path), path, f"{row.download.url} (Keras)", row.download.licence)
    raise ModelError(f"No weights of {row.name} are published as a package or by Keras: {_CHOICES}.")


def built(row: Backbone, classes: int = IMAGENET_CLASSES) -> Any:
    """The backbone's model with random numbers.

    Raises:
        ModelError: it has not the published number of parameters: Keras has changed, or the row is wrong.
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    from deploy.heavy import require_tensorflow

    require_tensorflow()
    model = row.build(row, classes)
    head = (model.get_layer(POOL).output.shape[-1] + 1) * (classes - IMAGENET_CLASSES)
    count = sum(math.prod(variable.shape) for variable in model.trainable_variables) - head
    if count != row.parameters:
        raise ModelError(f"{row.name} came out with {count} parameters, published are {row.parameters}: a defect.")
    return model


def installed(package: Package) -> Optional[Path]:
    """Where a package's weights lie, None when it is not installed. It is not imported: no code of it runs."""
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / package.file


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


def _loaded(row: Backbone, content: bytes, path: Path, origin: str, licence: str) -> tuple[Any, Weights]:
    reader = _readers().get(path.suffix.lower())
    if reader is None:
        raise ModelError(f"{path} is no file of weights that can be read: expected {', '.join(_readers())}.")
    model, classes = reader(row, content, str(path))
    background = int(classes == IMAGENET_CLASSES + 1)  # TensorFlow's old ImageNet models: what is nothing comes first
    return model, Weights(origin, licence, hashlib.sha256(content).hexdigest(), classes, background)


def _readers() -> dict[str, Callable[[Backbone, bytes, str], tuple[Any, Optional[int]]]]:
    """By the file's ending, what makes the model and tells how many classes the weights have."""
    from deploy.backbones import keras_weights, tflite_weights

    return {
        ".h5": keras_weights.load,
        ".keras": keras_weights.load,
        ".pth": _from_checkpoint,
        ".tflite": tflite_weights.load,
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"Cannot read the weights {path}: {error.strerror or error}; expected a file of weights or `{RANDOM}`."
        ) from None


def _packaged(package: Package) -> tuple[Path, bytes]:
    path = installed(package)
    if path is None:
        raise ModelError(f"The weights are in {package.name}, which is not installed: {HOW_TO_INSTALL}; or {_CHOICES}.")
    content = _read(path)
    check_sha256(content, package.sha256, f"{path}, the weights of {package.name} {package.version},")
    return path, content


def _downloaded(download: Download, backbone: str) -> Path:
    """Keras' file from its cache or from its server."""
    from deploy.heavy import require_tensorflow

    require_tensorflow()
    import keras

    name = download.url.rpartition("/")[2]
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress
            return Path(keras.utils.get_file(name, download.url, cache_subdir="models", file_hash=download.md5))
    except Exception as error:  # bare Exception where the server is not reached
        detail = " ".join(str(error).split())[:200]
        raise ModelError(
            f"The weights of {backbone} are on {download.url.split('/')[2]}, and could not be fetched ({detail}): "
            f"connect to the network, {_CHOICES}."
        ) from None


def _from_checkpoint(row: Backbone, content: bytes, source: str) -> tuple[Any, Optional[int]]:
    from deploy.backbones import checkpoints

    tensors = checkpoints.read(content, source)
    head = tensors.get(f"{HEAD}.bias")
    classes = None if head is None else head.size
    model = built(row, classes or IMAGENET_CLASSES)
    fill(model, tensors, source)
    return model, classes


def fill(model: Any, tensors: dict[str, NDArray[Any]], source: str) -> None:
    """Put a torch checkpoint's tensors into a Keras model whose layers bear their names.

    Args:
        model: an EfficientNet-Lite.
        tensors: by their names; those of the head may be absent.
        source: what to call them in errors.

    Raises:
        ModelError: a tensor is missing, has another shape, or has no place in the model.
    """
    used: set[str] = set()
    for layer in model.layers:
        names = {layer.name + suffix: axes for suffix, axes in _rules(layer)}
        if layer.name == HEAD and not names.keys() & tensors.keys():
            continue
        used.update(names)
        missing = [name for name, axes in names.items() if name not in tensors or tensors[name].ndim != len(axes)]
        if missing:
            raise ModelError(f"{source} does not fit {model.name}: it has no {missing[0]}, or one of another kind.")
        if names:
            place(model, layer, [tensors[name].transpose(axes) for name, axes in names.items()], source)
    left = [name for name in tensors if name not in used and not name.endswith(_UNUSED_SUFFIX)]
    if left:
        raise ModelError(f"{source} does not fit {model.name}, which has no place for {left[0]}.")


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
