"""Classify camera frames on a Raspberry Pi or Coral board with quantized TensorFlow Lite models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Classifier", "EdgeError", "Frame", "Prediction", "Record", "Timings", "__version__"]

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.errors import EdgeError
    from edge.records import Frame, Prediction, Record, Timings

_HOMES = {
    "Classifier": "edge.classifier",
    "EdgeError": "edge.errors",
    "Frame": "edge.records",
    "Prediction": "edge.records",
    "Record": "edge.records",
    "Timings": "edge.records",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import edge` needs neither NumPy nor OpenCV."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edge' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
