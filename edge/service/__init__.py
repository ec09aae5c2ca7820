"""What runs in the field: the loop with its camera, model and journal, through faults, reloads and nights."""

from edge.service.service import Output, Service

__all__ = ["Output", "Service"]
