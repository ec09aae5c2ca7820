"""Video files: every frame in order, or at their own rate."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import CameraSettings, open_camera
from edge.errors import CameraError
from tests.test_cameras import FRAMES, write_video

LONG_S = 8.0


def test_every_frame_of_a_video_comes_in_order(tmp_path: Path) -> None:
    camera = open_camera(CameraSettings(source=str(write_video(tmp_path / "clip.avi", color=None))))
    assert camera.name == f"video {tmp_path / 'clip.avi'}, 96x64 at 20 fps, {FRAMES} frames"
    levels = []
    for number in range(FRAMES):
        frame = camera.read()
        assert frame is not None
        assert frame.sequence == number
        levels.append(round((float(frame.pixels.mean()) - 10) / 20))
    assert levels == list(range(FRAMES))
    assert camera.read() is None


def test_a_video_in_real_time_takes_its_time(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.avi", frames=11)
    camera = open_camera(CameraSettings(source=str(video), realtime=True))
    started_s = time.monotonic()
    last = 0
    while not camera.ended:
        frame = camera.read(LONG_S)
        last = frame.sequence if frame else last
    assert time.monotonic() - started_s >= 0.4  # frame 10 is due after 0.5 s, and opening started the clock
    assert last == 10


def test_a_damaged_video_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.avi", frames=1)
    content = video.read_bytes()
    start = content.index(b"\xff\xd8", content.index(b"movi"))
    video.write_bytes(content[:start] + b"\0" * 200 + content[start + 200 :])
    with pytest.raises(CameraError, match=r"clip\.avi"):
        open_camera(CameraSettings(source=str(video), loop=True)).read()


@pytest.mark.parametrize("name", ["intel_bottles", "opencvcourse_dog", "opencvcourse_kitten"])
def test_real_clips(data: Path, name: str) -> None:
    path = data / "videos" / f"{name}.mp4"
    camera = open_camera(CameraSettings(source=str(path)))
    expected = cv2.VideoCapture(str(path))
    for number in range(20):
        frame = camera.read()
        assert frame is not None
        assert frame.sequence == number
        assert np.array_equal(frame.pixels[..., ::-1], expected.read()[1])
    camera.close()


def test_a_clip_read_by_a_slow_reader_in_real_time(data: Path) -> None:
    camera = open_camera(CameraSettings(source=str(data / "videos" / "intel_bottles.mp4"), realtime=True))
    frames = []
    for frame in itertools.islice(iter(lambda: camera.read(LONG_S), None), 4):
        frames.append(frame.sequence)
        time.sleep(0.15)
    camera.close()
    assert all(later - earlier >= 2 for earlier, later in zip(frames, frames[1:]))


def cut_in_half(video: Path) -> Path:
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    return video


@pytest.mark.parametrize("realtime", [False, True])
def test_a_video_that_ends_early_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, realtime: bool) -> None:
    video = cut_in_half(write_video(tmp_path / "clip.avi", frames=60))
    camera = open_camera(CameraSettings(source=str(video), realtime=realtime))
    count = 0
    while not camera.ended:
        count += camera.read(LONG_S) is not None
    assert 0 < count < 40
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    if realtime:
        assert f"The video {video} gave" in record.getMessage()
    else:
        assert record.getMessage() == f"The video {video} gave {count} frames and announces 60: it may be damaged."


def test_in_a_loop_it_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    camera = open_camera(CameraSettings(source=str(cut_in_half(write_video(tmp_path / "clip.avi", 60))), loop=True))
    for _ in range(100):
        assert camera.read() is not None
    assert len(caplog.records) == 1


def test_of_a_whole_video_nothing_is_told(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (write_video(tmp_path / "clip.avi"), data / "videos" / "opencvcourse_dog.mp4"):
        camera = open_camera(CameraSettings(source=str(path)))
        while camera.read() is not None:
            pass
    assert not caplog.records


class StuckCapture:
    """A capture of a file whose server is gone: a grab returns once `answered`."""

    def __init__(self, path: str, backend: int) -> None:
        self.asked, self.answered, self.released = threading.Event(), threading.Event(), threading.Event()
        StuckCapture.opened = self

    opened: StuckCapture

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 20.0

    def grab(self) -> bool:
        self.asked.set()
        self.answered.wait()
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        assert not self.released.is_set()
        return True, np.zeros((6, 9, 3), np.uint8)

    def release(self) -> None:
        self.released.set()


@pytest.mark.parametrize("realtime", [False, True])
def test_a_stuck_read_does_not_hold_up_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, realtime: bool) -> None:
    (tmp_path / "clip.avi").touch()
    monkeypatch.setattr("edge.cameras.video.cv2.VideoCapture", StuckCapture)
    camera = open_camera(CameraSettings(source=str(tmp_path / "clip.avi"), realtime=realtime))
    capture = StuckCapture.opened
    reader = threading.Thread(target=camera.read, daemon=True)
    reader.start()
    assert capture.asked.wait(LONG_S)
    started_s = time.monotonic()
    camera.close()
    assert time.monotonic() - started_s < 1.9  # 0.7 s by itself
    assert camera.ended
    assert not capture.released.is_set()  # OpenCV crashes when that happens during a read
    capture.answered.set()
    assert capture.released.wait(LONG_S)
    reader.join(LONG_S)
    assert not reader.is_alive()
    assert camera.read() is None


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.avi")
    camera = open_camera(CameraSettings(source=str(video.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.avi")))))
    assert camera.name == f"video {tmp_path}/\ufffd.avi, 96x64 at 20 fps, {FRAMES} frames"
    assert camera.read() is not None
    camera.close()
