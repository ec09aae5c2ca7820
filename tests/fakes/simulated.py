"""A camera on a simulated clock, which fails as it is told; `edge.cameras.lasting` makes it last."""

from __future__ import annotations

import threading
from typing import Callable, Optional

import numpy as np

from edge.cameras import CameraSettings
from edge.errors import CameraError
from edge.records import Frame

SHAPE = (12, 16, 3)
FAULTS = ("read error", "gone", "refused", "silent", "frozen", "dark", "saturated")


class Clock:
    """Goes on only where somebody waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds


class World:
    """What stands around the camera. `fault` is one of `FAULTS`, "needs restart" or None; each picture is a new one."""

    def __init__(self, fps: float = 2.0) -> None:
        self.clock = Clock()
        self.fps = fps
        self.fault: Optional[str] = None
        self.pictures = 0
        self.opened: list[SimulatedCamera] = []
        self.opened_s: list[float] = []
        """When it was tried, in vain or not."""
        self.on_open: Callable[[], object] = lambda: None
        self.on_close: Callable[[], object] = lambda: None

    def open(self, settings: CameraSettings) -> SimulatedCamera:
        self.opened_s.append(self.clock.now_s)
        self.on_open()
        if self.fault == "gone":
            raise CameraError("It is not connected.", "gone")
        if self.fault == "refused":
            raise CameraError("It refuses its format.", "refused")
        self.opened.append(SimulatedCamera(self, settings))
        return self.opened[-1]

    def picture(self) -> np.ndarray:
        if self.fault in ("dark", "saturated"):
            return np.full(SHAPE, 0 if self.fault == "dark" else 255, np.uint8)
        self.pictures += self.fault != "frozen"
        pixels = np.full(SHAPE, 100, np.uint8)
        pixels[:2, :2, 0] = np.frombuffer(self.pictures.to_bytes(4, "little"), np.uint8).reshape(2, 2)
        return pixels


class SimulatedCamera:
    live, lost = True, None

    def __init__(self, world: World, settings: CameraSettings) -> None:
        self._world, self._settings = world, settings
        self.name = f"camera {len(world.opened)}"
        self.ended = False
        self.sequence = 6  # a slot may have passed over its first frames
        self._arrived_s = world.clock.now_s
        self.closed = threading.Event()

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        world = self._world
        if self.closed.is_set():
            return None
        if world.fault in ("read error", "gone", "refused"):
            raise CameraError(f"It failed: {world.fault}.", None if world.fault == "read error" else "gone")
        if world.fault == "needs restart":
            raise CameraError("Only a new process can open it.", "gone", needs_restart=True)
        if world.fault == "silent":
            world.clock.pause(timeout_s)
            if world.clock() - self._arrived_s < self._settings.stall_s:
                return None
            raise CameraError("It gave no frame.", "stalled")
        world.clock.pause(1 / world.fps)
        self.sequence += 1
        self._arrived_s = world.clock()
        return Frame(world.picture(), self.sequence, round(self._arrived_s * 1e9))

    def close(self) -> None:
        self._world.on_close()
        self.closed.set()
