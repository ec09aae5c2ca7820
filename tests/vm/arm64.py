"""arm64 Debian roots whose programs qemu runs, one process at a time and without a network.

They are unpacked and not configured: half a minute instead of many under emulation. Without binfmt_misc, which belongs
to the whole machine, no program in there can start another one: pip installs, but `python -m venv` does not get as far
as ensurepip.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, Optional

VM = Path(os.environ.get("EDGE_VM", "/var/tmp/edge-vm"))
"""Where roots are kept from one run to the next."""
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
_QEMU = VM / "qemu10-aarch64"
_QEMU_MAJOR = 10  # 7.2, Bookworm's, crashes on ai-edge-litert 2.2 and newer
_QEMU_SUITE = "trixie"
_FETCHING = threading.Lock()
_MIRROR = "http://deb.debian.org/debian"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGES = "python3-venv,python3-numpy"
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# numpy's libraries, which update-alternatives would have put into place
_LIBRARIES = "/usr/lib/aarch64-linux-gnu/blas\n/usr/lib/aarch64-linux-gnu/lapack\n"
_TOOLS = {
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "chroot": "coreutils",
    "unshare": "util-linux",
    "apt-get": "apt",
}


class DeviceError(Exception):
    """A command failed in the root, or the root cannot be made."""


def why_not() -> Optional[str]:
    """Why this machine cannot run it; None where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root: for chroot and debootstrap"
    if platform.machine() == "aarch64":
        return "this machine is arm64 itself: `make test` runs these wheels natively"
    missing = [package for tool, package in _TOOLS.items() if not shutil.which(tool)]
    if missing:
        return f"apt-get install {' '.join(missing)}"
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        return "no namespaces of one's own here: unshare --net failed"
    if not _emulator() and not _KEYRING.exists():
        return f"needs qemu-user {_QEMU_MAJOR} as {_QEMU}, or debian-archive-keyring to fetch Debian's"
    return None


class Device:
    """A folder of one test in an arm64 root; the root stays as it is."""

    def __init__(self, suite: str) -> None:
        """Find the root of a Debian suite, or make it.

        Raises:
            DeviceError: it cannot be made.
        """
        self.root = _root_of(suite)
        for stale in (self.root / "opt").glob("edge-*"):
            if not Path("/proc", stale.name.split("-")[1]).exists():
                shutil.rmtree(stale)
        self.inside = f"/opt/edge-{os.getpid()}"
        self.folder = self.root / self.inside[1:]
        self.folder.mkdir()

    def run(self, *command: Any, timeout_s: float = 600, **variables: str) -> str:
        """Run a program in there, without a network; gives its stdout.

        Raises:
            DeviceError: it failed.
        """
        return _run(self.root, command, variables, timeout_s)

    def close(self) -> None:
        """Remove what the test left."""
        shutil.rmtree(self.folder)


def _run(root: Path, command: tuple[Any, ...], variables: dict[str, str], timeout_s: float) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **variables}
    emulated = ["unshare", "--net", "chroot", str(root), "/opt/qemu-aarch64", *map(str, command)]
    done = subprocess.run(
        emulated,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env=environment,
        timeout=timeout_s,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise DeviceError(f"{' '.join(map(str, command))} ended with {done.returncode} in {root}: {said}")
    return done.stdout


def _root_of(suite: str) -> Path:
    root = VM / f"arm64-{suite}"
    if root.is_dir():
        return root
    began_s = time.monotonic()
    print(f"making {root} (a minute) ...", flush=True)
    with _FETCHING:
        emulator = _emulator() or _fetch_emulator()
    making = VM / f"{root.name}.making-{os.getpid()}"
    try:
        _tool("debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", f"--include={_PACKAGES}", suite, making)
        for package in sorted((making / "var/cache/apt/archives").glob("*.deb")):
            _tool("dpkg-deb", "--extract", package, making)
            package.unlink()
        (making / "etc/ld.so.conf.d/blas.conf").write_text(_LIBRARIES)
        certificates = Path("/", _CERTIFICATES)
        if certificates.exists():  # Trixie's pip wants them to be there, also to install from a folder
            (making / _CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(certificates, making / _CERTIFICATES)
        (making / "opt").mkdir(exist_ok=True)
        shutil.copy(emulator, making / "opt/qemu-aarch64")
        with zipfile.ZipFile(next((making / "usr/share/python-wheels").glob("pip-*.whl"))) as pip:
            pip.extractall(making / "opt/pip")  # what ensurepip would install
        for command in (("/sbin/ldconfig",), ("/usr/bin/python3", "-m", "compileall", "-q", "/opt/pip")):
            _run(making, command, {}, 600)
        making.rename(root)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    print(f"made {root} in {time.monotonic() - began_s:.0f} s", flush=True)
    return root


def _emulator() -> Optional[Path]:
    installed = [shutil.which(name) for name in ("qemu-aarch64-static", "qemu-aarch64")]
    for path in (_QEMU, *(Path(each) for each in installed if each)):
        if path.exists():
            told = subprocess.run([path, "--version"], check=False, capture_output=True, text=True).stdout
            version = re.search(r"version (\d+)", told)
            if version and int(version[1]) >= _QEMU_MAJOR:
                return path
    return None


def _fetch_emulator() -> Path:
    """Debian's qemu, of a suite in which it is new enough; its programs are linked statically."""
    VM.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VM) as name:
        folder = Path(name)
        (folder / "lists/partial").mkdir(parents=True)
        (folder / "archives/partial").mkdir(parents=True)
        (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_MIRROR} {_QEMU_SUITE} main\n")
        settings = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder,
            "APT::Sandbox::User": "root",
        }
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        _tool("apt-get", "-qq", *options, "update")
        _tool("apt-get", "-qq", *options, "download", "qemu-user", cwd=folder)
        _tool("dpkg-deb", "--extract", next(folder.glob("qemu-user_*.deb")), folder / "unpacked")
        shutil.copy(folder / "unpacked/usr/bin/qemu-aarch64", _QEMU)
    return _QEMU


def _tool(*command: Any, cwd: Optional[Path] = None) -> None:
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise DeviceError(f"{command[0]} ended with {done.returncode}: {' '.join(said)}")
