"""What is particular to a network stream: its password, which comes from a file and is shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.cameras import CameraSettings, open_camera
from edge.errors import CameraError
from tests.fakes.rtsp import RtspServer

PASSWORD = "p@ss:w/rd%20ä#?"
LONG_S = 8.0


def settings_of(server: RtspServer, file: Path) -> CameraSettings:
    address = server.address.replace("user:secret@", "user@")
    return CameraSettings(source=address, password_file=str(file), stall_s=LONG_S)


def test_the_password_of_a_file_opens_the_stream(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(f"{PASSWORD}\r\n".encode())
    with RtspServer(f"user:{PASSWORD}") as server:
        camera = open_camera(settings_of(server, file))
        frame = camera.read(LONG_S)
        camera.close()
    assert frame is not None
    assert camera.name == f"stream rtsp://***@127.0.0.1:{server.server_address[1]}/live, 96x64"


def test_a_wrong_password_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    with RtspServer(f"user:{PASSWORD}") as server, pytest.raises(CameraError, match="check the address") as caught:
        open_camera(settings_of(server, file))
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "holds no password"),
        (b"\n", "holds no password"),
        (b"x" * 1025, "1 to 1024 bytes"),
    ],
)
def test_a_password_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CameraError, match=said) as caught:
        open_camera(CameraSettings(source="rtsp://user@127.0.0.1:9/", password_file=str(file)))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "source", ["rtsp://127.0.0.1:9/", "rtsp://user:secret@127.0.0.1:9/", "rtsp://127.0.0.1:9/a@b", "http://@127.0.0.1/"]
)
def test_an_address_that_has_no_place_for_a_password(source: str) -> None:
    with pytest.raises(CameraError, match="with a user and no password") as caught:
        open_camera(CameraSettings(source=source, password_file=os.devnull))
    assert "secret" not in str(caught.value)
