"""`.keras` files that know what they are: how pictures are prepared, the labels, and where the weights came from.

The card lies inside the file's zip archive as `edge_runner.json`, where Keras itself does not look: the file opens
in plain Keras as any other.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Optional

import msgspec

from deploy.backbones import Backbone, backbone
from deploy.backbones.keras_weights import CARD, reverse_input_channels
from edge import __version__
from edge import labels as label_files
from edge.errors import ConfigError, LabelError, ModelError
from edge.model.bundle import sha256_of
from edge.tensors import InputSpec

SUFFIX = ".keras"
_CONFIG = "config.json"
_UNSAFE = "Lambda"


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a Keras classifier is."""

    backbone: str
    """Name of its row in `deploy.backbones`."""
    input: InputSpec
    """What the model expects; its dtype is float32."""
    labels: tuple[str, ...]
    """One for each output, in their order."""
    weights: str
    """Where the weights came from."""
    licence: str
    """Of these weights."""
    weights_sha256: Optional[str] = None
    """Of the file that they were read from; None for random ones."""
    data: Optional[str] = None
    """What it was trained on, in words; None when these weights were not trained further."""
    background_offset: int = 0
    """1 when output 0 is a background class."""
    version: str = __version__
    """Of edge-runner when the file was written."""


def save(path: Path, model: Any, card: Card) -> None:
    """Write a Keras model with its card: whole under its name, or not at all.

    Args:
        path: ends in `.keras`; its folder is made, a file of that name is replaced.
        model: input (None or 1, height_px, width_px, 3), output (None or 1, classes); the optimizer is left out.
        card: what to say of it.

    Raises:
        ConfigError: the place cannot be written.
        ModelError: the card does not fit the model.
    """
    _check(model, card, str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as folder:
            partial = Path(folder, path.stem + SUFFIX)
            model.save(partial, include_optimizer=False)
            with zipfile.ZipFile(partial, "a") as archive:
                archive.writestr(CARD, msgspec.json.format(msgspec.json.encode(card)))
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.rename(path)
    except OSError as error:
        raise ConfigError(f"Cannot write the model {path}: {error.strerror or error}.") from None


def read_card(path: Path) -> Optional[Card]:
    """The card of a `.keras` file, read without Keras; None when it has none.

    Raises:
        ModelError: it is not an undamaged `.keras` file, or its card is not one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _CONFIG not in names:
                raise ModelError(f"{path} is not a {SUFFIX} file: expected one that Keras 3 saved.")
            damaged = archive.testzip()
            if damaged is not None:
                raise ModelError(f"{path} is damaged: {damaged} inside it is not what was written; save it again.")
            content = archive.read(CARD) if CARD in names else None
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        if _is_zip(path):
            raise ModelError(f"{path} is damaged: {error}; save or copy it again.") from None
        raise ModelError(f"{path} is not a {SUFFIX} file: expected one that Keras 3 saved.") from None
    except OSError as error:
        advice = f"; give {path / 'model.keras'}" if (path / "model.keras").is_file() else ""
        raise ModelError(f"Cannot read the model {path}: {error.strerror or error}{advice}.") from None
    try:
        return None if content is None else msgspec.json.decode(content, type=Card)
    except msgspec.DecodeError as error:  # also what does not fit the type
        raise ModelError(f"{path} has a card that is not one ({error}): save it again.") from None


def load(path: Path, backbone_name: Optional[str] = None, labels: Optional[Path] = None) -> tuple[Any, Card]:
    """Read a `.keras` file; no code inside it is run.

    Args:
        path: the file.
        backbone_name: the row whose architecture it is and whose preprocessing it was trained with; needed where the
            file has no card, and checked where it has one. Without a card, a network of a `bgr` row was trained as
            Keras prepares its pictures, and is turned round to take R, G, B.
        labels: the label file; needed where the file has no card, and goes before the card's labels.

    Returns:
        The Keras model and its card.

    Raises:
        ConfigError: there is no backbone of that name, or the file has no card and nothing stands in for it.
        LabelError: the labels cannot be read or do not fit the model's outputs.
        ModelError: the file is damaged, has code inside, or is of another architecture.
        RuntimeUnavailableError: TensorFlow or Keras is missing.
    """
    card = read_card(path)
    if card is None and (backbone_name is None or labels is None):
        raise ConfigError(
            f"{path} does not say how its pictures are prepared or its labels: give --backbone NAME and --labels FILE."
        )
    row = backbone(backbone_name) if backbone_name else None
    if row and card and card.backbone != row.name:
        raise ModelError(f"{path} is a {card.backbone}, and --backbone says {row.name}: leave --backbone away.")
    names = label_files.read(labels) if labels else None
    model = _load(path)
    classes = _classes(model, str(path))
    if card is None and row is not None:
        _check_architecture(model, row, path)
        if row.bgr:
            reverse_input_channels(model)
        card = Card(
            backbone=row.name,
            input=row.float_input(),
            labels=(),
            weights=path.name,
            licence="not stated by whoever gave the file",
            weights_sha256=sha256_of(path),
        )
    assert card is not None
    if names is not None:
        fitting, offset = label_files.fit(names, classes, None, str(labels))
        card = msgspec.structs.replace(card, labels=fitting, background_offset=offset)
    _check(model, card, str(path))
    return model, card


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _load(path: Path) -> Any:
    from deploy.heavy import require_tensorflow

    require_tensorflow()
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what it likes for configurations and weights that do not fit
        detail = " ".join(str(error).split())
        if _UNSAFE in detail:
            raise ModelError(
                f"{path} has a Lambda layer, which is code that would run here: replace it by layers of Keras."
            ) from None
        raise ModelError(f"Keras cannot read {path}: {detail[:300]}.") from error


def _classes(model: Any, source: str) -> int:
    shapes = [tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or shapes[0][3] != 3 or len(shapes[1]) != 2 or (shapes[1][1] or 0) < 2:
        given = ", ".join(map(str, shapes))
        raise ModelError(
            f"{source} is no classifier of RGB pictures: its inputs and outputs are {given}, expected "
            "(None, height, width, 3) and (None, classes) of 2 or more classes."
        )
    return int(shapes[1][1])


def _check(model: Any, card: Card, source: str) -> None:
    """The card is this model's."""
    classes, size = _classes(model, source), tuple(model.inputs[0].shape[1:3])
    if size != (card.input.height_px, card.input.width_px):
        raise ModelError(
            f"{source} takes pictures of {size[0]} x {size[1]} px, and {card.backbone} was said to take "
            f"{card.input.height_px} x {card.input.width_px}: give the backbone that it was made of."
        )
    if len(card.labels) != classes:
        raise LabelError(
            f"{source} has {classes} outputs and {len(card.labels)} labels: give the label file that belongs to it."
        )


def _check_architecture(model: Any, row: Backbone, path: Path) -> None:
    """The same kernels, by shape and number: what a convolutional network consists of, whatever its head."""

    def kernels(network: Any) -> Counter[tuple[int, ...]]:
        return Counter(tuple(variable.shape) for variable in network.weights if len(variable.shape) == 4)

    given, expected = kernels(model), kernels(row.build(row))
    if given != expected:
        raise ModelError(
            f"{path} is not a {row.name}: {sum((given & expected).values())} of the {sum(expected.values())} kernels "
            f"of its convolutions are there, and {sum((given - expected).values())} others; give the --backbone that "
            "it was made of."
        )
