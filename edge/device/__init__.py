"""The board: model, temperature, clock, throttling, memory. What a machine does not tell is None, never 0."""

from edge.device.monitor import Monitor
from edge.device.parsing import throttled_during, throttled_now, throttled_since_boot
from edge.device.reading import ROOT, Device, Live, Sensors, read, read_live

__all__ = [
    "ROOT",
    "Device",
    "Live",
    "Monitor",
    "Sensors",
    "read",
    "read_live",
    "throttled_during",
    "throttled_now",
    "throttled_since_boot",
]
