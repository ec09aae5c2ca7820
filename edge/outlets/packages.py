"""The package that each outlet needs, which is not installed unasked."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import NamedTuple


class Package(NamedTuple):
    """What an outlet needs."""

    name: str
    """As pip knows it."""
    module: str


PACKAGES = {
    "mqtt": Package("paho-mqtt", "paho.mqtt.client"),
    "prometheus": Package("prometheus-client", "prometheus_client"),
    "web": Package("aiohttp", "aiohttp"),
}
"""By the outlet's section of the configuration, which is the extra's name too."""


def is_installed(outlet: str) -> bool:
    """Whether an outlet's package is there; nothing is imported."""
    with contextlib.suppress(ValueError):  # of a package that has no spec
        return importlib.util.find_spec(PACKAGES[outlet].module.partition(".")[0]) is not None
    return False
