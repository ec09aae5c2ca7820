"""The contract that every camera keeps: fakes where no device is, the same tests on real ones with `-m hardware`."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable, Optional, Union

import cv2
import numpy as np
import pytest

from edge.cameras import Camera, CameraSettings, open_camera, picamera, v4l2
from edge.cameras.lasting import Lasting
from edge.errors import CameraError
from edge.records import Frame
from tests.conftest import ROOT
from tests.fakes import picamera2 as fake_picamera2
from tests.fakes.capture import TEST_CAM, FakeCapture
from tests.fakes.rtsp import RtspServer

FRAMES = 12
STALL_S = 0.5
FAKE_DEVICE = "/dev/null"  # exists everywhere; the fakes stand in for what the kernel says of it
FOREVER_S = 8.0  # far more than anything here takes, far less than a hang
LIVE = ["video-realtime", "http", "rtsp", "device", "picamera", "scene", "lasting"]
FINITE = ["directory", "video", "video-realtime"]
REAL = [
    pytest.param("real-device", marks=pytest.mark.hardware),
    pytest.param("real-picamera", marks=pytest.mark.hardware),
]
EVERY = ["directory", "video", *LIVE, *REAL]


def write_video(path: Path, frames: int = FRAMES, color: Optional[tuple[int, int, int]] = (0, 0, 255)) -> Path:
    """An MJPG file of one BGR colour, or (None) of greys that tell the frame's number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (96, 64))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((64, 96, 3), color or (20 * number + 10,) * 3, np.uint8))
    writer.release()
    return path


class MjpegServer(ThreadingHTTPServer):
    """What a network camera serves: JPEG after JPEG, until `silent` or `over`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MjpegHandler)
        self.silent, self.over = threading.Event(), threading.Event()
        self.address = f"http://127.0.0.1:{self.server_address[1]}/live"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class _MjpegHandler(BaseHTTPRequestHandler):
    server: MjpegServer

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((64, 96, 3), (0, 0, 255), np.uint8))[1].tobytes()
        try:
            while not self.server.over.wait(0.03):
                if not self.server.silent.is_set():
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
        except OSError:
            return  # the camera was closed

    def log_message(self, *_: object) -> None:
        pass


Open = Callable[..., Camera]
Servers = dict[str, Union[MjpegServer, RtspServer]]


@pytest.fixture
def servers() -> Iterator[Servers]:
    with MjpegServer() as http, RtspServer() as rtsp:
        yield {"http": http, "rtsp": rtsp}


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts the fakes in place and makes them fail as told."""

    def put(*names: str) -> None:
        monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2)
        monkeypatch.setattr(fake_picamera2.Picamera2, "faults", frozenset(names))
        monkeypatch.setattr(FakeCapture, "faults", frozenset(names))
        monkeypatch.setattr("edge.cameras.opencv.cv2.VideoCapture", FakeCapture)
        monkeypatch.setattr("edge.cameras.v4l2.require_camera", lambda path: TEST_CAM)

    return put


@pytest.fixture
def opener(tmp_path: Path, servers: Servers, faults: Callable[..., None]) -> Iterator[Open]:
    """Opens a camera by its name in this file through the public seam, and closes it after the test."""
    with ExitStack() as stack:

        def open_one(kind: str, **more: object) -> Camera:
            settings: dict[str, object] = {"width_px": 96, "height_px": 64, "stall_s": 3.0}
            if kind == "directory":
                (tmp_path / "red").mkdir()
                for number in range(FRAMES):
                    cv2.imwrite(str(tmp_path / "red" / f"{number:02}.png"), np.full((64, 96, 3), (0, 0, 255), np.uint8))
                settings["source"] = str(tmp_path)
            elif kind in ("video", "video-realtime"):
                settings["source"] = str(write_video(tmp_path / "red.avi", 24 if kind == "video-realtime" else FRAMES))
                settings["realtime"] = kind == "video-realtime"
            elif kind in servers:
                settings["source"] = servers[kind].address
            elif kind == "real-device":
                if not v4l2.capture_devices():
                    pytest.skip("no V4L2 camera here")
                settings |= {"source": os.environ.get("EDGE_TEST_V4L2", "0"), "width_px": 640, "height_px": 480}
            elif kind == "real-picamera":
                if not picamera.installed() or not picamera.csi_cameras():
                    pytest.skip("no picamera2 or no CSI camera here")
                settings |= {"source": "picamera", "width_px": 640, "height_px": 480}
            else:
                settings["source"] = FAKE_DEVICE if kind in ("device", "lasting") else kind
            if kind in ("device", "lasting", "picamera") and sys.modules.get("picamera2") is not fake_picamera2:
                faults()
            asked = CameraSettings(give_up_s=0.0, **(settings | more))  # type: ignore[arg-type]
            camera = Lasting(open_camera, asked, lambda *_: None) if kind == "lasting" else open_camera(asked)
            stack.callback(camera.close)
            return camera

        yield open_one


