"""Whether this libedgetpu can be loaded here and works in this TensorFlow Lite, and which one to take instead.

libedgetpu is compiled with TensorFlow Lite's structures. TfLiteRegistration grew in TensorFlow 2.12, so Google's last
release (16.0, on 2.5) works up to 2.11 and crashes from 2.12 on: google-coral/libedgetpu issue 53, google-coral/edgetpu
issue 812. Builds of the community on newer ones: github.com/feranick/libedgetpu; on ai-edge-litert: LiteRT issue 3611.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from edge.runtimes.edgetpu.library import Interpreter, Package, package, parse_version

ROOT = Path("/")
RECOMMENDED = "16.0tf2.19.1-1"
"""The community's package for TensorFlow Lite from 2.12 on and for ai-edge-litert."""
_RELEASES = "github.com/feranick/libedgetpu/releases"
_BUILDS = {
    ("bookworm", "amd64"): "bookworm_amd64",
    ("bookworm", "arm64"): "bookworm_arm64",
    ("trixie", "arm64"): "trixie_arm64",
    ("noble", "amd64"): "ubuntu24.04_amd64",
    ("noble", "arm64"): "ubuntu24.04_arm64",
}
"""By VERSION_CODENAME and architecture, how the file's name ends: those that other projects' installers name."""
NEWER_FROM = (2, 12)
"""The first TensorFlow with the larger structure."""
_GOOGLES_COMPILER = "6.3.0 20170516"  # as google-coral/edgetpu issues 563 and 660 show edgetpu_version() of 16.0
_MACHINES = {0x03: "32-bit x86", 0x28: "32-bit ARM", 0x3E: "64-bit x86", 0xB7: "64-bit ARM"}  # e_machine of elf.h
_DEBIAN = {0x03: "i386", 0x28: "armhf", 0x3E: "amd64", 0xB7: "arm64"}
_FOLDERS = ("usr/lib", "usr/lib/*", "lib", "lib/*", "usr/local/lib", "usr/local/lib/*")
_NOT_FOUND = re.compile(r"^(\S+): cannot open shared object file")
_NEWER_SYSTEM = re.compile(r"version `(GLIBC\w*_[\d.]+)' not found")
_LACKS = re.compile(r"undefined symbol: (\w+)")


class Reason(NamedTuple):
    """Why an Edge TPU cannot be used."""

    problem: str
    """A clause, as for after "because"."""
    fix: str
    """What to do, as for after a colon."""


def mismatch(
    version: Optional[str],
    package: Optional[Package],
    interpreter: Optional[Interpreter],
    root: Path = ROOT,
) -> Optional[Reason]:
    """Why this build of libedgetpu cannot work in this TensorFlow Lite, and which to take.

    Args:
        version: the library's own text.
        package: that brought it, where one did.
        interpreter: the TensorFlow Lite that it would work in.
        root: where /etc/os-release is found.

    Returns:
        None when they fit, or when it cannot be told.
    """
    if interpreter is None or not _is_newer(interpreter) or not _is_old(version, package):
        return None
    brought = f" ({package.name} {package.version})" if package else ""
    return Reason(
        f"this libedgetpu{brought} is built on a TensorFlow before 2.12 and crashes in {interpreter.package} "
        f"{interpreter.version}",
        advice(interpreter, root),
    )


def advice(interpreter: Optional[Interpreter], root: Path = ROOT) -> str:
    """Which libedgetpu to install beside a TensorFlow Lite: as for after a colon.

    Args:
        interpreter: None for one that is not known.
        root: where /etc/os-release is found.
    """
    if interpreter is not None and not _is_newer(interpreter):
        return "install libedgetpu1-std from Coral's apt repository (coral.ai/software)"
    release, architecture = _release(root), _DEBIAN.get(_machine(Path(sys.executable)) or 0)  # a kernel may be wider
    build = _BUILDS.get((release or "", architecture or ""))
    if build:
        return f"`sudo apt install ./libedgetpu1-std_{RECOMMENDED}.{build}.deb`, a file from {_RELEASES}"
    named = " on ".join(part for part in (release, architecture) if part) or "this system"
    return f"install libedgetpu1-std {RECOMMENDED} from {_RELEASES}, where you see whether there is one for {named}"


