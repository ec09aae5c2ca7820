"""What is particular to a V4L2 device, and what becomes of what a driver gives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
import pytest

from edge.cameras import Camera, CameraSettings, open_camera
from edge.cameras.captures import fourcc_number, to_rgb
from edge.errors import CameraError
from tests.fakes.capture import TEST_CAM, FakeCapture
from tests.test_cameras import FAKE_DEVICE

RED_BGR = np.full((48, 64, 3), (0, 0, 255), np.uint8)
LONG_S = 8.0


def is_red(pixels: np.ndarray) -> bool:
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0)
    return bool(pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8 and red > 230 and max(green, blue) < 30)


def yuyv(bgr: np.ndarray) -> np.ndarray:
    """Y, U, Y, V of each two pixels, shape (height, width, 2)."""
    y, v, u = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb))
    packed = np.empty((*y.shape, 2), np.uint8)
    # what cameras send is the narrow range: Y in 16..235, U and V in 16..240
    packed[..., 0] = 16 + y.astype(float) * 219 / 255
    packed[:, 0::2, 1] = (128 + (u[:, 0::2].astype(float) - 128) * 224 / 255).astype(np.uint8)
    packed[:, 1::2, 1] = (128 + (v[:, 1::2].astype(float) - 128) * 224 / 255).astype(np.uint8)
    return packed


RAW = {
    "bgr": RED_BGR,
    "bgra": np.dstack([RED_BGR, np.full((48, 64), 7, np.uint8)]),
    "yuyv": yuyv(RED_BGR),
    "raw yuyv in a row": yuyv(RED_BGR).reshape(1, -1),
    "jpeg in a row": cv2.imencode(".jpg", RED_BGR)[1].reshape(1, -1),
}


@pytest.mark.parametrize("what", RAW)
def test_whatever_a_driver_gives_becomes_rgb(what: str) -> None:
    assert is_red(to_rgb(RAW[what], "cam", (48, 64)))


def test_grey_becomes_three_equal_channels() -> None:
    assert (to_rgb(np.full((48, 64), 90, np.uint8), "cam") == np.full((48, 64, 3), 90)).all()
    assert (to_rgb(np.full((48, 64, 1), 90, np.uint8), "cam") == np.full((48, 64, 3), 90)).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 921600), np.uint8),  # seen from a real driver when no FOURCC was set
        np.frombuffer(b"\xff\xd8 no jpeg", np.uint8).reshape(1, -1),
        np.zeros((48, 64), np.uint16),
        np.zeros((48, 64, 5), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
    ],
)
def test_what_cannot_be_told_is_a_clear_error(image: np.ndarray) -> None:
    with pytest.raises(CameraError, match=r"^cam gives raw data of shape .* ask for another fourcc"):
        to_rgb(image, "cam", (480, 640))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Camera]]:
    """Opens the fake device; keywords that are the fake's attributes change the fake."""
    monkeypatch.setattr("edge.cameras.v4l2.require_camera", lambda path: TEST_CAM)
    monkeypatch.setattr("edge.cameras.opencv.cv2.VideoCapture", FakeCapture)
    cameras = []

    def open_device(**settings: object) -> Camera:
        for name in ("modes", "image", "faults"):
            if name in settings:
                monkeypatch.setattr(FakeCapture, name, settings.pop(name))
        cameras.append(open_camera(CameraSettings(source=FAKE_DEVICE, **settings)))  # type: ignore[arg-type]
        return cameras[-1]

    yield open_device
    for camera in cameras:
        camera.close()


def test_a_device_is_asked_for_its_format_first(device: Callable[..., Camera]) -> None:
    camera = device(fourcc="yuyv", width_px=1280, height_px=720, fps=15.0)
    asked = FakeCapture.opened[-1].asked
    assert asked[:4] == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]
    assert cv2.CAP_PROP_BUFFERSIZE in asked
    assert camera.name == "V4L2 camera /dev/null (Test Cam), 1280x720 YUYV at 15 fps"


