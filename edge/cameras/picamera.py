"""A Raspberry Pi CSI camera through picamera2.

Not verified on hardware: written to picamera2's source and documentation, and tested with a fake module
(tests/fakes/picamera2.py); `pytest -m hardware` runs the same tests on a real camera.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import CameraSettings
from edge.cameras.newest import LiveCamera, NewestFrame, Shot, patience_s
from edge.errors import CameraError

DEVICES = Path("/sys/dev/char")
"""Where the kernel has an entry for each device, by its numbers."""
_POLL_S = 0.1  # how often a wait for a frame looks whether it is closed
_PLAUSIBLE_NS = 2_000_000_000  # how old a sensor's time stamp may be to be believed
_BUFFERS = 4  # one being filled, one in the image processor, one waiting, one being copied


class Picamera(LiveCamera):
    """The first CSI camera. The newest frame wins; `captured_ns` is when the sensor began the frame."""

    def __init__(self, settings: CameraSettings, isp_size_px: Optional[tuple[int, int]] = None) -> None:
        """Open and start the camera, and wait for a frame.

        Args:
            settings: size and rate.
            isp_size_px: (height, width) of the frames, made by the image processor, instead of the settings'.

        Raises:
            CameraError: picamera2 or the camera is missing, busy, or gives nothing.
        """
        sensor = _find(settings.source.partition(":")[2])
        self.name = f"CSI camera {sensor.model}"
        self.again = _again(sensor)
        self._size_px = isp_size_px or (settings.height_px, settings.width_px)
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._waiting = False
        self._last_ns: Optional[int] = None
        try:
            self._camera: Any = _library()(sensor.number)
        except (RuntimeError, IndexError, OSError) as error:
            raise CameraError(
                f"The {self.name} cannot be opened: {_one_line(error)}; another program may be using it.",
                "refused",
            ) from error
        try:
            self._start(settings, exact=isp_size_px is not None)
        except CameraError:
            self._camera.close()
            raise
        except Exception as error:  # picamera2 raises RuntimeError, ValueError and what libcamera's binding has
            self._camera.close()
            raise CameraError(f"The {self.name} cannot be set up: {_one_line(error)}.", "refused") from error
        self._devices = _entries(self._camera)
        self._slot = NewestFrame(self, self.name, patience_s(settings.stall_s, settings.fps))
        self._slot.wait_first()

    def _start(self, settings: CameraSettings, exact: bool) -> None:
        camera, (height, width) = self._camera, self._size_px
        duration_us = round(1e6 / settings.fps)
        # A Raspberry Pi's sensors can be told; what other drivers give as it comes refuses to be.
        paced = "FrameDurationLimits" in camera.camera_controls
        # Half of the sensor's own size leads to the mode that bins all of it. Left alone, a small main stream leads
        # to a small mode, and with several sensors that is a cut-out of the middle.
        sensor_width, sensor_height = camera.sensor_resolution
        configuration = camera.create_video_configuration(
            # picamera2's names are reversed: "BGR888" has R, G, B in this order in memory.
            main={"format": "BGR888", "size": (width, height)},
            raw={"size": (sensor_width // 4 * 2, sensor_height // 4 * 2)},
            buffer_count=_BUFFERS,
            queue=False,  # each capture waits for a new frame; with True it may get one that has lain there
            controls={"FrameDurationLimits": (duration_us, duration_us)} if paced else {},
        )
        camera.configure(configuration)
        got = camera.camera_configuration()
        got_width, got_height = got["main"]["size"]
        if exact and (got_height, got_width) != (height, width):
            raise CameraError(
                f"The {self.name} gives {got_width}x{got_height} when {width}x{height} is asked: leave isp_resize off."
            )
        if got["main"]["format"] != "BGR888":
            raise CameraError(f"The {self.name} gives {got['main']['format']} when BGR888 is asked.")
        self._size_px = (got_height, got_width)
        mode = f"{got_width}x{got_height}{f' at {settings.fps:g} fps' if paced else ''}"
        if got.get("raw"):
            mode += f" from {got['raw']['size'][0]}x{got['raw']['size'][1]}"
        self.name += f", {mode}{', resized by the ISP' if exact else ''}"
        camera.start()

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        """The slot's source: see `newest.Source`."""
        # Asked for with a callback, since the blocking form never returns when the sensor is lost.
        if not self._waiting:
            self._camera.capture_request(signal_function=self._done.put)
            self._waiting = True
        while not closing.is_set():
            try:
                job = self._done.get(timeout=_POLL_S)
            except queue.Empty:
                self._require_devices()
                continue
            self._waiting = False
            request = job.get_result()
            try:
                pixels: NDArray[np.uint8] = request.make_array("main")  # a copy
                metadata: dict[str, Any] = request.get_metadata()
            finally:
                request.release()  # else the camera runs out of buffers and stops
            if pixels.shape != (*self._size_px, 3) or pixels.dtype != np.uint8:
                raise CameraError(f"The {self.name} gave a frame of shape {pixels.shape} and type {pixels.dtype}.")
            return self._shot(pixels, metadata)
        return None

    def _shot(self, pixels: NDArray[np.uint8], metadata: dict[str, Any]) -> Shot:
        stamp_ns, duration_us = metadata.get("SensorTimestamp"), metadata.get("FrameDuration")
        step = 1
        if stamp_ns is not None and self._last_ns is not None and duration_us:
            # What the sensor made since, whether or not this thread was quick enough to get it.
            step = max(1, round((stamp_ns - self._last_ns) / (duration_us * 1000)))
        self._last_ns = stamp_ns
        return Shot(pixels, to_monotonic_ns(stamp_ns), step)

    def _gone(self) -> bool:
        """Whether the kernel no more has the devices that were opened, even if it has others of that name by now."""
        return self._devices != _entries(self._camera)

    def _require_devices(self) -> None:
        if self._gone():
            # libcamera 0.4 keeps such a camera: told to stop it, or when it comes back, it ends the process by SIGABRT.
            raise CameraError(
                f"{self.name} is gone, and only a new process can open it again: restart this one.",
                "gone",
                needs_restart=True,
            )

    def release(self) -> None:
        """The slot's source: see `newest.Source`. Never returns when libcamera is stuck."""
        # picamera2 would close it again when the process ends, and never end where that is stuck.
        atexit.unregister(self._camera.close)
        if self._gone():
            return
        if self._waiting and hasattr(self._camera, "cancel_all_and_flush"):
            self._camera.cancel_all_and_flush()  # a capture that nothing will answer would stand before `stop`
        self._camera.stop()
        self._camera.close()


