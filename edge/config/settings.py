"""Everything that can be configured, as frozen records, and its keys by their paths."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

import msgspec
from msgspec import Meta

from edge.cameras import CameraSettings
from edge.journal.settings import JournalSettings
from edge.model.loading import BareOptions
from edge.motion import MotionSettings
from edge.outlets.settings import MqttSettings, PrometheusSettings
from edge.privacy import PrivacySettings
from edge.review.settings import ReviewSettings
from edge.runtimes.settings import RuntimeSettings
from edge.web.settings import WebSettings

DEFAULT_MODEL = "efficientnet_lite0_int8"


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model, and what a bare file cannot tell of itself."""

    path: str = DEFAULT_MODEL
    """A bundle's name or folder, or a .tflite file."""
    top: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    """Predictions in each record."""
    bare: BareOptions = BareOptions()
    """Only for a .tflite without a bundle."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `edge run` can be told."""

    camera: CameraSettings = CameraSettings()
    model: ModelSettings = ModelSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    journal: JournalSettings = JournalSettings()
    review: ReviewSettings = ReviewSettings()
    privacy: PrivacySettings = PrivacySettings()
    mqtt: MqttSettings = MqttSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    web: WebSettings = WebSettings()
    fps: Optional[Annotated[float, Meta(ge=0.0001, le=1_000_000)]] = None
    """Classify at most so many frames a second; null: as many as come."""
    schedule: tuple[str, ...] = ()
    """When to classify, by the local clock: "06:00-20:30", "mon-fri 22:00-04:00"; empty: always."""
    gate: Optional[Literal["motion"]] = None
    """motion: only pictures that changed are classified; null: all."""
    motion: MotionSettings = MotionSettings()


def keys(struct: type[msgspec.Struct] = Config, within: str = "") -> dict[str, Any]:
    """Each key's type with its bounds, by the key's path, such as "camera.width_px"."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        path = f"{within}{field.encode_name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found |= keys(field.type, f"{path}.")
        else:
            found[path] = field.type
    return found


def value_of(config: Config, key: str) -> Any:
    """The value of a key by its path."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value
