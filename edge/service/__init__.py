"""What runs in the field: the loop with its camera, model and journal, through faults, reloads and nights."""

from edge.service.parts import Output
from edge.service.service import Service

__all__ = ["Output", "Service"]
