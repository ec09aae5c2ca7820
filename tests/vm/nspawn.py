"""A real systemd in a container: booted on an overlay of a root that stays as it is, and gone when it is done.

All mounts are in a mount namespace of the container's own, and the container dies with the process that booted it, so
that nothing is left behind, however a test ends. What processes of it there are is told by a control group of its own,
which also keeps containers that run side by side from killing each other's services.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional, TypeVar

VM = Path(os.environ.get("EDGE_VM", "/var/tmp/edge-vm"))
"""Where roots and wheels are kept from one run to the next."""
PACKAGES = "systemd,systemd-sysv,dbus,udev,python3,python3-venv,kmod,iproute2,procps"
DELIVERY = "/mnt/delivery"
"""Where the container finds the folder that it is given."""

_APART = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"]
_APART += ["--kill-child", "--mount-proc"]
_COUNT = itertools.count()
T = TypeVar("T")

# Run in namespaces of its own: a tmpfs takes all writes. $0 is where that is mounted; $1 the root below the overlay.
_BOOT = """
set -eu
mount -t tmpfs -o mode=755 tmpfs /run  # nspawn's locks, and what it deletes at a reboot only from a tmpfs
mount -t tmpfs -o size=4G,mode=755 tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$0/upper,workdir=$0/work" "$0/root"
cd "$0/root"
# What belongs to this machine, and what must not start twice or look for disks.
rm -rf etc/machine-id etc/systemd/system/multi-user.target.wants etc/systemd/system/timers.target.wants
rm -rf etc/edge-runner opt/edge-runner var/lib/edge-runner etc/systemd/system/edge-runner.service*
: >etc/machine-id
: >etc/fstab
echo "$2" >etc/hostname
name=$2
shift 2
again=133  # so ends nspawn when the container reboots
while [ $again = 133 ]; do
    again=0
    systemd-nspawn --quiet --directory="$0/root" --boot --register=no --keep-unit --machine="$name" --private-network \
        --resolv-conf=off --timezone=off --link-journal=no --tmpfs=/tmp "$@" || again=$?
done
exit $again
"""


class MachineError(Exception):
    """The container did something else than a test asked for."""


def why_not() -> Optional[str]:
    """Why no container can be booted here; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "containers need Linux and root"
    for command in ("systemd-nspawn", "setpriv", "unshare", "nsenter"):
        if not shutil.which(command):
            return f"{command} is not installed (Debian: apt-get install systemd-container dbus)"
    if not Path("/usr/bin/dbus-daemon").exists() or not Path("/usr/bin/systemctl").exists():
        return "this machine's root has no systemd or no dbus (Debian: apt-get install systemd systemd-container dbus)"
    script = 'mount -t tmpfs tmpfs "$0" && mkdir "$0/u" "$0/w" "$0/r" && mount -t overlay overlay "$0/r" '
    script += '-o "lowerdir=/,upperdir=$0/u,workdir=$0/w" && unshare --net --pid --fork true'
    with _folder() as folder:
        tried = subprocess.run(
            [*_APART, "sh", "-c", script, folder],
            check=False,
            capture_output=True,
            text=True,
        )
    return None if tried.returncode == 0 else f"no overlay or namespaces here: {tried.stderr.strip()}"


def root_of(system: str) -> Path:
    """The root that a container of this name is booted on: "machine" is this machine's own; others debootstrap makes.

    Raises:
        MachineError: it is absent and cannot be made.
    """
    if system == "machine":
        return Path("/")
    root = VM / system
    if root.is_dir():
        return root
    if not shutil.which("debootstrap"):
        raise MachineError(f"{root} is absent and debootstrap is not installed")
    VM.mkdir(parents=True, exist_ok=True)
    making = VM / f"{system}.making-{os.getpid()}"
    print(f"making {root} (two minutes) ...", flush=True)
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", system, str(making)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        shutil.rmtree(making, ignore_errors=True)
        raise MachineError(f"debootstrap could not make {root}: {(made.stdout + made.stderr).strip().splitlines()[-1]}")
    making.rename(root)
    return root


