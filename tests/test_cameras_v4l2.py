"""How a V4L2 camera is found again: nodes that the kernel made anew, in a folder that stands for /dev."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Optional

import pytest

from edge.cameras import v4l2
from edge.cameras.v4l2 import Identity, Node
from edge.errors import CameraError

CAMERA = 0x04200001
METADATA = 0x04A00000
C920, C270 = "HD Pro Webcam C920", "C270 HD WEBCAM"


class Dev:
    """A folder with nodes and links; `query` asks it instead of the kernel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: dict[str, Node] = {}

    def plug(self, number: int, card: str, port: str, serial: Optional[str] = None, capabilities: int = CAMERA) -> str:
        path = self.folder / f"video{number}"
        path.touch()
        self.nodes[str(path)] = Node("uvcvideo", card, port, capabilities)
        if serial:
            links = self.folder / "v4l" / "by-id"
            links.mkdir(parents=True, exist_ok=True)
            (links / f"usb-{serial}-video-index0").symlink_to(path)
        return str(path)

    def unplug(self, path: str) -> None:
        del self.nodes[path]
        Path(path).unlink()
        for link in self.folder.glob("v4l/by-id/*"):
            if not link.exists():
                link.unlink()

    def query(self, path: str) -> Node:
        if path not in self.nodes:
            raise OSError(errno.ENODEV, "No such device")
        return self.nodes[path]

    def identify(self, path: str) -> Identity:
        return v4l2.identify(path, self.nodes[path], self.folder)

    def find(self, identity: Identity) -> str:
        return v4l2.find(identity, self.folder)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dev:
    made = Dev(tmp_path)
    monkeypatch.setattr(v4l2, "query", made.query)
    return made


def test_a_camera_with_a_link_is_found_at_another_port_whatever_took_its_own(dev: Dev) -> None:
    path = dev.plug(0, C920, "usb-1.3", "046d_C920_A1")
    known = dev.identify(path)
    dev.unplug(path)
    dev.plug(0, C920, "usb-1.3", "046d_C920_B2")
    now = dev.plug(2, C920, "usb-1.4", "046d_C920_A1")
    assert dev.find(known) == now


def test_one_of_its_name_in_its_place_takes_over(dev: Dev) -> None:
    """As when a broken camera is replaced; a camera without a link is known by no more than that."""
    path = dev.plug(0, C920, "usb-1.3", "046d_C920_A1")
    known = dev.identify(path)
    dev.unplug(path)
    dev.plug(0, C920, "usb-1.3", capabilities=METADATA)
    dev.plug(1, C270, "usb-1.3")
    dev.plug(2, C920, "usb-1.1")
    now = dev.plug(3, C920, "usb-1.3", "046d_C920_B2")
    assert dev.find(known) == now


def test_of_several_nodes_in_its_place_its_own_comes_first(dev: Dev) -> None:
    dev.plug(0, C920, "usb-1.3")
    path = dev.plug(2, C920, "usb-1.3")
    known = dev.identify(path)
    assert dev.find(known) == path
    dev.unplug(path)
    assert dev.find(known) == str(dev.folder / "video0")


def test_another_camera_is_never_taken_for_it(dev: Dev) -> None:
    dev.plug(1, C270, "usb-1.1")
    dev.plug(2, C920, "usb-1.2", "046d_C920_B2")
    path = dev.plug(0, C920, "usb-1.3", "046d_C920_A1")
    known = dev.identify(path)
    dev.unplug(path)
    with pytest.raises(CameraError, match=r"camera HD Pro Webcam C920, last seen at .*video0, is not connected") as why:
        dev.find(known)
    assert why.value.cause == "gone"


def test_two_that_are_alike_elsewhere_are_not_chosen_from(dev: Dev) -> None:
    path = dev.plug(0, C920, "usb-1.3")
    known = dev.identify(path)
    dev.unplug(path)
    dev.plug(1, C920, "usb-1.1")
    assert dev.find(known) == str(dev.folder / "video1")
    dev.plug(2, C920, "usb-1.2")
    with pytest.raises(CameraError, match="is not connected"):
        dev.find(known)


def test_a_camera_that_is_not_ours_is_told_where_none_is_found(dev: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No camera was found" in str(v4l2.no_camera(dev.folder))
    path = dev.plug(0, C920, "usb-1.3")
    monkeypatch.setattr("edge.cameras.v4l2.os.access", lambda path, mode: False)  # root may open all
    why = v4l2.no_camera(dev.folder)
    assert str(why).startswith(f"No permission to open {path}: add yourself to the group video")
    assert why.cause == "refused"
