"""A small picamera2: a sensor that sees red, an event loop, requests that must be released.

It keeps to the real one's rules that matter here: formats are named in reverse, a request that is not released
is a buffer less, `capture_request` answers through the event loop, `SensorTimestamp` is of CLOCK_BOOTTIME.
`Picamera2.faults` makes it fail.
"""

from __future__ import annotations

import os
import threading
import time
from typing import ClassVar

import numpy as np

RED = {"BGR888": (255, 0, 0), "RGB888": (0, 0, 255)}  # in memory


class Job:
    def __init__(self, request: Request) -> None:
        self._request = request

    def get_result(self) -> Request:
        return self._request


class Request:
    def __init__(self, camera: Picamera2, metadata: dict) -> None:
        self._camera, self._metadata = camera, metadata

    def make_array(self, name: str) -> np.ndarray:
        stream = self._camera.config[name]
        width, height = stream["size"]
        return np.full((height, width, 3), RED[stream["format"]], np.uint8)

    def get_metadata(self) -> dict:
        return dict(self._metadata)

    def release(self) -> None:
        self._camera.held -= 1


class Picamera2:
    cameras = ({"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a", "Num": 0},)
    faults: frozenset[str] = frozenset()
    """busy, silent (no frame ever), stalls (after five frames), stuck (also `stop` never returns), no_timestamp,
    size (gives another one), breaks (an exception where the request is read), unpaced (no rate can be asked for)."""
    opened: ClassVar[list[Picamera2]] = []
    sensor_resolution = (4608, 2592)

    @classmethod
    def global_camera_info(cls) -> list[dict]:
        return [dict(camera) for camera in cls.cameras]

    def __init__(self, camera_num: int = 0) -> None:
        self.faults = frozenset(self.faults)  # what it is born with stays
        if "busy" in self.faults:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.number = camera_num
        self.camera_controls = {} if "unpaced" in self.faults else {"FrameDurationLimits": (33_000, 120_000, 33_333)}
        self.model = self.cameras[camera_num]["Model"]
        self.camera_properties = {"SystemDevices": (os.makedev(81, 1), os.makedev(81, 4))}
        self.held = self.stops = 0
        self.closed = False
        self._jobs: list = []
        self._running = threading.Event()
        self._frames = 0
        Picamera2.opened.append(self)

    def create_video_configuration(self, main, raw, buffer_count, queue, controls) -> dict:
        assert main["format"] in RED
        assert all(side % 2 == 0 for side in (*main["size"], *raw["size"]))
        assert set(controls) <= set(self.camera_controls), "not advertised by libcamera"
        return {"main": main, "raw": raw, "buffer_count": buffer_count, "queue": queue, "controls": controls}

    def configure(self, config: dict) -> None:
        self.config = config
        if "size" in self.faults:
            self.config["main"]["size"] = (640, 480)

    def camera_configuration(self) -> dict:
        return self.config

    def start(self) -> None:
        self._running.set()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def capture_request(self, wait=None, signal_function=None) -> None:
        self._jobs.append(signal_function)

    def cancel_all_and_flush(self) -> None:
        self._jobs.clear()

    def stop(self) -> None:
        self.stops += 1
        if "stuck" in self.faults:
            threading.Event().wait()
        self._running.clear()
        self._thread.join()

    def close(self) -> None:
        if self._running.is_set():
            self.stop()
        self.closed = True

    def _loop(self) -> None:
        period_us = self.config["controls"].get("FrameDurationLimits", (33_333,))[0]
        while self._running.is_set():
            time.sleep(period_us / 1e6)
            self._frames += 1
            if "silent" in self.faults or (self.faults & {"stalls", "stuck"} and self._frames > 5):
                continue
            if not self._jobs or self.held >= self.config["buffer_count"]:
                continue
            metadata = {} if "unpaced" in self.faults else {"FrameDuration": period_us}
            if "no_timestamp" not in self.faults:
                metadata["SensorTimestamp"] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self.held += 1
            request = Request(self, metadata)
            if "breaks" in self.faults:
                request.make_array = lambda name: 1 / 0
            self._jobs.pop(0)(Job(request))
