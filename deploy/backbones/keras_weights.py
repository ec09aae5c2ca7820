"""Weights out of Keras' files: .keras, .weights.h5 and the older .h5, whole models or weights only.

Only the numbers are read, by h5py. The description of the model that such a file may have is not looked at, so that
no layer of code inside it (Lambda) can run, whatever the file says.
"""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from deploy.backbones.networks import HEAD, IMAGENET_CLASSES, place
from deploy.backbones.weights import built
from edge.errors import ModelError

if TYPE_CHECKING:
    from deploy.backbones import Backbone

CARD = "edge_runner.json"
"""Inside a .keras of this project."""
_ARCHIVED = "model.weights.h5"  # inside a .keras
_DAMAGE = (OSError, LookupError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, EOFError)
"""What zipfile and h5py raise for malformed files."""


class _Group(NamedTuple):
    """The variables of one layer: h5py's datasets, not read yet."""

    values: Sequence[Any]


def load(row: Backbone, content: bytes, source: str) -> tuple[Any, Optional[int]]:
    """A backbone's Keras model with the weights of a file that Keras wrote.

    Args:
        row: the backbone.
        content: the file.
        source: what to call it in errors.

    Returns:
        The model, and the classes of the file's head; None when it has none, or one of several layers.

    Raises:
        ModelError: the file is damaged, or is of another architecture.
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    from deploy.heavy import require_tensorflow

    require_tensorflow()
    import h5py  # comes with Keras

    try:
        content, own = _unpacked(content)
        with h5py.File(io.BytesIO(content), "r") as file:
            return _filled(row, file, len(content), source, flip=row.bgr and not own)
    except ModelError:
        raise
    except _DAMAGE as error:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{source} cannot be read as Keras' weights ({detail}): expected a .keras, .weights.h5 or .h5 file that "
            "Keras saved."
        ) from None


def reverse_input_channels(model: Any) -> None:
    """Turn the first convolution's kernel round, in place: what took B, G, R takes R, G, B afterwards."""
    kernel = next(variable for variable in model.weights if len(variable.shape) == 4)  # models inside are searched too
    kernel.assign(kernel.numpy()[:, :, ::-1])


def _unpacked(content: bytes) -> tuple[bytes, bool]:
    """The HDF5 file, and whether this project wrote the archive that it was in."""
    if not content.startswith(b"PK"):
        return content, False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # Keras does not compress: what would become larger than the file was not written by it
        if archive.getinfo(_ARCHIVED).file_size > len(content):
            raise ValueError("it would unpack to more than it holds")
        return archive.read(_ARCHIVED), CARD in archive.namelist()


def _filled(row: Backbone, file: Any, size_bytes: int, source: str, flip: bool) -> tuple[Any, Optional[int]]:
    import keras

    model = built(row)
    layers = _backbone_layers(model)
    groups, head = _in_order(_datasets(file, size_bytes), file, layers)
    flat = all([len(value.shape) for value in group.values] == [2, 1] for group in head)  # dense: kernel and bias
    if len(groups) != len(layers) or not flat:
        raise ModelError(
            f"{source} does not fit {row.name}: it has {len(groups) + len(head)} layers with weights, expected "
            f"{len(layers)} and a head of dense layers; give the weights of this very backbone."
        )
    classes = head[0].values[1].shape[0] if len(head) == 1 else None
    if classes and classes != IMAGENET_CLASSES:
        model = built(row, classes)
        layers = _backbone_layers(model)
    for layer, group in zip(layers, groups):
        if not isinstance(layer, keras.layers.Normalization):  # which every model of a backbone has alike
            place(model, layer, group.values, source)
    if classes:
        place(model, model.get_layer(HEAD), head[0].values, source)
    if flip:
        reverse_input_channels(model)
    return model, classes


def _backbone_layers(model: Any) -> list[Any]:
    return [layer for layer in model.layers if layer.weights and layer.name != HEAD]


def _datasets(file: Any, size_bytes: int) -> dict[str, Any]:
    """The file's arrays by path, unread. Links are not followed, and nothing outside the file is reached."""
    import h5py

    found: dict[str, Any] = {}

    def note(path: str, value: Any) -> None:
        if isinstance(value, h5py.Dataset):
            if value.nbytes > size_bytes or value.external or value.is_virtual:
                raise ValueError("it promises more than it holds")
            found[path] = value

    file.visititems(note)
    return found


def _in_order(datasets: dict[str, Any], file: Any, layers: Sequence[Any]) -> tuple[list[_Group], list[_Group]]:
    """The groups that belong to the layers, in their order, and those that are left: the head."""
    root = "model_weights/" if "model_weights" in file else ""
    lists = file[root] if root else file
    if _has_list(lists, "layer_names"):  # the older files keep the layers in order
        names = [f"{root}{name}" for name in _list(lists, "layer_names")]
        groups = [
            group for name in names for group in _legacy_groups(datasets, name, _list(file[name], "weight_names"))
        ]
        return groups[: len(layers)], groups[len(layers) :]
    found = _by_class(datasets)
    counts: dict[str, int] = {}
    wanted = []
    for layer in layers:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        number = counts[name] = counts.get(name, -1) + 1
        wanted.append(f"{name}_{number}" if number else name)
    ordered = [found.pop(name) for name in wanted if name in found]
    kinds = (*counts, "dense")
    return ordered, [group for name, group in found.items() if re.sub(r"_\d+$", "", name) in kinds]


def _by_class(datasets: dict[str, Any]) -> dict[str, _Group]:
    """The layers by what Keras 3 calls them in a file, which is class and number: conv2d, conv2d_1."""
    found: dict[str, dict[int, Any]] = {}
    for path, value in datasets.items():
        parts = path.split("/")
        if len(parts) > 2 and parts[-2] == "vars" and parts[0] != "optimizer":
            if int(parts[-1]) in found.setdefault(parts[-3], {}):
                raise ValueError(f"it has several layers that are the {parts[-3]}")
            found[parts[-3]][int(parts[-1])] = value
    return {name: _Group([value for _, value in sorted(values.items())]) for name, values in found.items()}


def _legacy_groups(datasets: dict[str, Any], layer: str, names: Sequence[str]) -> Iterator[_Group]:
    """The layers in a group of an older file: one, or many where the layer is itself a model."""
    parts: dict[str, list[Any]] = {}
    for name in names:  # "conv1/kernel:0"; the oldest files have names without a layer
        parts.setdefault(name.rpartition("/")[0], []).append(datasets[f"{layer}/{name}"])
    return map(_Group, parts.values())


def _has_list(group: Any, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _list(group: Any, name: str) -> list[str]:
    """A list of names, which is in several pieces when it is long."""
    pieces = [name] if name in group.attrs else list(_pieces(group, name))
    values = [value for piece in pieces for value in group.attrs[piece]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _pieces(group: Any, name: str) -> Iterator[str]:
    return itertools.takewhile(group.attrs.__contains__, (f"{name}{number}" for number in itertools.count()))