def frames_of(camera: Camera) -> Iterator[Frame]:
    """Frames until the source ends or gives none for long."""
    while not camera.ended:
        frame = camera.read(FOREVER_S)
        if frame is None:
            assert camera.ended
            return
        yield frame


@pytest.mark.parametrize("kind", EVERY)
def test_frames_are_rgb_bytes(opener: Open, kind: str) -> None:
    camera = opener(kind)
    for frame in itertools.islice(frames_of(camera), 3):
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.ndim == 3
        assert frame.pixels.shape[2] == 3
        assert frame.pixels.flags.c_contiguous
        if kind == "scene" or kind.startswith("real"):
            continue
        assert frame.pixels.shape == (64, 96, 3)
        red, green, blue = frame.pixels.reshape(-1, 3).mean(axis=0)
        assert red > 230
        assert max(green, blue) < 30


@pytest.mark.parametrize("kind", EVERY)
def test_numbers_and_times_go_forward(opener: Open, kind: str) -> None:
    before_ns = time.monotonic_ns()
    camera = opener(kind)
    assert camera.name
    assert camera.live == (kind in LIVE or kind.startswith("real"))
    sequence, captured_ns = -1, before_ns
    for frame in itertools.islice(frames_of(camera), 8):
        assert frame.sequence > sequence
        assert captured_ns <= frame.captured_ns <= time.monotonic_ns()
        sequence, captured_ns = frame.sequence, frame.captured_ns
    assert sequence >= 7


@pytest.mark.parametrize("kind", EVERY)
def test_closing_ends_it_and_may_be_repeated(opener: Open, kind: str) -> None:
    camera = opener(kind)
    assert not camera.ended
    assert camera.read(FOREVER_S) is not None
    camera.close()
    camera.close()
    assert camera.ended
    started_s = time.monotonic()
    assert camera.read(FOREVER_S) is None
    assert time.monotonic() - started_s < FOREVER_S / 2


@pytest.mark.parametrize("kind", [*LIVE, *REAL])
def test_closing_wakes_a_reader(opener: Open, kind: str) -> None:
    camera = opener(kind, fps=0.2) if kind == "scene" else opener(kind)
    reads = threading.Thread(target=lambda: list(frames_of(camera)), daemon=True)
    reads.start()
    camera.close()
    reads.join(FOREVER_S)
    assert not reads.is_alive()


@pytest.mark.parametrize("kind", FINITE)
def test_a_source_with_an_end_ends(opener: Open, kind: str) -> None:
    camera = opener(kind)
    frames = list(frames_of(camera))
    assert camera.ended
    assert camera.read(0.01) is None
    if not camera.live:
        assert [frame.sequence for frame in frames] == list(range(FRAMES))


@pytest.mark.parametrize("kind", ["directory", "video"])
def test_loop_starts_again(opener: Open, kind: str) -> None:
    camera = opener(kind, loop=True)
    frames = list(itertools.islice(frames_of(camera), FRAMES * 2 + 1))
    assert [frame.sequence for frame in frames] == list(range(FRAMES * 2 + 1))
    assert not camera.ended


@pytest.mark.parametrize("kind", [*LIVE, *REAL])
def test_a_slow_reader_gets_fresh_frames_and_sees_what_it_missed(opener: Open, kind: str) -> None:
    camera = opener(kind)
    first = camera.read(FOREVER_S)
    time.sleep(0.5)
    second = camera.read(FOREVER_S)
    assert first is not None
    assert second is not None
    assert second.sequence - first.sequence >= 4  # the slowest source here gives 10 in that time
    assert second.captured_ns - first.captured_ns > 0.25e9  # not the one that came right after


@pytest.mark.parametrize("kind", [*LIVE, *REAL])
def test_no_frame_comes_twice(opener: Open, kind: str) -> None:
    camera = opener(kind)
    frames = list(itertools.islice(frames_of(camera), 6))
    assert len({frame.sequence for frame in frames}) == 6
    assert not any(np.shares_memory(one.pixels, two.pixels) for one, two in itertools.combinations(frames, 2))


def read_until_error(camera: Camera) -> str:
    """The sentence that ends a live camera."""
    deadline_s = time.monotonic() + FOREVER_S
    try:
        while time.monotonic() < deadline_s:
            camera.read(0.1)
    except CameraError as error:
        return str(error)
    raise AssertionError("no error came")


