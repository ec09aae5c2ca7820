"""The CSI camera against a fake picamera2 that keeps the real one's rules."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from edge.cameras import CameraSettings, open_camera, picamera
from edge.errors import CameraError
from tests.fakes import picamera2 as fake

LONG_S = 8.0


@pytest.fixture(autouse=True)
def fake_picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", fake)


def put(monkeypatch: pytest.MonkeyPatch, *faults: str) -> None:
    monkeypatch.setattr(fake.Picamera2, "faults", frozenset(faults))


def test_what_is_asked_of_it() -> None:
    camera = open_camera(CameraSettings(source="picamera", fps=25.0))
    opened = fake.Picamera2.opened[-1]
    assert opened.config["main"] == {"format": "BGR888", "size": (640, 480)}
    assert opened.config["raw"] == {"size": (2304, 1296)}  # the mode that bins the whole sensor
    assert opened.config["controls"] == {"FrameDurationLimits": (40000, 40000)}
    assert opened.config["queue"] is False
    assert camera.name == "CSI camera imx708, 640x480 at 25 fps from 2304x1296"
    camera.close()
    assert opened.closed
    assert opened.held == 0


def test_a_camera_that_no_rate_can_be_asked_of(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, "unpaced")
    with contextlib.closing(open_camera(CameraSettings(source="picamera", fps=25.0))) as camera:
        assert camera.read(LONG_S) is not None
        assert camera.name == "CSI camera imx708, 640x480 from 2304x1296"


@pytest.mark.parametrize("back", [False, True], ids=["away", "plugged in again"])
def test_a_camera_whose_devices_are_gone_asks_for_a_new_process(
    back: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entries = [tmp_path / "81:1", tmp_path / "81:4"]
    monkeypatch.setattr(picamera, "DEVICES", tmp_path)
    for entry in entries:
        entry.mkdir()
    put(monkeypatch, "stalls")
    camera = open_camera(CameraSettings(source="picamera"))
    for entry in entries:
        entry.rename(tmp_path / f"old {entry.name}")  # an entry that comes later is another one
        if back:
            entry.mkdir()
    with contextlib.closing(camera), pytest.raises(CameraError, match="restart") as caught:
        deque(iter(lambda: camera.read(LONG_S), None), maxlen=0)
    assert caught.value.needs_restart
    assert caught.value.cause == "gone"
    assert fake.Picamera2.opened[-1].stops == 0  # libcamera would end the process


def test_the_isp_makes_frames_of_the_models_size() -> None:
    camera = open_camera(CameraSettings(source="picamera", isp_resize=True), isp_size_px=(224, 300))
    frame = camera.read(LONG_S)
    camera.close()
    assert frame is not None
    assert frame.pixels.shape == (224, 300, 3)
    assert camera.name.endswith(", resized by the ISP")


def test_the_models_size_is_not_used_unasked() -> None:
    camera = open_camera(CameraSettings(source="picamera"), isp_size_px=(224, 224))
    camera.close()
    assert fake.Picamera2.opened[-1].config["main"]["size"] == (640, 480)


def test_frames_that_the_sensor_made_and_nobody_took_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = open_camera(CameraSettings(source="picamera", fps=50.0))
    frames = [camera.read(LONG_S)]
    real_put = camera._done.put  # type: ignore[attr-defined]

    def late(job: fake.Job) -> None:
        time.sleep(0.2)  # the event loop is held up: the sensor's time goes on
        real_put(job)

    opened = fake.Picamera2.opened[-1]
    monkeypatch.setattr(opened, "capture_request", lambda signal_function: opened._jobs.append(late))
    frames += [camera.read(LONG_S) for _ in range(4)]
    camera.close()
    numbers = [frame.sequence for frame in frames if frame]
    assert numbers[-1] - numbers[-2] >= 4


def test_the_sensors_time_is_brought_to_the_monotonic_clock() -> None:
    now_ns = time.monotonic_ns()
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert abs(picamera.to_monotonic_ns(boot_ns - 30_000_000) - (now_ns - 30_000_000)) < 25_000_000


def test_a_clock_that_stood_still_while_the_machine_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_ns = 3600 * 10**9
    monkeypatch.setattr(picamera.time, "clock_gettime_ns", lambda clock: time.monotonic_ns() + slept_ns)
    for stamp_ns in (time.monotonic_ns() + slept_ns - 40_000_000, time.monotonic_ns() - 40_000_000):
        age_ns = time.monotonic_ns() - picamera.to_monotonic_ns(stamp_ns)
        assert 40_000_000 <= age_ns < 1_000_000_000


@pytest.mark.parametrize("stamp_ns", [None, 0, 2**62])
def test_a_time_that_cannot_be_is_now(stamp_ns: object) -> None:
    before_ns = time.monotonic_ns()
    assert before_ns <= picamera.to_monotonic_ns(stamp_ns) <= time.monotonic_ns()  # type: ignore[arg-type]


def test_frames_without_a_time_are_stamped_on_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, "no_timestamp")
    camera = open_camera(CameraSettings(source="picamera"))
    frame = camera.read(LONG_S)
    camera.close()
    assert frame is not None
    assert time.monotonic_ns() - frame.captured_ns < LONG_S * 1e9


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("busy", "CSI camera imx708 cannot be opened: RuntimeError: Camera __init__ sequence did not complete"),
        ("silent", "CSI camera imx708.* gave no frame for"),
        ("size", "gives 640x480 when 300x224 is asked"),
        ("breaks", "CSI camera imx708.* failed: ZeroDivisionError"),
    ],
)
def test_what_can_go_wrong(monkeypatch: pytest.MonkeyPatch, fault: str, said: str) -> None:
    put(monkeypatch, fault)
    stall_s = 0.3 if fault == "silent" else LONG_S
    count = len(fake.Picamera2.opened)
    with pytest.raises(CameraError, match=said):
        open_camera(CameraSettings(source="picamera", isp_resize=True, stall_s=stall_s), isp_size_px=(224, 300))
    for camera in fake.Picamera2.opened[count:]:
        assert camera.closed
        assert camera.held == 0


def test_no_camera_on_the_ribbon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.Picamera2, "cameras", ())
    with pytest.raises(CameraError, match="No CSI camera was found"):
        open_camera(CameraSettings(source="picamera"))


def test_an_older_picamera2_without_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    usb = {"Model": "C920", "Id": "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.3:1.0-046d:0825"}
    csi = {"Model": "ov5647", "Id": "/base/soc/i2c0mux/i2c@1/ov5647@36"}
    monkeypatch.setattr(fake.Picamera2, "cameras", (usb, csi))
    assert picamera.csi_cameras() == [(1, "ov5647", "/base/soc/i2c0mux/i2c@1/ov5647@36")]


def test_pixels_are_a_copy_of_their_own() -> None:
    camera = open_camera(CameraSettings(source="picamera"))
    frame = camera.read(LONG_S)
    camera.close()
    assert frame is not None
    assert isinstance(frame.pixels, np.ndarray)
    assert frame.pixels.flags.writeable


LEFT = {"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@80000/imx708@1a", "Num": 0}
RIGHT = {"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a", "Num": 1}
OTHER = {"Model": "ov5647", "Id": "/base/axi/pcie@120000/rp1/i2c@80000/ov5647@36", "Num": 2}


@pytest.mark.parametrize(
    ("source", "number"),
    [("picamera", 0), ("picamera:imx708", 0), (f"picamera:{RIGHT['Id']}", 1), ("picamera:ov5647", 2)],
)
def test_which_of_several_cameras(monkeypatch: pytest.MonkeyPatch, source: str, number: int) -> None:
    monkeypatch.setattr(fake.Picamera2, "cameras", (LEFT, RIGHT, OTHER))
    open_camera(CameraSettings(source=source)).close()
    assert fake.Picamera2.opened[-1].number == number


def test_a_model_that_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraError, match=r"^There is no CSI camera ov5647: found imx708\.$") as caught:
        open_camera(CameraSettings(source="picamera:ov5647"))
    assert caught.value.cause == "gone"


def test_the_same_camera_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake.Picamera2, "cameras", (LEFT, RIGHT))
    settings = CameraSettings(source=f"picamera:{RIGHT['Id']}")
    camera = open_camera(settings)
    camera.close()
    monkeypatch.setattr(fake.Picamera2, "cameras", (OTHER, {**RIGHT, "Num": 1}))
    assert camera.again(settings) == settings  # type: ignore[attr-defined]
    monkeypatch.setattr(fake.Picamera2, "cameras", (OTHER, LEFT))  # it was put into the other connector
    assert camera.again(settings).source == "picamera:imx708"  # type: ignore[attr-defined]
