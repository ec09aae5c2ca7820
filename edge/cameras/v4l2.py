"""Which /dev/video* are cameras, asked of the kernel; only the standard library."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from pathlib import Path
from typing import NamedTuple, Optional

from edge.errors import CameraError

# linux/videodev2.h: VIDIOC_QUERYCAP = _IOR('V', 0, struct v4l2_capability), 104 bytes.
_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("16s32s32sIII12x")
# VIDIOC_ENUM_FMT = _IOWR('V', 2, struct v4l2_fmtdesc), 64 bytes: index, type of buffer, flags, description, fourcc.
_ENUM_FMT = 0xC0405602
_FORMAT = struct.Struct("III32s4s16x")
_BUFFER_CAPTURE, _BUFFER_CAPTURE_MPLANE = 1, 9
_MOST_FORMATS = 64
_VIDEO_CAPTURE = 0x00000001
_VIDEO_CAPTURE_MPLANE = 0x00001000
_CAPTURES = _VIDEO_CAPTURE | _VIDEO_CAPTURE_MPLANE
_VIDEO_M2M_MPLANE = 0x00004000
_VIDEO_M2M = 0x00008000
_CONVERTS = _VIDEO_M2M | _VIDEO_M2M_MPLANE
_STREAMING = 0x04000000
_DEVICE_CAPS = 0x80000000
_MISSING = (errno.ENOENT, errno.ENXIO, errno.ENODEV)
_DEV = Path("/dev")
# A Pi's own nodes that can capture but are no cameras by themselves: CSI receivers and ISP stages, which
# give raw sensor data only together with libcamera.
_NO_CAMERAS = re.compile(r"unicam|bcm2835-(isp|codec)|rp1-cfe|pisp|rpivid|hevc-dec", re.IGNORECASE)


class Node(NamedTuple):
    """What a node of V4L2 says of itself."""

    driver: str
    card: str
    """The camera's own name."""
    bus_info: str
    """Where it is connected, such as "usb-0000:01:00.0-1.3"."""
    capabilities: int
    """Of this very node."""


class Identity(NamedTuple):
    """What a camera is known by, whatever number it has."""

    path: str
    """Where it was."""
    card: str
    bus_info: str
    link: Optional[str]
    """That leads to it and has its name and, where it has one, its serial number."""


def parse_capability(raw: bytes) -> Node:
    """What a `struct v4l2_capability` holds."""
    driver, card, bus_info, _, capabilities, device_caps = _CAPABILITY.unpack(raw)
    texts = [text.split(b"\0", 1)[0].decode("utf-8", "replace") for text in (driver, card, bus_info)]
    return Node(texts[0], texts[1], texts[2], device_caps if capabilities & _DEVICE_CAPS else capabilities)


def is_camera(node: Node) -> bool:
    """True for a node that streams pictures: no codec, no ISP, no metadata node."""
    if node.capabilities & _CONVERTS or _NO_CAMERAS.search(f"{node.driver} {node.card}"):
        return False
    return bool(node.capabilities & _CAPTURES and node.capabilities & _STREAMING)


def query(path: str) -> Node:
    """Ask a node what it is.

    Raises:
        OSError: it cannot be opened, or is no V4L2 node.
    """
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        raw = bytearray(_CAPABILITY.size)
        fcntl.ioctl(handle, _QUERYCAP, raw)
    finally:
        os.close(handle)
    return parse_capability(bytes(raw))


def formats(path: str, node: Node) -> tuple[str, ...]:
    """The pixel formats that a camera has, such as ("MJPG", "YUYV"), in its order.

    Args:
        path: of its node.
        node: what it said of itself.

    Raises:
        OSError: it cannot be opened.
    """
    buffer = _BUFFER_CAPTURE if node.capabilities & _VIDEO_CAPTURE else _BUFFER_CAPTURE_MPLANE
    found = []
    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for index in range(_MOST_FORMATS):
            raw = bytearray(_FORMAT.pack(index, buffer, 0, b"", b""))
            try:
                fcntl.ioctl(handle, _ENUM_FMT, raw)
            except OSError:  # EINVAL, after the last one
                break
            found.append(parse_format(bytes(raw)))
    finally:
        os.close(handle)
    return tuple(found)