def _entries(camera: Any) -> list[Optional[int]]:
    """For each device that libcamera uses for a camera, the number of the kernel's entry; None where there is none."""
    numbers = camera.camera_properties.get("SystemDevices", ())
    return [_entry(DEVICES / f"{os.major(number)}:{os.minor(number)}") for number in numbers]


def _entry(path: Path) -> Optional[int]:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def to_monotonic_ns(stamp_ns: Optional[int]) -> int:
    """A sensor's time stamp on the monotonic clock; now, where there is none or it is on neither clock.

    libcamera documents CLOCK_BOOTTIME, drivers were seen to use CLOCK_MONOTONIC (libcamera bug 254); they differ
    by the time that the machine slept, which a Pi does not, so that usually both are right.
    """
    now_ns = time.monotonic_ns()
    if stamp_ns is None:
        return now_ns
    slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    for candidate_ns in (stamp_ns - slept_ns, stamp_ns):
        if 0 <= now_ns - candidate_ns <= _PLAUSIBLE_NS:
            return candidate_ns
    return now_ns


class Sensor(NamedTuple):
    """A CSI camera as libcamera lists it."""

    number: int
    model: str
    id: str
    """Where it is connected; stays the same."""


def csi_cameras() -> list[Sensor]:
    """The CSI cameras; libcamera also lists USB cameras, which are left out.

    Raises:
        CameraError: picamera2 is missing or broken.
    """
    found = enumerate(_library().global_camera_info())
    return [
        Sensor(int(info.get("Num", index)), str(info.get("Model", "unknown")), str(info.get("Id", "")))
        for index, info in found
        if "/usb" not in str(info.get("Id", ""))
    ]


def _find(wanted: str) -> Sensor:
    """The camera of an id or model, the first one when none is wanted."""
    found = csi_cameras()
    if not found:
        raise CameraError(
            "No CSI camera was found: check its cable with the power off, then run `rpicam-hello --list-cameras`.",
            "gone",
        )
    for sensor in found:
        if not wanted or wanted in (sensor.id, sensor.model):
            return sensor
    models = ", ".join(sensor.model for sensor in found)
    raise CameraError(f"There is no CSI camera {wanted}: found {models}.", "gone")


def _again(sensor: Sensor) -> Callable[[CameraSettings], CameraSettings]:
    def again(settings: CameraSettings) -> CameraSettings:
        there = any(sensor.id == other.id for other in csi_cameras())
        wanted = sensor.id if there else sensor.model
        return msgspec.structs.replace(settings, source=f"picamera:{wanted}")

    return again


def installed() -> bool:
    """Whether there is a picamera2 to import; it may still be broken."""
    try:
        import picamera2  # noqa: F401
    except ModuleNotFoundError as error:
        return error.name != "picamera2"
    except Exception:
        return True
    return True


def _library() -> Any:
    """The class Picamera2."""
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")  # it tells its version on stderr otherwise
    try:
        from picamera2 import Picamera2
    except ModuleNotFoundError as error:
        if error.name != "picamera2":
            raise CameraError(_broken(error)) from error
        raise CameraError(
            "picamera2 is not installed: `sudo apt install python3-picamera2`, and make the virtual environment with "
            "`python3 -m venv --system-site-packages`."
        ) from None
    except Exception as error:  # a binary module that does not fit raises ImportError, ValueError or what it likes
        raise CameraError(_broken(error)) from error
    return Picamera2


def _broken(error: Exception) -> str:
    return (
        f"picamera2 is installed but cannot be imported ({_one_line(error)}): in a virtual environment, its numpy must "
        "be one that the system's modules accept."
    )


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": .")
