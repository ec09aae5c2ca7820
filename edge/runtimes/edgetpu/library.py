"""libedgetpu: which one it is, and which Edge TPUs it sees."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal, Optional

import msgspec

from edge.runtimes.settings import RuntimeSettings

NAME = "libedgetpu.so.1"
ROOT = Path("/")
_PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")
_INTERPRETERS = {"litert": "ai-edge-litert", "tflite": "tflite-runtime"}
_RUNTIME = re.compile(r"RuntimeVersion\((\d{1,9})\)")
_COMPILER = re.compile(r"\bCOMPILER=([^,)]*)")
_BUILT_ON = re.compile(r"tf(\d{1,3})\.(\d{1,3})", re.IGNORECASE)
_NUMBERS = re.compile(r"(\d{1,9})\.(\d{1,9})")
_GRACE_S = 1.0
_KILLED_S = 1.0


class ListedDevice(msgspec.Struct, frozen=True):
    """An Edge TPU as libedgetpu names it."""

    kind: Literal["usb", "pci"]
    path: str
    """For example "/sys/bus/usb/devices/2-1" or "/dev/apex_0"."""


class Listed(msgspec.Struct, frozen=True):
    """What libedgetpu answered."""

    version: Optional[str]
    """Its own text; None when it could not be asked."""
    devices: tuple[ListedDevice, ...]
    """In its order, see `edge.runtimes.edgetpu.options.by_place`."""
    problem: Optional[str]
    """Why it could not be asked; None when it could."""
    by: Literal["pycoral", "libedgetpu"]
    """Through what it was asked."""


class Version(msgspec.Struct, frozen=True):
    """What libedgetpu tells of itself."""

    runtime: Optional[int]
    """Of the Edge TPU runtime, 14 for release 16.0; a model tells which it needs at least."""
    compiler: Optional[str]
    """That it was built with, for example "6.3.0 20170516"."""
    stand_in: bool
    """It is no libedgetpu but imitates one; see tests/edgetpu."""


class Package(msgspec.Struct, frozen=True):
    """The Debian package that brought libedgetpu."""

    name: str
    version: str

    @property
    def built_on(self) -> Optional[tuple[int, int]]:
        """The TensorFlow that a community's package was built on, as its version tells ("16.0tf2.17.1-1")."""
        found = _BUILT_ON.search(self.version)
        return (int(found[1]), int(found[2])) if found else None


class Interpreter(msgspec.Struct, frozen=True):
    """The TensorFlow Lite package that the delegate works in."""

    package: str
    version: str

    @property
    def numbers(self) -> Optional[tuple[int, int]]:
        """Major and minor number of its version."""
        found = _NUMBERS.match(self.version)
        return (int(found[1]), int(found[2])) if found else None


def list_devices(library: str = NAME, timeout_s: float = 10.0) -> Listed:
    """Ask libedgetpu for its version and for the Edge TPUs that it sees, in a process of its own.

    Google's pycoral asks where it is installed and `library` is the one that it is linked with. Opens no device.
    Takes 30 ms; whatever the library does, not longer than the time-out and two seconds.

    Args:
        library: a name or a path.
        timeout_s: for the whole answer, more than 0.
    """
    if library == NAME and has_pycoral():
        listed = _listed("pycoral", library, timeout_s)
        if listed.problem is None:
            return listed
    return _listed("libedgetpu", library, timeout_s)


def has_pycoral() -> bool:
    """Whether Google's pycoral is installed. PyPI's package of that name is another project; neither is imported."""
    try:
        spec = importlib.util.find_spec("pycoral")
    except (ImportError, ValueError):
        return False
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return any(
        (folder / "utils/edgetpu.py").is_file() and any((folder / "pybind").glob("_pywrap_coral*"))
        for folder in folders
    )


def parse_version(text: Optional[str]) -> Version:
    """What edgetpu_version() tells: "BuildLabel(COMPILER=6.3.0 20170516,DATE=...), RuntimeVersion(14)"."""
    runtime, compiler = _RUNTIME.search(text or ""), _COMPILER.search(text or "")
    return Version(
        int(runtime[1]) if runtime else None,
        compiler[1].strip() or None if compiler else None,
        "STAND-IN" in (text or ""),
    )


def parse_packages(status: str) -> tuple[Package, ...]:
    """The packages of libedgetpu that are installed, from the text of /var/lib/dpkg/status."""
    found = []
    for stanza in status.split("\n\n"):
        if not stanza.lstrip("\n").startswith("Package: libedgetpu"):
            continue
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") in _PACKAGES and fields.get("Status", "").endswith(" installed"):
            found.append(Package(fields["Package"], fields.get("Version", "")))
    return tuple(found)


def package(root: Path = ROOT) -> Optional[Package]:
    """The installed Debian package of libedgetpu; None without one, or where it is not Debian's way.

    Args:
        root: where /var/lib/dpkg is found.
    """
    try:
        status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return next(iter(parse_packages(status)), None)


def interpreter(settings: RuntimeSettings) -> Optional[Interpreter]:
    """The installed TensorFlow Lite under the Edge TPU, without importing it; None when there is none."""
    names = tuple(_INTERPRETERS) if settings.interpreter == "auto" else (settings.interpreter,)
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return Interpreter(_INTERPRETERS[name], importlib.metadata.version(_INTERPRETERS[name]))
    return None


def _listed(by: Literal["pycoral", "libedgetpu"], library: str, timeout_s: float) -> Listed:
    options = [] if by == "pycoral" else ["-I", "-S"]  # pycoral is found by the site, and ctypes starts faster without
    program = str(Path(__file__).with_name("listing.py"))
    command = [sys.executable, *options, program, by, library, f"{timeout_s:g}"]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return Listed(None, (), f"no process can be started: {error}", by)
    try:
        answer, _ = process.communicate(timeout=timeout_s + _GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        try:
            answer, _ = process.communicate(timeout=_KILLED_S)
        except subprocess.TimeoutExpired:  # in a driver, where no signal reaches it
            answer = b""
    lines = [line.split(" ", 1) for line in os.fsdecode(answer).splitlines() if " " in line]
    told = {kind: text for kind, text in lines if kind in ("version", "problem")}
    devices = tuple(
        ListedDevice("usb" if kind == "usb" else "pci", text) for kind, text in lines if kind in ("usb", "pci")
    )
    problem = told.get("problem")
    if problem is None and ["end", ""] not in lines:
        problem = _end(process.returncode, timeout_s)
    if problem is not None:
        return Listed(told.get("version") or None, (), problem, by)
    return Listed(told.get("version") or None, devices, None, by)


def _end(status: Optional[int], timeout_s: float) -> str:
    if status is None or -status in (signal.SIGALRM, signal.SIGKILL):
        return f"no answer in {timeout_s:g} s"
    return (
        f"its process died of {signal.Signals(-status).name}"
        if status < 0
        else f"its process exited with status {status}"
    )