def not_loaded(said: str, library: str, interpreter: Optional[Interpreter], root: Path = ROOT) -> Reason:
    """Why libedgetpu could not be loaded, and what to do.

    Args:
        said: what the dynamic loader told, or how the process that loaded it died.
        library: its name or path, as it was to be loaded.
        interpreter: the TensorFlow Lite that it was to work in.
        root: where /usr/lib and /etc are found.
    """
    return next(_not_loaded(said, library, advice(interpreter, root), root))


def _not_loaded(said: str, library: str, instead: str, root: Path) -> Iterator[Reason]:
    """The likeliest reason first."""
    if said.startswith("no answer"):  # it is there, and waits for a device, or for a driver
        again = "unplug the Edge TPU and plug it in again, or start the machine again"
        yield Reason(f"{library} hangs, with {said}", f"{again}, and if it hangs then too, {instead}")
    missing = _NOT_FOUND.match(said)
    if missing and missing[1] != library:
        name = "libusb-1.0-0" if missing[1].startswith("libusb-1.0.so") else f"the package that has {missing[1]}"
        yield Reason(
            f"{library} needs {missing[1]}, which is not installed", f"`sudo apt install {name}`, or {instead}"
        )
    if os.sep in library and "No such file" in said and not os.path.exists(library):
        yield Reason(f"there is no {library}", "correct runtime.library, or leave it out")
    found = [file for file in _files(library, root) if file.exists()]
    ours = _machine(Path(sys.executable))
    if found and all(_machine(file) != ours for file in found):  # which the loader calls missing, or of a wrong class
        theirs = _MACHINES.get(_machine(found[0]) or 0)
        differs = f"is for {theirs} and this Python for {_MACHINES.get(ours or 0)}" if theirs else "is no library"
        yield Reason(f"{found[0]} {differs}", instead)
    if missing and found:
        yield Reason(f"{found[0]} is there and the loader does not find it", "`sudo ldconfig`")
    if missing:
        yield Reason(f"{library} is not installed", f"{instead} (PyPI has none)")
    newer, lacks = _NEWER_SYSTEM.search(said), _LACKS.search(said)
    if newer:
        yield Reason(f"{library} is built for a newer system, one with {newer[1]}", instead)
    if lacks:
        yield Reason(f"{library} has no {lacks[1]}, as libedgetpu has", instead)
    yield Reason(f"{library} could not be loaded ({said})", instead)


def packaged(library: str, root: Path = ROOT) -> Optional[Package]:
    """The Debian package that brought a library; None when the library is somewhere else."""
    return package(root) if "/" not in library or library.startswith(("/usr/lib/", "/lib/")) else None


def _is_newer(interpreter: Interpreter) -> bool:
    numbers = interpreter.numbers
    return interpreter.package != "tflite-runtime" or (numbers is not None and numbers >= NEWER_FROM)


def _is_old(version: Optional[str], package: Optional[Package]) -> bool:
    if package is not None:
        return package.built_on is None or package.built_on < NEWER_FROM
    return parse_version(version).compiler == _GOOGLES_COMPILER


def _files(library: str, root: Path) -> Iterator[Path]:
    if "/" in library:
        yield Path(library)
        return
    for pattern in _FOLDERS:
        yield from sorted(root.glob(f"{pattern}/{library}"))


def _machine(file: Path) -> Optional[int]:
    """For which processors an ELF file is; None for no such file."""
    try:
        with open(file, "rb") as opened:
            head = opened.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    return int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")


def _release(root: Path) -> Optional[str]:
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r'^VERSION_CODENAME="?(\w+)"?$', text, re.MULTILINE)
    return found[1] if found else None