def test_a_device_that_gives_something_else_says_so(device: Callable[..., Camera]) -> None:
    modes = {cv2.CAP_PROP_FRAME_WIDTH: 320.0, cv2.CAP_PROP_FRAME_HEIGHT: 240.0, cv2.CAP_PROP_FPS: 60.0}
    camera = device(modes=modes)
    assert camera.name == (
        "V4L2 camera /dev/null (Test Cam), 320x240 MJPG at 60 fps (asked for 640x480 MJPG at 30 fps)"
    )
    frame = camera.read(LONG_S)
    assert frame is not None
    assert frame.pixels.shape == (240, 320, 3)


def test_a_frames_time_is_the_drivers(device: Callable[..., Camera]) -> None:
    frame = device().read(LONG_S)
    assert frame is not None
    assert time.monotonic_ns() - frame.captured_ns >= 4_000_000  # the fake stamps 4 ms before it delivers


def test_a_time_of_another_clock_is_not_believed(device: Callable[..., Camera]) -> None:
    before_ns = time.monotonic_ns()
    frame = device(faults=frozenset({"old_clock"})).read(LONG_S)
    assert frame is not None
    assert frame.captured_ns >= before_ns


def test_a_row_of_bgr_is_a_picture_where_the_driver_says_so(device: Callable[..., Camera]) -> None:
    modes = {
        cv2.CAP_PROP_FOURCC: float(fourcc_number("BGR3")),
        cv2.CAP_PROP_FRAME_WIDTH: 64.0,
        cv2.CAP_PROP_FRAME_HEIGHT: 48.0,
    }
    frame = device(modes=modes, image=RED_BGR.reshape(1, -1)).read(LONG_S)
    assert frame is not None
    assert is_red(frame.pixels)


def test_raw_data_from_a_device_is_an_error_when_it_is_opened(device: Callable[..., Camera]) -> None:
    with pytest.raises(CameraError, match=r"gives raw data of shape \(1, 921600\)"):
        device(modes={cv2.CAP_PROP_FOURCC: float(fourcc_number("H264"))}, image=np.zeros((1, 921600), np.uint8))


def test_a_device_that_is_unplugged(device: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    camera = device(faults=frozenset({"silent"}))
    monkeypatch.setattr("edge.cameras.opencv.os.path.exists", lambda path: False)
    with pytest.raises(CameraError, match="is gone: it was unplugged"):
        list(iter(lambda: camera.read(LONG_S), None))


@pytest.mark.parametrize(
    ("fault", "said"),
    [("silent", "gives nothing: 51 reads failed"), ("broken", "gives what cannot be decoded: 51 frames")],
)
def test_a_driver_that_fails_again_and_again(
    device: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    """It answers at once each time, so that nothing is to be waited for."""
    monkeypatch.setattr("edge.cameras.opencv._RETRY_S", 0.001)
    camera = device(faults=frozenset({fault}), fps=1000.0)
    with pytest.raises(CameraError, match=said) as caught:
        list(iter(lambda: camera.read(LONG_S), None))
    assert caught.value.cause == "read error"


def test_a_slow_reader_costs_no_decoding(device: Callable[..., Camera]) -> None:
    camera = device(fps=200.0)
    capture = FakeCapture.opened[-1]
    while capture.grabbed < 30:
        time.sleep(0.01)
    assert camera.read(LONG_S) is not None
    decoded, grabbed = capture.decoded, capture.grabbed
    while capture.grabbed < grabbed + 30:
        time.sleep(0.01)
    assert capture.decoded <= decoded + 1  # one may have been under way
    assert camera.read(LONG_S) is not None


def test_a_device_is_opened_again_where_it_is_now(
    device: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`isp_resize` is not asked of what `auto` chose in place of a CSI camera."""
    camera = device()
    monkeypatch.setattr("edge.cameras.v4l2.find", lambda identity: f"/dev/video7 of {identity.card}")
    again = camera.again(CameraSettings(source="auto", isp_resize=True, fps=7.0))  # type: ignore[attr-defined]
    assert again == CameraSettings(source="/dev/video7 of Test Cam", fps=7.0)


def test_a_link_is_followed_anew(
    device: Callable[..., Camera], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who named one, such as that of a port, said how the camera is to be found."""
    device()  # puts the fakes in place
    link = tmp_path / "left"
    link.symlink_to(FAKE_DEVICE)
    settings = CameraSettings(source=str(link))
    camera = open_camera(settings)
    camera.close()
    assert camera.again(settings) == settings  # type: ignore[attr-defined]