def parse_format(raw: bytes) -> str:
    """The four letters in a `struct v4l2_fmtdesc`; "-BE" behind them for those whose bytes are in the other order."""
    letters = _FORMAT.unpack(raw)[4]
    other_order = "-BE" if letters[3] & 0x80 else ""
    name = bytes((*letters[:3], letters[3] & 0x7F)).decode("ascii", "replace").rstrip(" \0")
    return f"{name}{other_order}"


def require_camera(path: str) -> Node:
    """What a camera says of itself.

    Raises:
        CameraError: the node is missing, not ours to open, busy, or no camera.
    """
    try:
        node = query(path)
    except OSError as error:
        raise CameraError(_sentence(path, error), "gone" if error.errno in _MISSING else "refused") from None
    if not is_camera(node):
        raise CameraError(
            f"{path} is no camera: it is {node.card} (driver {node.driver}), which gives no finished pictures.",
            "refused",
        )
    return node


def _sentence(path: str, error: OSError) -> str:
    if error.errno in _MISSING:
        found = ", ".join(capture_devices()) or "none"
        return f"There is no camera at {path}: V4L2 cameras found: {found}."
    if error.errno in (errno.EACCES, errno.EPERM):
        return _forbidden(path)
    if error.errno == errno.EBUSY:
        return f"{path} is in use by another program."
    if error.errno in (errno.ENOTTY, errno.EINVAL):
        return f"{path} is no V4L2 device."
    return f"Cannot open {path}: {error.strerror or error}."


def _forbidden(path: str) -> str:
    fix = "add yourself to the group video (`sudo usermod -aG video $USER`) and log in again"
    return f"No permission to open {path}: {fix}."


def no_camera(folder: Path = _DEV) -> CameraError:
    """Why there is none: perhaps there is one, and it is not ours to open."""
    for path in sorted(folder.glob("video*")):
        if not os.access(path, os.R_OK | os.W_OK):
            return CameraError(_forbidden(str(path)), "refused")
    return CameraError(
        "No camera was found, neither at the CSI connector nor a V4L2 one: connect one, or name another source.", "gone"
    )


def capture_devices(folder: Path = _DEV) -> list[str]:
    """Paths of the nodes that are cameras, in the order of their numbers; those that cannot be asked are left out."""
    return list(_cameras(folder))


def _cameras(folder: Path) -> dict[str, Node]:
    found = {}
    numbered = [(int(path.name[5:]), path) for path in folder.glob("video*") if path.name[5:].isdecimal()]
    for _, path in sorted(numbered):
        try:
            node = query(str(path))
        except OSError:
            continue  # not ours, or gone: another one may do, and naming this one tells why
        if is_camera(node):
            found[str(path)] = node
    return found


def identify(path: str, node: Node, folder: Path = _DEV) -> Identity:
    """What a camera can be found by when it has been away."""
    return Identity(path, node.card, node.bus_info, _link_to(path, folder))


def find(identity: Identity, folder: Path = _DEV) -> str:
    """Where a camera is now: where its link leads, else of its name and in its place, else the only one of its name.

    Raises:
        CameraError: it is nowhere.
    """
    if identity.link and os.path.exists(identity.link):
        return os.path.realpath(identity.link)
    alike = {path: node for path, node in _cameras(folder).items() if node.card == identity.card}
    here = [path for path, node in alike.items() if node.bus_info == identity.bus_info]
    if here:
        return identity.path if identity.path in here else here[0]
    # One that has a link of its own is known to be another one.
    others = [path for path in alike if not (identity.link and _link_to(path, folder))]
    if others and len({alike[path].bus_info for path in others}) == 1:
        return others[0]
    raise CameraError(f"The V4L2 camera {identity.card}, last seen at {identity.path}, is not connected.", "gone")


def _link_to(path: str, folder: Path) -> Optional[str]:
    """The link in /dev/v4l/by-id that leads to a node."""
    meant = os.path.realpath(path)
    links = sorted(str(link) for link in folder.glob("v4l/by-id/*"))
    return next((link for link in links if os.path.realpath(link) == meant), None)
