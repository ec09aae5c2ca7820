"""Which camera a name means, what `auto` chooses, and one clear sentence for each way to fail."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import CameraSettings, _kind, open_camera, v4l2
from edge.errors import CameraError
from tests.fakes import picamera2 as fake_picamera2
from tests.fakes.capture import TEST_CAM, FakeCapture
from tests.test_cameras import write_video


def failure(source: str, **more: object) -> str:
    with pytest.raises(CameraError) as caught:
        open_camera(CameraSettings(source=source, **more)).close()  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("picamera", "picamera"),
        ("scene", "scene"),
        ("0", "device"),
        ("12", "device"),
        ("/dev/video3", "device"),
        ("/dev/v4l/by-id/usb-046d_C920-video-index0", "device"),
        ("rtsp://camera/1", "stream"),
        ("HTTP://camera/1", "stream"),
        ("{folder}", "directory"),
        ("{folder}/one.PNG", "directory"),
        ("{folder}/clip.avi", "video"),
    ],
)
def test_names_mean_what_they_look_like(tmp_path: Path, source: str, kind: str) -> None:
    (tmp_path / "one.PNG").touch()
    (tmp_path / "clip.avi").touch()
    assert _kind(source.format(folder=tmp_path)) == kind


@pytest.mark.parametrize(
    "source",
    ["", "nope", "Picamera", "-1", "/nowhere/clip.mp4", "ftp://camera", "~nosuchuser/clip.mp4", "a\0b", "c" * 5000],
)
def test_another_name_is_an_error_with_the_choices(source: str) -> None:
    message = failure(source)
    assert repr(source) in message
    assert "auto, camera, picamera, scene" in message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fps": 0}, "fps is 0"),
        ({"width_px": -1}, "width_px is -1"),
        ({"stall_s": float("nan")}, "stall_s is nan"),
        ({"stall_s": float("inf")}, "stall_s is inf"),
        ({"fps": float("nan")}, "fps is nan: expected a number from 0.001 to 10000"),
        ({"fps": float("inf")}, "fps is inf"),
        ({"fps": 1e-300}, "fps is 1e-300"),
        ({"height_px": float("nan")}, "height_px is nan"),
        ({"width_px": float("inf")}, "width_px is inf"),
        ({"fourcc": "MJPEG"}, "four letters"),
        ({"isp_resize": True}, "isp_resize"),
    ],
)
def test_impossible_settings(settings: dict[str, object], said: str) -> None:
    assert said in failure("scene", **settings)


def test_isp_resize_is_for_a_csi_camera() -> None:
    with pytest.raises(CameraError, match="isp_resize is for a CSI camera"):
        open_camera(CameraSettings(source="scene", isp_resize=True), (224, 224))


def test_no_device_at_that_number() -> None:
    assert "There is no camera at /dev/video97" in failure("97")


def test_something_else_in_dev() -> None:
    assert failure("/dev/null") == "/dev/null is no V4L2 device."


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "usermod -aG video"),
        (errno.EBUSY, "in use by another program"),
        (errno.ENODEV, "There is no camera at"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_device_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, number: int, said: str) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("edge.cameras.v4l2.os.open", refuse)
    assert said in failure("/dev/video0")


def test_a_codec_is_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        v4l2, "query", lambda path: v4l2.Node("bcm2835-codec", "bcm2835-codec-decode", "bus", 0x04008000)
    )
    assert "is no camera: it is bcm2835-codec-decode" in failure("/dev/video10")


def test_a_device_that_will_not_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "require_camera", lambda path: TEST_CAM)
    monkeypatch.setattr("edge.cameras.opencv.cv2.VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "faults", frozenset({"busy"}))
    assert failure("/dev/null") == "/dev/null (Test Cam) cannot be opened: another program may be using it."


def test_not_a_video(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video\n" * 50)
    assert failure(str(text)) == f"{text} is not a video that OpenCV can read, or is damaged."


def test_a_video_that_may_not_be_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    video = write_video(tmp_path / "clip.avi")
    video.chmod(0)
    assert "Permission denied" in failure(str(video))


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert f"{tmp_path} holds no pictures" in failure(str(tmp_path))


def test_nobody_answers_at_the_address_and_the_password_is_not_shown() -> None:
    message = failure("rtsp://admin:secret@127.0.0.1:9/live", stall_s=1.0)
    assert "rtsp://admin:***@127.0.0.1:9/live cannot be opened" in message
    assert "secret" not in message


def test_picamera_without_picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    monkeypatch.setattr(sys, "path", [])
    message = failure("picamera")
    assert "sudo apt install python3-picamera2" in message
    assert "--system-site-packages" in message


def test_picamera_with_a_numpy_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "installed but cannot be imported (ValueError: numpy.dtype size changed)" in failure("picamera")


def test_nothing_is_printed_by_opencv_when_we_raise(tmp_path: Path) -> None:
    """In a process of its own: OpenCV's settings are read once."""
    text = tmp_path / "notes.mp4"
    text.write_text("not a video\n" * 50)
    code = f"""
from edge.cameras import CameraSettings, open_camera
from edge.errors import CameraError
for source in ({str(text)!r}, "rtsp://127.0.0.1:9/live", "97"):
    try:
        open_camera(CameraSettings(source=source, stall_s=1.0))
    except CameraError:
        continue
    raise SystemExit(source)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def capability(driver: str, card: str, all_nodes: int, this_node: int) -> bytes:
    """A `struct v4l2_capability`, as the kernel lays it out."""
    return struct.pack("16s32s32s6I", driver.encode(), card.encode(), b"bus", 1, all_nodes, this_node, 0, 0, 0)


@pytest.mark.parametrize(
    ("driver", "card", "caps", "expected"),
    [
        ("uvcvideo", "HD Pro Webcam C920", 0x04200001, True),
        ("uvcvideo", "HD Pro Webcam C920", 0x04A00000, False),  # the same camera's metadata node
        ("bm2835 mmal", "mmal service 16.1", 0x05200001, True),  # the legacy camera
        ("bcm2835-codec", "bcm2835-codec-decode", 0x04204000, False),
        ("bcm2835-isp", "bcm2835-isp", 0x04A00001, False),
        ("unicam", "unicam", 0x05A00001, False),
        ("rp1-cfe", "rp1-cfe", 0x05A00001, False),
        ("pispbe", "pispbe", 0x05001000, False),
        ("rpi-hevc-dec", "rpi-hevc-dec", 0x04204000, False),
    ],
)
def test_which_nodes_are_cameras(driver: str, card: str, caps: int, expected: bool) -> None:
    """Names and numbers as seen on a Pi; `capabilities` is the whole device's, `device_caps` this node's."""
    answer = v4l2.parse_capability(capability(driver, card, 0x84A00001 | caps, caps))
    assert answer == (driver, card, "bus", caps)
    assert v4l2.is_camera(answer) is expected


def test_nodes_are_asked_in_the_order_of_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("video10", "video2", "video0", "videodev", "media0"):
        (tmp_path / name).touch()

    def answer(path: str) -> v4l2.Node:
        if path.endswith("video0"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return v4l2.Node("uvcvideo", "Cam", "usb-1", 0x04200001)

    monkeypatch.setattr(v4l2, "query", answer)
    assert v4l2.capture_devices(tmp_path) == [str(tmp_path / "video2"), str(tmp_path / "video10")]


@pytest.fixture
def no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(v4l2, "capture_devices", list)


@pytest.mark.usefixtures("no_camera")
class TestAuto:
    """A CSI camera, else a V4L2 camera that gives frames, else the scene."""

    def name(self, **settings: object) -> str:
        camera = open_camera(CameraSettings(**settings), (224, 224))  # type: ignore[arg-type]
        camera.close()
        return camera.name

    def test_with_nothing_it_is_the_drawn_scene_and_says_so(self) -> None:
        assert self.name() == "drawn scene (no camera found), 640x480 at 30 fps"
        assert self.name(isp_resize=True) == "drawn scene (no camera found), 640x480 at 30 fps"

    def test_without_the_scene_it_is_an_error(self) -> None:
        with pytest.raises(CameraError, match="No camera was found") as caught:
            self.name(source="camera")
        assert caught.value.cause == "gone"

    def test_without_the_scene_the_last_failure_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(v4l2, "capture_devices", lambda: ["/dev/video97"])
        assert failure("camera").startswith("There is no camera at /dev/video97")

    def test_the_csi_camera_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2)
        monkeypatch.setattr(v4l2, "capture_devices", lambda: ["/dev/null"])
        assert self.name().startswith("CSI camera imx708, 640x480")
        assert self.name(isp_resize=True).startswith("CSI camera imx708, 224x224")

    def test_a_usb_camera_in_libcamera_is_no_csi_camera(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usb = {"Model": "C920", "Id": "/base/axi/pcie@120000/rp1/usb@200000-1:1.0-046d:0825", "Num": 0}
        monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2)
        monkeypatch.setattr(fake_picamera2.Picamera2, "cameras", (usb,))
        assert self.name().startswith("drawn scene (no camera found)")

    def test_the_first_device_that_gives_frames(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(v4l2, "capture_devices", lambda: ["/dev/video97", "/dev/null"])
        real = v4l2.require_camera
        monkeypatch.setattr(v4l2, "require_camera", lambda path: TEST_CAM if path == "/dev/null" else real(path))
        monkeypatch.setattr("edge.cameras.opencv.cv2.VideoCapture", FakeCapture)
        assert self.name().startswith("V4L2 camera /dev/null (Test Cam), 640x480 MJPG at 30 fps")
        assert "There is no camera at /dev/video97" in caplog.text

    def test_a_camera_that_is_there_and_fails_is_told(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2)
        monkeypatch.setattr(fake_picamera2.Picamera2, "faults", frozenset({"busy"}))
        assert self.name().startswith("drawn scene (no camera could be opened)")
        assert "CSI camera imx708 cannot be opened" in caplog.text


def test_neither_opencv_nor_numpy_is_needed_to_know_the_settings() -> None:
    code = "import sys; sys.modules['cv2'] = sys.modules['numpy'] = None; import edge.cameras"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_picture_is_no_video_and_a_video_is_no_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((8, 8, 3), np.uint8))
    camera = open_camera(CameraSettings(source=str(tmp_path / "one.png")))
    frame = camera.read()
    assert frame is not None
    assert (frame.label, frame.source) == (None, str(tmp_path / "one.png"))
    assert camera.read() is None
    assert camera.ended


def test_a_file_in_dev_is_a_file() -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        video = write_video(Path(folder, "clip.avi"))
        assert _kind(folder) == "directory"
        camera = open_camera(CameraSettings(source=str(video)))
        assert camera.name.startswith(f"video {video}")
        camera.close()


@pytest.mark.parametrize("name", ["clip.mp4", "one.png"])
def test_a_pipe_is_no_camera(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert f"'{tmp_path / name}' is a pipe or the like" in failure(str(tmp_path / name))


def test_what_may_not_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edge.cameras.Path.stat", refuse)
    assert failure("/secret/clip.mp4") == "Cannot read '/secret/clip.mp4': Permission denied."


@pytest.mark.parametrize("source", ["rtsp://[::1", "rtsp://admin:secret@[::1", "http://admin:secret@a\u2100b/"])
def test_what_is_no_address(source: str) -> None:
    message = failure(source)
    assert message.endswith("is no address: expected one like rtsp://camera/stream.")
    assert "secret" not in message


def test_an_address_that_is_not_unicode() -> None:
    assert "holds what no address may" in failure("rtsp://camera/\udcff")
