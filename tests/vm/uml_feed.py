"""Runs in the guest: plays pictures into a v4l2loopback device, as a camera would give them.

Usage: uml_feed.py DEVICE FOURCC FPS FOLDER [hold]      hold: the first picture again and again
"""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
import sys
import time
from pathlib import Path

# linux/videodev2.h: VIDIOC_S_FMT = _IOWR('V', 5, struct v4l2_format), 208 bytes.
_S_FMT = 0xC0D05605
_OUTPUT, _FIELD_NONE, _SRGB = 2, 1, 8
_WIDTH_PX, _HEIGHT_PX = 640, 480


def main(device: str, fourcc: str, fps: str, folder: str, hold: str = "") -> None:
    pictures = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    handle = os.open(device, os.O_RDWR)
    form = (_WIDTH_PX, _HEIGHT_PX, int.from_bytes(fourcc.encode(), "little"), _FIELD_NONE, 0, max(map(len, pictures)))
    fcntl.ioctl(handle, _S_FMT, bytearray(struct.pack("I4x6II", _OUTPUT, *form, _SRGB).ljust(208, b"\0")))
    due_s = time.monotonic()
    for picture in itertools.cycle(pictures[:1] if hold else pictures):
        os.write(handle, picture)
        due_s += 1 / float(fps)
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
