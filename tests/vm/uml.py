"""A user-mode Linux with virtual cameras: made once by uml-kernel.sh and uml-image.sh, then booted afresh each time."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("EDGE_VM", "/var/tmp/edge-vm")) / "uml"
_TOOLS = {
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "make": "make",
    "gcc": "gcc",
    "depmod": "kmod",
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "ssh": "openssh-client",
    "apt-get": "apt",
}
_DISK_BYTES = 8 << 30
_BOOT_S = 75.0
_ATTEMPTS = 4
_MEMORY_MB = 1536
_HOST, _GUEST = "10.99.0.1", "10.99.0.2"


def why_not() -> Optional[str]:
    """Why this machine cannot make or run it; None when it can."""
    if os.geteuid() != 0:
        return "needs root: for the disk image, and a network namespace"
    if platform.machine() != "x86_64":
        return f"user-mode Linux 6.1 runs on x86-64, and this is {platform.machine()}"
    if (FOLDER / "disk.stamp").is_file():
        missing = [name for name in ("ip", "ethtool", "ssh") if not shutil.which(name)]
    else:
        missing = [package for tool, package in _TOOLS.items() if not shutil.which(tool)]
        missing += [] if Path("/usr/include/gelf.h").exists() else ["libelf-dev"]
        FOLDER.mkdir(parents=True, exist_ok=True)
        if not missing and shutil.disk_usage(FOLDER).free < _DISK_BYTES:
            return f"needs {_DISK_BYTES >> 30} GB free below {FOLDER} (set EDGE_VM)"
    return f"apt-get install {' '.join(missing)}" if missing else None


def build() -> None:
    """Make kernel and disk, or find them made.

    Raises:
        subprocess.CalledProcessError: a step failed; its output was shown.
    """
    for script in ("uml-kernel.sh", "uml-image.sh"):
        subprocess.run(["nice", "-n", "10", str(HERE / script)], check=True)


class Machine:
    """A booted guest."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    def ssh(self, command: str, *, check: bool = True, timeout_s: float = 120.0) -> str:
        """Run a shell command as root in the guest; its standard output.

        Raises:
            RuntimeError: it ended with another code than 0, and `check` is set.
            subprocess.TimeoutExpired: it took longer than `timeout_s`.
        """
        namespace = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "ConnectTimeout": "5",
            "ControlMaster": "auto",
            "ControlPath": str(self._folder / "ssh"),
            "ControlPersist": "600",
            "LogLevel": "ERROR",
        }
        words = [*namespace, "ssh", "-F", "none", "-i", str(FOLDER / "key")]
        words += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        done = subprocess.run(
            [*words, f"root@{_GUEST}", command],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise RuntimeError(f"{command!r} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def python(self, code: str, *arguments: str, python: str = "python3", timeout_s: float = 120.0) -> Any:
        """Run Python in the guest; what it prints, read as JSON."""
        words = " ".join(shlex.quote(each) for each in (code, *arguments))
        return json.loads(self.ssh(f"{python} -c {words}", timeout_s=timeout_s))

    def write(self, path: str, text: str) -> None:
        """Write a file of the guest."""
        self.ssh(f"mkdir -p {shlex.quote(os.path.dirname(path))}; printf %s {shlex.quote(text)} >{shlex.quote(path)}")

    @property
    def share(self) -> Path:
        """What lies here the guest has at /mnt/host."""
        return self._folder / "share"


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a guest with a disk as it was made, and an empty network of its own; afterwards nothing is left of it.

    Args:
        folder: one that is not there yet, for what it writes.

    Raises:
        RuntimeError: it did not come up, several times.
    """
    for attempt in range(_ATTEMPTS):
        machine = _started(folder)
        try:
            if _is_up(machine):
                machine.ssh("mount -t hostfs -o ro none /mnt/host")
                yield machine
                return
            # Now and then a boot hangs in the middle, for a reason that is not known.
            last = (folder / "console").read_text("utf-8", "replace")[-300:]
            print(f"the guest did not come up within {_BOOT_S:.0f} s, attempt {attempt + 1}: {last!r}", flush=True)
        finally:
            _stop(machine)
            shutil.rmtree(folder, ignore_errors=True)
    raise RuntimeError(f"The user-mode Linux did not come up within {_BOOT_S:.0f} s, {_ATTEMPTS} times.")


def _started(folder: Path) -> Machine:
    (folder / "share").mkdir(parents=True)
    (folder / "temporary").mkdir()
    tap = (
        "ip link set lo up; ip tuntap add tap0 mode tap; "
        f"ip addr add {_HOST}/24 dev tap0; ip link set tap0 up; "
        # Without this large transfers hang.
        "ethtool -K tap0 tx off tso off gso off gro off >/dev/null 2>&1; "
    )
    kernel = [str(FOLDER / "linux"), f"ubd0={folder / 'layer.cow'},{FOLDER / 'disk.ext4'}", "root=/dev/ubda", "rw"]
    kernel += [f"mem={_MEMORY_MB}M", f"uml_dir={folder}", "umid=guest", "vec0:transport=tap,ifname=tap0,depth=64"]
    kernel += ["con=null", "con0=null,fd:1", "ssl=null", f"hostfs={folder / 'share'}"]
    # When this process dies so does the shell, and with it all of the guest and the network that only they had.
    apart = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ]
    with open(folder / "console", "wb") as console:
        process = subprocess.Popen(
            [*apart, "sh", "-c", tap + shlex.join(kernel) + "; exit $?"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": _temporary(folder)},
        )
    return Machine(process, folder)


def _temporary(folder: Path) -> str:
    """Where the guest's memory lies: in memory, where that is allowed."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > (_MEMORY_MB + 256) << 20:
            return "/dev/shm"
    return str(folder / "temporary")


def _is_up(machine: Machine) -> bool:
    deadline_s = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline_s and machine.process.poll() is None:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            machine.ssh("true", timeout_s=10)
            return True
        time.sleep(0.3)
    return False


def _stop(machine: Machine) -> None:
    process = machine.process
    with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
        machine.ssh("systemctl poweroff", check=False, timeout_s=10)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)  # the kernel then ends the guest's whole PID namespace
        process.wait()
