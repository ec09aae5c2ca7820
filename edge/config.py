"""The configuration file: YAML to frozen records. Unknown keys, wrong types and impossible values are errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import msgspec
import yaml
from msgspec import Meta

from edge.cameras import CameraSettings
from edge.errors import ConfigError
from edge.journal.settings import JournalSettings
from edge.loading import BareOptions
from edge.motion import MotionSettings
from edge.privacy import PrivacySettings
from edge.review.settings import ReviewSettings

DEFAULT_MODEL = "efficientnet_lite0_int8"


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model, and what a bare file cannot tell of itself."""

    path: str = DEFAULT_MODEL
    """A bundle's name or folder, or a .tflite file."""
    top: Annotated[int, Meta(ge=1)] = 5
    """Predictions in each record."""
    bare: BareOptions = BareOptions()
    """Only for a .tflite without a bundle."""


class RuntimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs the model."""

    name: str = "auto"
    """auto, litert or tflite."""
    threads: Optional[Annotated[int, Meta(ge=1, le=1024)]] = None
    """null: as many as there are processors, at most 4."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `edge run` can be told."""

    camera: CameraSettings = CameraSettings()
    model: ModelSettings = ModelSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    journal: JournalSettings = JournalSettings()
    review: ReviewSettings = ReviewSettings()
    privacy: PrivacySettings = PrivacySettings()
    fps: Optional[Annotated[float, Meta(ge=0.0001, le=1_000_000)]] = None
    """Classify at most so many frames a second; null: as many as come."""
    schedule: tuple[str, ...] = ()
    """When to classify, by the local clock: "06:00-20:30", "mon-fri 22:00-04:00"; empty: always."""
    gate: Optional[Literal["motion"]] = None
    """motion: only pictures that changed are classified; null: all."""
    motion: MotionSettings = MotionSettings()


def read(path: Path) -> Config:
    """Read a configuration file; what it leaves out has the defaults of `Config`.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has an unknown key, a wrong type or an impossible value.
    """
    try:
        document: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror or error}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets a wrong date or number through
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    camera = document.get("camera") if isinstance(document, dict) else None
    if isinstance(camera, dict) and type(camera.get("source")) is int:
        camera["source"] = str(camera["source"])  # `source: 0` is /dev/video0, as on the command line
    try:
        return msgspec.convert({} if document is None else document, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error))}") from None


def _explain(message: str) -> str:
    """Msgspec's words with the key's path first, and the nearest key for an unknown one."""
    import difflib  # only for mistakes

    found = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", message, re.DOTALL)
    assert found  # the pattern matches any text
    what, path = found["what"].replace("`object`", "keys with values"), found["path"] or ""
    unknown = re.search(r"unknown field `(?P<key>.*)`", what)
    if not unknown:
        return f"{path}: {what}." if path else f"{what}."
    full = f"{path}.{unknown['key']}" if path else unknown["key"]
    keys = _keys(Config)
    near = difflib.get_close_matches(full, keys, n=1, cutoff=0.7)
    advice = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(keys)}."
    return f"unknown key {full}: {advice}"


def _keys(struct: type[msgspec.Struct], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for field in msgspec.structs.fields(struct):
        name = f"{prefix}{field.encode_name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            keys += _keys(field.type, f"{name}.")
        else:
            keys.append(name)
    return keys
