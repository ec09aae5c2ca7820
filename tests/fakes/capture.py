"""A small cv2.VideoCapture on a V4L2 camera that sees red; stands in where no device is."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import cv2
import numpy as np

from edge.cameras.v4l2 import Node

RED_BGR = (0, 0, 255)
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
TEST_CAM = Node("uvcvideo", "Test Cam", "usb-0000:01:00.0-1.3", 0x04200001)


class FakeCapture:
    modes: ClassVar[dict[int, float]] = {}
    """What the driver gives, whatever is asked."""
    image = None
    """What it delivers instead of red pictures."""
    faults: frozenset[str] = frozenset()
    """busy, silent (reads fail after three frames), stuck (reads never return after three), broken (pictures cannot be
    decoded after three), old_clock."""
    opened: ClassVar[list[FakeCapture]] = []

    def __init__(self, path: str, backend: int) -> None:
        assert backend == cv2.CAP_V4L2
        self.asked: list[int] = []
        self.released = False
        self.decoded = 0
        self._values = {cv2.CAP_PROP_FOURCC: 0.0, cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_CONVERT_RGB: 1.0}
        self.grabbed = 0
        self._captured_s = 0.0
        FakeCapture.opened.append(self)

    def isOpened(self) -> bool:
        return "busy" not in self.faults

    def set(self, key: int, value: float) -> bool:
        self.asked.append(key)
        self._values[key] = value
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return self._captured_s * 1e3
        return self.modes.get(key, self._values[key])

    def grab(self) -> bool:
        time.sleep(1 / self.get(cv2.CAP_PROP_FPS))
        self.grabbed += 1
        if self.grabbed > 3 and "stuck" in self.faults:
            threading.Event().wait()
        if self.grabbed > 3 and "silent" in self.faults:
            return False
        self._captured_s = 5.0 if "old_clock" in self.faults else time.monotonic() - 0.004
        return True

    def retrieve(self):
        self.decoded += 1
        if self.image is not None:
            return True, self.image
        height, width = int(self.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self.get(cv2.CAP_PROP_FRAME_WIDTH))
        picture = np.full((height, width, 3), RED_BGR, np.uint8)
        if self.get(cv2.CAP_PROP_FOURCC) != MJPG or self._values[cv2.CAP_PROP_CONVERT_RGB]:
            return True, picture  # OpenCV does so also when it is a JPEG that cannot be decoded
        if "broken" in self.faults and self.grabbed > 3:
            return True, np.zeros((1, 5000), np.uint8)
        return True, cv2.imencode(".jpg", picture)[1].reshape(1, -1)

    def release(self) -> None:
        assert not self.released
        self.released = True
