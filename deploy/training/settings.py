"""What decides the result of a training, and which values of it make sense."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Optional

import msgspec

from deploy.pictures import augment, datasets
from edge.errors import ConfigError
from edge.images import path_text

Mode = Literal["head", "finetune"]

_MOST = 1_000_000  # of what is counted: far more than anybody trains
_MOST_HIDDEN = 65_536
_MOST_BITS = 128  # of 256: half differ between any two pictures
_MOST_SEED = 2**32 - 2  # Keras keeps seeds in 32 bits, and the seed plus one is used too
_PARTS = ("--train", "--validation", "--test")


class Settings(msgspec.Struct, frozen=True):
    """What decides the result of a training."""

    backbone: str
    data: tuple[str, ...]
    """One folder of classes, or three: training, validation, test."""
    weights: Optional[str] = None
    """None: the published ones; "random"; or the path of a file."""
    mode: Mode = "head"
    blocks: int = 4
    """How many of the last blocks fine-tuning trains."""
    hidden: Optional[int] = None
    dropout: float = 0.2
    epochs: int = 30
    finetune_epochs: int = 10
    batch: int = 32
    learning_rate: float = 1e-3
    finetune_learning_rate: float = 2e-4
    warmup_epochs: float = 1.0
    """Of fine-tuning."""
    patience: int = 10
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    views: int = 4
    """How many ways to see each training picture, the plain one among them; only with `augment`."""
    class_weights: bool = False
    seed: int = 0
    shares: tuple[float, float, float] = datasets.SHARES
    """Of training, validation and test; only where the split is made here."""
    near_bits: Optional[int] = None
    """See `datasets.split`; only where the split is made here."""
    split: Optional[str] = None
    """A split.csv to use instead of making one."""
    licence: Optional[str] = None
    """Of the weights, where they are a file."""


def arguments(settings: Settings) -> list[str]:
    """The command line of `edge-deploy train` that these settings stand for, without --out."""
    given: list[str] = []
    for name, value in msgspec.to_builtins(settings).items():
        flag = _flag(name)
        if name == "data":
            given += value if len(value) == 1 else [text for pair in zip(_PARTS, value) for text in pair]
        elif name == "shares":
            given += [flag, ",".join(f"{100 * share:.12g}" for share in value)]
        elif value is True:
            given.append(flag)
        elif value or (value == 0 and value is not False):
            given += [flag, ",".join(value) if isinstance(value, (list, tuple)) else str(value)]
    return given


def check(settings: Settings) -> None:
    """Refuse what makes no sense, before any work is done.

    Raises:
        ConfigError: a value is out of its range, or two contradict each other.
    """
    augment.check(settings.augment)
    for text in (*settings.data, settings.weights, settings.split, settings.licence):
        if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
            shown = text.encode("utf-8", "replace").decode()
            raise ConfigError(f"{shown} has a name that is not UTF-8: rename it.")
    for name, least, most in (
        ("epochs", 1, _MOST),
        ("finetune_epochs", 1, _MOST),
        ("batch", 1, _MOST),
        ("views", 2 if settings.augment else 1, _MOST),
        ("patience", 1, _MOST),
        ("blocks", 1, _MOST),
        ("hidden", 1, _MOST_HIDDEN),
        ("seed", 0, _MOST_SEED),
        ("near_bits", -1, _MOST_BITS),
    ):
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise ConfigError(f"{_flag(name)} {value} was given: expected a number from {least} to {most}.")
    for name in ("dropout", "label_smoothing"):
        value = getattr(settings, name)
        if not 0 <= value < 1:
            raise ConfigError(f"{_flag(name)} {value:g} was given: expected a share from 0 to below 1.")
    for name in ("learning_rate", "finetune_learning_rate"):
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise ConfigError(f"{_flag(name)} {value:g} was given: expected a number above 0, such as 0.001.")
    if not 0 <= settings.warmup_epochs < math.inf:
        raise ConfigError(f"--warmup-epochs {settings.warmup_epochs:g} was given: expected a number from 0.")
    if settings.split is not None and len(settings.data) > 1:
        raise ConfigError(f"--split was given beside {', '.join(_PARTS)}: these are a split already, leave it away.")
    divided = settings.split is not None or len(settings.data) > 1
    if divided and settings.shares != datasets.SHARES:
        raise ConfigError("--shares was given for pictures that are divided already: leave it away.")
    if divided and settings.near_bits is not None:
        raise ConfigError("--near-bits was given for pictures that are divided already: leave it away.")


def check_out(settings: Settings, out: Path) -> None:
    """Refuse results inside a folder of pictures, where the next training would take their folder for a class.

    Raises:
        ConfigError: they would lie there.
    """
    place = out.resolve()
    for folder in settings.data:
        if Path(folder).resolve() in (place, *place.parents):
            raise ConfigError(
                f"--out {path_text(out)} lies inside the pictures in {path_text(Path(folder))}: give a folder "
                "elsewhere, as one there would be taken for a class."
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
