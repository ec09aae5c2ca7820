"""Which /dev/video* are cameras, asked of the kernel; only the standard library."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from pathlib import Path

from edge.errors import CameraError

# linux/videodev2.h: VIDIOC_QUERYCAP = _IOR('V', 0, struct v4l2_capability), 104 bytes.
_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_VIDEO_CAPTURE = 0x00000001
_VIDEO_CAPTURE_MPLANE = 0x00001000
_CAPTURES = _VIDEO_CAPTURE | _VIDEO_CAPTURE_MPLANE
_VIDEO_M2M_MPLANE = 0x00004000
_VIDEO_M2M = 0x00008000
_CONVERTS = _VIDEO_M2M | _VIDEO_M2M_MPLANE
_STREAMING = 0x04000000
_DEVICE_CAPS = 0x80000000
# A Pi's own nodes that can capture but are no cameras by themselves: CSI receivers and ISP stages, which
# give raw sensor data only together with libcamera.
_NO_CAMERAS = re.compile(r"unicam|bcm2835-(isp|codec)|rp1-cfe|pisp|rpivid|hevc-dec", re.IGNORECASE)


def parse_capability(raw: bytes) -> tuple[str, str, int]:
    """Driver, card and capabilities of this very node from a `struct v4l2_capability`."""
    driver, card, _, _, capabilities, device_caps = _CAPABILITY.unpack(raw)
    texts = [text.split(b"\0", 1)[0].decode("utf-8", "replace") for text in (driver, card)]
    return texts[0], texts[1], device_caps if capabilities & _DEVICE_CAPS else capabilities


def is_camera(driver: str, card: str, capabilities: int) -> bool:
    """True for a node that streams pictures: no codec, no ISP, no metadata node."""
    if capabilities & _CONVERTS or _NO_CAMERAS.search(f"{driver} {card}"):
        return False
    return bool(capabilities & _CAPTURES and capabilities & _STREAMING)


def query(path: str) -> tuple[str, str, int]:
    """Ask a node what it is; see `parse_capability`.

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


def require_camera(path: str) -> str:
    """The camera's own name.

    Raises:
        CameraError: the node is missing, not ours to open, busy, or no camera.
    """
    try:
        driver, card, capabilities = query(path)
    except OSError as error:
        raise CameraError(_sentence(path, error)) from None
    if not is_camera(driver, card, capabilities):
        raise CameraError(f"{path} is no camera: it is {card} (driver {driver}), which gives no finished pictures.")
    return card


def _sentence(path: str, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        found = ", ".join(capture_devices()) or "none"
        return f"There is no camera at {path}: V4L2 cameras found: {found}."
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"No permission to open {path}: add yourself to the group video (`sudo usermod -aG video $USER`) and log "
            "in again."
        )
    if error.errno == errno.EBUSY:
        return f"{path} is in use by another program."
    if error.errno in (errno.ENOTTY, errno.EINVAL):
        return f"{path} is no V4L2 device."
    return f"Cannot open {path}: {error.strerror or error}."


def capture_devices(folder: Path = Path("/dev")) -> list[str]:
    """Paths of the nodes that are cameras, in the order of their numbers; those that cannot be asked are left out."""
    found = []
    numbered = [(int(path.name[5:]), path) for path in folder.glob("video*") if path.name[5:].isdecimal()]
    for _, path in sorted(numbered):
        try:
            answer = query(str(path))
        except OSError:
            continue  # not ours, or gone: another one may do, and naming this one tells why
        if is_camera(*answer):
            found.append(str(path))
    return found
