"""A Raspberry Pi CSI camera through picamera2 (being written)."""

from __future__ import annotations


def csi_cameras() -> list[str]:
    """The models of the CSI cameras; none yet."""
    return []