class Machine:
    """A booted container; `close` ends it whatever state it is in."""

    def __init__(self, system: str, delivery: Path) -> None:
        """Boot.

        Args:
            system: as for `root_of`.
            delivery: a folder that the container sees, read-only, as `DELIVERY`.

        Raises:
            MachineError: it did not boot.
        """
        root = root_of(system)
        self.delivery = delivery
        self.name = f"edge-{os.getpid()}-{next(_COUNT)}"
        self._stack = contextlib.ExitStack()
        try:
            folder = self._stack.enter_context(_folder())
            self._groups = self._stack.enter_context(_control_groups(self.name))
            self._console = self._stack.enter_context(Path(folder, "console").open("w+b"))  # noqa: SIM115
            mount_point = Path(folder, "mnt")
            mount_point.mkdir()
            self._root, self._upper = root, mount_point / "upper"
            join = "".join(f'echo $$ >"{group}/cgroup.procs"; ' for group in self._groups)
            command = [*_APART, "sh", "-c", join + _BOOT, str(mount_point), str(root), self.name]
            command += [f"--bind-ro={delivery}:{DELIVERY}"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for the tests, which then end it
            )
            self._stack.callback(self._end)
            self.boot_s = self.wait_booted()
        except BaseException:
            self._stack.close()
            raise

    def wait_booted(self, not_leader: Optional[int] = None) -> float:
        """Wait until it is up; after a reboot it has another leader. Gives the duration in s."""
        began = time.monotonic()

        def up() -> bool:
            if self._process.poll() is not None:
                raise MachineError(f"the container ended: {self.console()}")
            leader = _leader(self._process.pid)
            if leader is None or leader == not_leader:
                return False
            self.leader = leader
            return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

        until(up, "the container is up", 90)
        return time.monotonic() - began

    def systemd(self) -> str:
        """Its systemd's version."""
        return self.run("systemctl", "--version").split()[1]

    def console(self) -> str:
        """What it printed last."""
        self._console.seek(0)
        return self._console.read().decode(errors="replace")[-2000:]

    def path(self, inside: str) -> Path:
        """A file of the container as this process reaches it; not through absolute symbolic links."""
        return Path(f"/proc/{self.leader}/root", inside.lstrip("/"))

    def added(self) -> set[str]:
        """Files and folders that were not there before it was booted."""
        (shell,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        upper = Path(f"/proc/{shell}/root", *self._upper.parts[1:])
        written = (Path(folder, name) for folder, *names in os.walk(upper) for name in itertools.chain(*names))
        inside = {str(each.relative_to(upper)) for each in written if not each.is_char_device()}  # which is a deletion
        return {f"/{each}" for each in inside if not os.path.lexists(self._root / each)}

    def run(self, *command: Any, check: bool = True, timeout_s: float = 120) -> str:
        """Run a command inside as root; gives its stdout, with stderr where it is not a success or not asked to be.

        Raises:
            MachineError: it failed, and `check`.
        """
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]
        done = subprocess.run(
            ["nsenter", "--target", str(self.leader), "--all", "--", *clean, "LANG=C.UTF-8", *map(str, command)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise MachineError(f"{' '.join(map(str, command))} exited with {done.returncode}: {said[-3000:]}")
        return done.stdout if check else done.stdout + done.stderr

    def exit_code(self, *command: Any, timeout_s: float = 120) -> tuple[int, str]:
        """Run a command inside; gives its exit code and all that it said."""
        said = self.run("sh", "-c", '"$@"; echo "exit code $?"', "sh", *command, check=False, timeout_s=timeout_s)
        before, _, code = said.partition("exit code ")
        number, _, after = code.partition("\n")
        return int(number), before + after

    def kill(self, pid: int, number: int) -> float:
        """Send a signal to a process that has this number inside; gives when, on the monotonic clock in s."""
        for each in _members(self._groups):
            with contextlib.suppress(OSError):
                numbers = _numbers(each)
                if len(numbers) == len(_numbers(self.leader)) and numbers[-1] == str(pid):
                    os.kill(each, number)
                    return time.monotonic()
        raise MachineError(f"there is no process {pid} inside")

    def close(self) -> None:
        """End it, and everything of it."""
        self._stack.close()

    def _end(self) -> None:
        self._process.kill()  # takes its process namespace with it
        self._process.wait()
        until(lambda: not _members(self._groups), "all of the container's processes are gone", 30)


def until(condition: Callable[[], T], what: str, most_s: float, every_s: float = 0.1) -> T:
    """Wait for what is true; gives what it gave.

    Raises:
        MachineError: it did not come true in time.
    """
    limit = time.monotonic() + most_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > limit:
            raise MachineError(f"waited {most_s:g} s in vain until {what}")
        time.sleep(every_s)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    import tempfile

    for stale in Path(tempfile.gettempdir()).glob("edge-vm-*-*"):
        if _is_dead(stale.name.split("-")[2]):
            shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"edge-vm-{os.getpid()}-") as folder:
        yield folder


def _is_dead(pid: str) -> bool:
    return pid.isdecimal() and not Path("/proc", pid).exists()


@contextlib.contextmanager
def _control_groups(name: str) -> Iterator[list[Path]]:
    """A group in each hierarchy in which systemd finds the processes of a service."""
    base = Path("/sys/fs/cgroup")
    hierarchies = [each for each in (base / "systemd", base / "unified") if (each / "cgroup.procs").exists()] or [base]
    for hierarchy in hierarchies:
        _remove_groups([each for each in hierarchy.glob("edge-*-*") if _is_dead(each.name.split("-")[1])])
    groups = [each / name for each in hierarchies]
    try:
        for group in groups:
            group.mkdir()
        yield groups
    finally:
        _remove_groups(groups)


def _remove_groups(groups: list[Path]) -> None:
    for group in groups:
        inner = [each for each in group.rglob("*") if each.is_dir()]
        for each in [*sorted(inner, reverse=True), group]:
            with contextlib.suppress(OSError):
                each.rmdir()


def _members(groups: list[Path]) -> set[int]:
    found: set[int] = set()
    for group in groups:
        for procs in [group / "cgroup.procs", *group.rglob("cgroup.procs")]:
            with contextlib.suppress(OSError):
                found.update(map(int, procs.read_text().split()))
    return found


def _leader(pid: int) -> Optional[int]:
    """The container's process 1: below the process, one process namespace deeper than the one it made."""
    depth = len(_numbers(os.getpid())) + 2
    with contextlib.suppress(OSError, StopIteration):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            numbers = _numbers(child)
            if len(numbers) == depth and numbers[-1] == "1":
                return child
            found = _leader(child)
            if found is not None:
                return found
    return None


def _numbers(pid: int) -> list[str]:
    """Its numbers in the process namespaces that it is in, outermost first."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
