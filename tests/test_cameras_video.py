"""Video files: every frame in order, or at their own rate."""

from __future__ import annotations

import itertools
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
