"""`edge doctor` about cameras: picamera2 within and out of reach, libcamera's list, nodes of V4L2."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from edge.cameras import v4l2
from edge.doctor import camera
from tests.accelerators import bound_by_permissions
from tests.doctoring import case, levels, package, told, write

FAKE = (Path(__file__).parent / "fakes" / "picamera2.py").read_text()
NONE = "class Picamera2:\n    @staticmethod\n    def global_camera_info():\n        return []\n"


@pytest.mark.parametrize(
    ("source", "level", "words"),
    [
        ("auto", "warning", "so that a drawn scene is classified"),
        ("camera", "blocks", "no camera was found"),
        ("/dev/video99", "blocks", "There is no camera at /dev/video99"),
        ("99", "blocks", "There is no camera at /dev/video99"),
        ("picamera", "blocks", "picamera2 is not installed, and camera.source asks for it"),
        ("scene", "note", "no camera is used"),
        ("rtsp://camera.local/stream", "note", "whether it answers was not tried"),
        ("/no/such/film.mp4", "blocks", "No camera '/no/such/film.mp4'"),
        (str(Path(__file__).parent), "ok", "is there"),
    ],
)
def test_what_is_configured_and_not_connected(source: str, level: str, words: str) -> None:
    if v4l2.capture_devices() or any(os.path.exists(f"/dev/video{number}") for number in (0, 99)):
        pytest.skip("this machine has a camera")
    assert words in told(camera.examine(case(Path("/"), None, camera=source)), level)


def test_csi_cameras_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "picamera2.py", FAKE, monkeypatch)
    found = list(camera.examine(case(Path("/"), None, camera="picamera")))
    assert levels(found) == ["ok", "ok"]
    assert "CSI camera imx708, at /base/axi/pcie@120000/rp1/i2c@88000/imx708@1a." in told(found, "ok")
    (tmp_path / "packages/picamera2.py").write_text(NONE)
    assert "no CSI camera was found" in told(camera.examine(case(Path("/"), None, camera="picamera")), "blocks")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("raise RuntimeError('libcamera is busy')", "RuntimeError: libcamera is busy"),
    ],
)
def test_a_libcamera_that_fails_does_so_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    listing = NONE.replace("return []", code)
    package(tmp_path, "picamera2.py", listing, monkeypatch)
    found = told(camera.examine(case()), "warning")
    assert "libcamera does not list its cameras" in found
    assert words in found


def test_picamera2_of_another_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "picamera2.py", "raise ValueError('numpy.dtype size changed')", monkeypatch)
    found = told(camera.examine(case(Path("/"), None, camera="picamera")), "blocks")
    assert "picamera2 is installed but cannot be imported (ValueError: numpy.dtype size changed)" in found
    assert "give the environment the system's numpy" in found


def test_a_picamera2_that_this_python_cannot_reach(tmp_path: Path) -> None:
    packages = "usr/lib/python3/dist-packages"
    write(tmp_path, f"{packages}/picamera2/__init__.py")
    found = told(camera.examine(case(tmp_path)), "warning")
    assert "the virtual environment does not see the system's packages" in found
    write(tmp_path, f"{packages}/libcamera/_libcamera.cpython-38-aarch64-linux-gnu.so")
    found = told(camera.examine(case(tmp_path, None, camera="picamera")), "blocks")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"it was compiled for Python 3.8, and this is {own}" in found


def test_nodes_that_cannot_be_asked_are_told(tmp_path: Path) -> None:
    write(tmp_path, "dev/video0")
    write(tmp_path, "sys/class/video4linux/video0/name", "HD Webcam\n")
    found = list(camera.examine(case(tmp_path)))
    assert "/dev/video0 (HD Webcam) cannot be asked" in told(found, "note")
    assert "no camera was found" in told(found, "warning")


def test_a_node_of_somebody_else(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path, f"dev/video{number}").chmod(0)
    write(tmp_path, "sys/class/video4linux/video0/name", "bcm2835-codec\n")
    with bound_by_permissions():
        found = told(camera.examine(case(tmp_path)), "warning")
    assert "may not open /dev/video0 (bcm2835-codec), /dev/video1, /dev/video2, /dev/video3 and 2 others." in found
    assert "`sudo usermod -aG video $USER`" in found


def test_formats_as_the_kernel_tells_them() -> None:
    description = struct.pack("III32s4s16x", 1, 1, 1, b"Motion-JPEG", b"MJPG")
    assert v4l2.parse_format(description) == "MJPG"
    assert v4l2.parse_format(struct.pack("III32s4s16x", 0, 9, 0, b"8-bit grey", b"Y8  ")) == "Y8"
    assert v4l2.parse_format(struct.pack("III32s4s16x", 0, 1, 0, b"16-bit grey", b"Y16\xa0")) == "Y16-BE"


@pytest.mark.hardware
def test_a_real_cameras_formats() -> None:
    paths = v4l2.capture_devices()
    if not paths:
        pytest.skip("no V4L2 camera is connected")
    found = told(camera.examine(case(Path("/"), None, camera=paths[0])), "ok")
    assert f"{paths[0]}: " in found
    assert "MJPG" in found or "YUYV" in found
