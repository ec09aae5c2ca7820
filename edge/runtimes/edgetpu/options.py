"""Which Edge TPU, in the words of a user and in those of libedgetpu."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Optional

from edge.errors import ConfigError

_DEVICE = re.compile(r"any|(usb|pci)(:\d{1,3})?")
_EXPECTED = "any, usb, usb:N, pci or pci:N, N counting from 0 (several: [usb:0, usb:1], or --device twice)"


def require_devices(devices: Sequence[str]) -> None:
    """Make sure that the names of Edge TPUs are such, and each is named once.

    Raises:
        ConfigError: one is not.
    """
    if not devices:
        raise ConfigError(f"No device is named: expected {_EXPECTED}.")
    for device in devices:
        if not _DEVICE.fullmatch(device):
            raise ConfigError(f"No Edge TPU can be called {device!r}: expected {_EXPECTED}.")
    exact = [numbered(device) for device in devices]
    if len(devices) > 1 and ("any" in exact or len(set(exact)) < len(exact)):
        raise ConfigError(
            f"The Edge TPUs {', '.join(devices)} are not all different: name each by its number, as usb:0 and usb:1."
        )


def numbered(device: str) -> str:
    """A device with its number: "usb" is "usb:0". libedgetpu ignores its options for one without a number."""
    return device if device == "any" or ":" in device else f"{device}:0"


def delegate_options(device: str, performance: Optional[str]) -> dict[str, str]:
    """The options of libedgetpu (tflite_plugin_create_delegate) for a device and a clock.

    Args:
        device: "any", "usb:N" or "pci:N".
        performance: "low", "medium", "high" or "max"; None for the library's own.
    """
    if performance is None:
        return {} if device == "any" else {"device": numbered(device)}
    return {"device": ":0" if device == "any" else numbered(device), "Performance": performance.capitalize()}


def by_place(options: dict[str, str], devices: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The options with the number that libedgetpu has at present for the N-th device in the order of paths.

    libedgetpu counts those on USB first whose firmware is not loaded, so that its own numbers change when a device is
    opened or plugged in anew, and one that is in use takes another's: beagle_usb_driver_provider.cc of libedgetpu.

    Args:
        options: of libedgetpu.
        devices: kind and path of each, in libedgetpu's order.
    """
    kind, _, number = options.get("device", "").partition(":")
    paths = [path for other, path in devices if other == kind]
    if not kind or not number or int(number) >= len(paths):
        return options
    return {**options, "device": f"{kind}:{paths.index(sorted(paths)[int(number)])}"}
