"""Tells Home Assistant what there is to show: one retained message for each of its entities.

Source: Home Assistant's documentation of "MQTT discovery", "MQTT sensor" and "MQTT binary sensor". One message for
each entity, as all versions and other programs that read this know it; one for the whole device needs 2024.11.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Optional

_SENSOR, _BINARY = "sensor", "binary_sensor"
_PLAIN = re.compile(r"[A-Za-z0-9-]+(?:/[A-Za-z0-9-]+)*")
_MOST_ID = 64
_MOST_SHOWN = 48
_MISSED_STATES = 3
_SLACK_S = 30.0
# A template that renders none makes a sensor "unknown": what is not told is neither 0 nor off.
_NUMBER = "{{{{ value_json.{0} if value_json.{0} is number else none }}}}"
# What was seen last is not what is seen.
_BLIND = "(value_json.camera_lost or value_json.asleep)"
_REASON = "{{{{ {{'reason': value_json.{0}}} | tojson }}}}"
_MEASURED = {"state_class": "measurement"}
_DIAGNOSTIC = {"entity_category": "diagnostic"}

_ENTITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "label": (
        _SENSOR,
        {
            "name": "Label",
            # Home Assistant refuses states of more than 255 characters.
            "value_template": (
                f"{{{{ value_json.label[:255] if value_json.label is string and not {_BLIND} else none }}}}"
            ),
            "icon": "mdi:image-search",
        },
    ),
    "score": (
        _SENSOR,
        {
            "name": "Score",
            "value_template": (
                "{{ (value_json.score * 100) | round(1) "
                f"if value_json.score is number and not {_BLIND} else none }}}}"
            ),
            # Not at the label: an automation for a label that changes would run with each score that does.
            "json_attributes_template": (
                f"{{{{ {{'predictions': [] if {_BLIND} else value_json.predictions, 'truth': value_json.truth}} "
                "| tojson }}"
            ),
            "unit_of_measurement": "%",
            "suggested_display_precision": 0,
            "icon": "mdi:percent",
            **_MEASURED,
        },
    ),
    "latency": (
        _SENSOR,
        {
            "name": "Latency",
            "value_template": _NUMBER.format("latency_ms"),
            "unit_of_measurement": "ms",
            "suggested_display_precision": 1,
            "icon": "mdi:timer-outline",
            **_MEASURED,
        },
    ),
    "frame_rate": (
        _SENSOR,
        {
            "name": "Frame rate",
            "value_template": _NUMBER.format("fps"),
            "unit_of_measurement": "fps",
            "suggested_display_precision": 1,
            "icon": "mdi:filmstrip",
            **_MEASURED,
        },
    ),
    "temperature": (
        _SENSOR,
        {
            "name": "Temperature",
            "value_template": _NUMBER.format("temperature_c"),
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "suggested_display_precision": 1,
            **_MEASURED,
            **_DIAGNOSTIC,
        },
    ),
    "dropped": (
        _SENSOR,
        {
            "name": "Not classified",
            "value_template": _NUMBER.format("dropped"),
            "unit_of_measurement": "frames",
            "state_class": "total_increasing",
            "icon": "mdi:filmstrip-off",
            **_DIAGNOSTIC,
        },
    ),
    "backend": (
        _SENSOR,
        {
            "name": "Backend",
            "value_template": "{{ value_json.backend }}",
            "icon": "mdi:chip",
            **_DIAGNOSTIC,
        },
    ),
    "throttled": (
        _BINARY,
        {
            "name": "Throttled",
            "value_template": (
                "{{ ('ON' if value_json.throttled else 'OFF') if value_json.throttled is boolean else none }}"
            ),
            "device_class": "problem",
            **_DIAGNOSTIC,
        },
    ),
    "camera": (
        _BINARY,
        {
            "name": "Camera",
            "value_template": "{{ 'ON' if value_json.camera_lost else 'OFF' }}",
            "json_attributes_template": _REASON.format("camera_lost"),
            "device_class": "problem",
            **_DIAGNOSTIC,
        },
    ),
    "accelerator": (
        _BINARY,
        {
            "name": "Accelerator",
            # A run that is for the processor alone has none that could be lost.
            "value_template": (
                "{{ 'ON' if value_json.backend_lost else none if value_json.backend == 'cpu' else 'OFF' }}"
            ),
            "json_attributes_template": _REASON.format("backend_lost"),
            "device_class": "problem",
            **_DIAGNOSTIC,
        },
    ),
    "asleep": (
        _BINARY,
        {
            "name": "Asleep",
            "value_template": "{{ 'ON' if value_json.asleep else 'OFF' }}",
            "json_attributes_template": _REASON.format("asleep"),
            "icon": "mdi:sleep",
            **_DIAGNOSTIC,
        },
    ),
}


def announcements(
    discovery_prefix: str,
    base: str,
    name: str,
    version: str,
    model: Optional[str],
    state_s: Optional[float] = None,
) -> list[tuple[str, bytes]]:
    """What is to be published, retained, for Home Assistant to show this device.

    Args:
        discovery_prefix: where Home Assistant looks, "homeassistant" unless it was told otherwise.
        base: of this device's topics, "PREFIX/NAME".
        name: shown to people.
        version: of this program.
        model: of the board, see `edge.device.Device`; None: not known.
        state_s: the longest time between two states; None: they never count as too old.

    Returns:
        Pairs of a topic and a JSON object in UTF-8. They are the same at each call with the same arguments, and other
        bases have other topics and other unique ids. An empty retained message to each topic takes the device away.
    """
    node = node_id(base)
    common: dict[str, Any] = {
        "origin": {"name": "edge-runner", "sw_version": version},
        "device": _device(node, name, version, model),
        "state_topic": f"{base}/state",
        "availability_topic": f"{base}/availability",
    }
    if state_s is not None:
        # A broker that lost its memory while the device was away has no last will to send.
        common["expire_after"] = round(_MISSED_STATES * state_s + _SLACK_S)
    messages = []
    for key, (component, about) in _ENTITIES.items():
        entity: dict[str, Any] = {"unique_id": f"{node}_{key}", **common, **about}
        if "json_attributes_template" in about:
            entity["json_attributes_topic"] = common["state_topic"]
        messages.append((f"{discovery_prefix}/{component}/{node}/{key}/config", json.dumps(entity).encode()))
    return messages


def node_id(base: str) -> str:
    """A device's own part of topics and unique ids: letters, digits, - and _ only; each base has another.

    Args:
        base: "PREFIX/NAME".
    """
    if _PLAIN.fullmatch(base) and len(base) <= _MOST_ID:
        return base.replace("/", "_")
    # Two underscores, as no plain one has them.
    digest = hashlib.sha256(base.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9-]+", "_", base)[:_MOST_ID].strip("_")
    return f"{readable}__{digest}"


def _device(node: str, name: str, version: str, model: Optional[str]) -> dict[str, Any]:
    device: dict[str, Any] = {"identifiers": [node], "name": name[:_MOST_SHOWN], "sw_version": version}
    if model:
        device["model"] = model
        if model.startswith("Raspberry Pi"):
            device["manufacturer"] = "Raspberry Pi"
    return device