@pytest.mark.parametrize("kind", ["device", "picamera", "lasting"])
def test_a_camera_that_goes_silent_is_an_error(opener: Open, faults: Callable[..., None], kind: str) -> None:
    faults("stalls" if kind == "picamera" else "silent")
    camera = opener(kind, stall_s=STALL_S)
    assert "stuck or lost" in read_until_error(camera)
    assert not camera.ended


@pytest.mark.parametrize("kind", ["http", "rtsp"])
def test_a_stream_that_goes_silent_is_an_error(opener: Open, servers: Servers, kind: str) -> None:
    camera = opener(kind, stall_s=STALL_S)
    servers[kind].silent.set()
    message = read_until_error(camera)
    assert "the network was lost" in message or "stuck or lost" in message


@pytest.mark.parametrize("kind", ["device", "picamera", "lasting"])
def test_a_stuck_driver_does_not_hold_up_close(opener: Open, faults: Callable[..., None], kind: str) -> None:
    faults("stuck")
    camera = opener(kind, stall_s=STALL_S)
    read_until_error(camera)
    started_s = time.monotonic()
    camera.close()
    assert time.monotonic() - started_s < 1.9  # 0.7 s by itself


@pytest.mark.parametrize("kind", ["device", "picamera", "lasting"])
def test_closing_releases_the_device(opener: Open, kind: str) -> None:
    camera = opener(kind)
    camera.read(FOREVER_S)
    camera.close()
    assert fake_picamera2.Picamera2.opened[-1].closed if kind == "picamera" else FakeCapture.opened[-1].released


@pytest.mark.parametrize("source", [FAKE_DEVICE, "picamera"])
def test_a_camera_is_found_again_although_the_lost_one_is_stuck(
    faults: Callable[..., None], monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr("edge.cameras.apart.CLOSING_S", 0.1)
    monkeypatch.setattr("edge.cameras.lasting.SHORTEST_PAUSE_S", 0.05)
    monkeypatch.setattr("edge.cameras.v4l2.find", lambda identity: FAKE_DEVICE)
    faults("stuck")
    events: list[str] = []
    settings = CameraSettings(source=source, stall_s=0.3)
    with closing(Lasting(open_camera, settings, lambda kind, detail: events.append(kind))) as camera:
        while not camera.lost:
            camera.read(0.1)
        faults()
        frame, deadline_s = None, time.monotonic() + FOREVER_S
        while frame is None and time.monotonic() < deadline_s:
            frame = camera.read(0.1)
        assert frame is not None
        assert (events, camera.faults, camera.stuck) == (["camera lost", "camera found"], 1, 1)


ABANDONED = """
import sys, threading
from edge.cameras import CameraSettings, open_camera, opencv, v4l2
from edge.errors import CameraError
from tests.fakes import picamera2
from tests.fakes.capture import TEST_CAM, FakeCapture

source, asked = sys.argv[1], threading.Event()
sys.modules["picamera2"] = picamera2
picamera2.Picamera2.capture_request = lambda self, signal_function: asked.set()
if source == "/dev/null":
    v4l2.require_camera = lambda path: TEST_CAM
    opencv.cv2.VideoCapture = FakeCapture
    FakeCapture.grab = lambda self: asked.set() or threading.Event().wait()
settings = CameraSettings(source=source, stall_s=60.0)

def open_it():
    try:
        open_camera(settings)
    except CameraError:
        pass  # its slot is closed when the interpreter ends

opening = threading.Thread(target=open_it, daemon=True)
opening.start()
if "://" not in source:
    asked.wait()
sys.stdin.read()
sys.exit(0 if opening.is_alive() else "it was opened")
"""


@pytest.mark.parametrize("source", ["rtsp://127.0.0.1:{}/", "http://127.0.0.1:{}/", FAKE_DEVICE, "picamera"])
def test_a_program_may_end_while_it_waits_for_a_camera(source: str) -> None:
    """Opened on a daemon thread; the camera is there and gives nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        command = [sys.executable, "-c", ABANDONED, source.format(silent.getsockname()[1])]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as program:
            connection = silent.accept() if "://" in source else None
            assert program.communicate(timeout=30) == ("", "")  # its standard input ends, and then it
            assert program.returncode == 0
            if connection:
                connection[0].close()


@pytest.mark.parametrize("kind", ["http", "rtsp"])
def test_a_program_that_does_not_close_its_camera_ends_well(servers: Servers, kind: str) -> None:
    code = f"""
from edge.cameras import CameraSettings, open_camera
camera = open_camera(CameraSettings(source={servers[kind].address!r}))
assert camera.read({FOREVER_S}) is not None
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")
