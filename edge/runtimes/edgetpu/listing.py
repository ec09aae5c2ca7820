"""Asks libedgetpu what it is and which Edge TPUs it sees; a program of its own, as the library can crash and hang.

`python listing.py HOW LIBRARY TIMEOUT_S`; HOW is "pycoral" or "libedgetpu". Imports nothing of this project, so that
it starts without a site. Prints a line for each answer: "version TEXT", "usb PATH", "pci PATH", "problem TEXT", "end".
Source of the structures: tflite/public/edgetpu_c.h of google-coral/libedgetpu.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Iterator

_KINDS = {0: "pci", 1: "usb"}


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("path", ctypes.c_char_p))


def devices(library: ctypes.CDLL) -> Iterator[tuple[str, str]]:
    """The Edge TPUs that libedgetpu sees, in its order: "usb" or "pci", and the path.

    Raises:
        AttributeError: it is another library.
    """
    library.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
    library.edgetpu_list_devices.restype = ctypes.POINTER(_Device)
    library.edgetpu_free_devices.argtypes = [ctypes.POINTER(_Device)]
    count = ctypes.c_size_t()
    found = library.edgetpu_list_devices(ctypes.byref(count))
    if found:
        for device in found[: count.value]:
            if device.type in _KINDS:
                yield _KINDS[device.type], os.fsdecode(device.path or b"")
        library.edgetpu_free_devices(found)


def _ask_libedgetpu(name: str) -> Iterator[tuple[str, str]]:
    """Version and devices, as pairs of a kind and a text."""
    library = ctypes.CDLL(name)
    library.edgetpu_version.restype = ctypes.c_char_p
    yield "version", os.fsdecode(library.edgetpu_version() or b"")
    yield from devices(library)


def _ask_pycoral() -> Iterator[tuple[str, str]]:
    """The same, through Google's pycoral, which is linked with libedgetpu.so.1."""
    edgetpu = importlib.import_module("pycoral.utils.edgetpu")

    yield "version", edgetpu.get_runtime_version()
    for device in edgetpu.list_edge_tpus():
        yield device["type"], device["path"]


def _main(how: str, library: str, timeout_s: str) -> None:
    signal.setitimer(signal.ITIMER_REAL, float(timeout_s))  # so that it ends even when who asks is gone
    answers = os.dup(1)
    os.dup2(2, 1)  # what the library itself prints is no answer
    try:
        lines = [*(_ask_pycoral() if how == "pycoral" else _ask_libedgetpu(library)), ("end", "")]
    except Exception as error:
        lines = [("problem", f"{error}" or type(error).__name__), ("end", "")]
    text = "".join(f"{kind} {' '.join(text.split())}\n" for kind, text in lines)
    with open(answers, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


if __name__ == "__main__":
    if sys.argv[1] == "pycoral":
        del sys.path[0]  # this folder, whose modules could hide others
    _main(*sys.argv[1:])
