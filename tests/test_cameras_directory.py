"""Folders of pictures: order, truth, and what happens with damaged ones."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import Camera, CameraSettings, open_camera
from edge.cameras.directory import Directory
from edge.errors import CameraError


def picture(path: Path, suffix: str = ".png") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(suffix, np.full((6, 9, 3), 128, np.uint8))[1].tobytes())


def opened(folder: Path, skips: list[str], **more: bool) -> Camera:
    return open_camera(CameraSettings(source=str(folder), **more), on_skip=skips.append)  # type: ignore[arg-type]


def read_all(camera: Camera) -> list[tuple[int, str, object]]:
    found = []
    while (frame := camera.read()) is not None:
        found.append((frame.sequence, Path(frame.source or "").name, frame.label))
    return found


def test_class_folders_are_the_truth_and_order_is_that_of_the_paths(tmp_path: Path) -> None:
    for name in ("dog/b.png", "dog/a.JPG", "cat/c.webp", "top.bmp", "part/two/d.jpeg", ".hidden/e.png", "cat/._c.png"):
        picture(tmp_path / name, Path(name).suffix.lower())
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    assert read_all(opened(tmp_path, [])) == [
        (0, "c.webp", "cat"),
        (1, "a.JPG", "dog"),
        (2, "b.png", "dog"),
        (3, "d.jpeg", "two"),
        (4, "top.bmp", None),
    ]


def test_a_damaged_picture_is_counted_and_named_and_the_run_goes_on(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        picture(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"\x89PNG half of it")
    (tmp_path / "d.jpg").write_bytes(b"")
    skips: list[str] = []
    camera = opened(tmp_path, skips)
    assert [entry[:2] for entry in read_all(camera)] == [(0, "a.png"), (1, "c.png")]
    assert camera.skipped == 2  # type: ignore[attr-defined]
    assert [f"{tmp_path}/b.png" in skips[0], f"{tmp_path}/d.jpg" in skips[1]] == [True, True]


def test_in_a_loop_it_is_named_once(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"damaged")
    skips: list[str] = []
    camera = opened(tmp_path, skips, loop=True)
    for _ in range(5):
        assert camera.read() is not None
    assert len(skips) == 1


def test_nothing_but_damaged_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"damaged")
    camera = opened(tmp_path, [], loop=True)
    with pytest.raises(CameraError, match="Not one of the 1 pictures"):
        camera.read()
    assert camera.ended


def test_without_a_listener_the_log_names_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b%s.png").write_bytes(b"damaged")
    camera = open_camera(CameraSettings(source=str(tmp_path)))
    assert len(read_all(camera)) == 1
    assert f"{tmp_path}/b%s.png" in caplog.text


def test_a_set_of_photographs(data: Path) -> None:
    camera = opened(data / "flowers", [])
    assert camera.name == f"folder {data / 'flowers'}, {len(camera)} pictures"  # type: ignore[arg-type]
    frame = camera.read()
    assert frame is not None
    assert frame.label == "daisy"


@pytest.mark.parametrize("name", ["scene", "0", "auto", "picamera", "~nosuchuser", "one.png"])
def test_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    picture(tmp_path / name / "cat" / "a.png")
    monkeypatch.chdir(tmp_path)
    camera = Directory(CameraSettings(source=name))
    assert camera.name == f"folder {name}, 1 picture"
    assert read_all(camera) == [(0, "a.png", "cat")]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"There is no folder or picture .*/nowhere"):
        Directory(CameraSettings(source=str(tmp_path / "nowhere")))


def test_names_that_are_not_utf8_become_text(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    picture(root / "ok" / "a.png")
    picture(root / os.fsdecode(b"caf\xe9") / os.fsdecode(b"b\xe9.png"))
    skips: list[str] = []
    (root / os.fsdecode(b"\xe9.png")).write_bytes(b"damaged")
    camera = opened(root, skips)
    assert read_all(camera) == [(0, "b\ufffd.png", "caf\ufffd"), (1, "a.png", "ok")]
    assert camera.name.encode() == f"folder {tmp_path}/\ufffd, 3 pictures".encode()
    assert "\ufffd.png is not a picture" in skips[0]


def test_a_pipe_among_pictures_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    skips: list[str] = []
    assert read_all(opened(tmp_path, skips)) == [(0, "b.png", None)]
    assert skips == [f"{tmp_path}/a.png is not a file: expected a picture."]
