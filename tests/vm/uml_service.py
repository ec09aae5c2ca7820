"""The product in the guest: installed as on a device, and watched from outside through systemd and its journal."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import yaml

from tests.vm.delivery import build_wheel, gather_wheels
from tests.vm.uml import Machine

UNIT = "edge-runner"
JOURNAL = f"/var/lib/{UNIT}/field.db"
CONFIG = f"/etc/{UNIT}/config.yaml"
CONTROL_GROUP = f"/sys/fs/cgroup/system.slice/{UNIT}.service"
ROOT = Path(__file__).resolve().parent.parent.parent
_POLL_S = 0.7

# One look: systemd's view, and what the journal has since a moment. A frame's capture is its end less its age.
_LOOK = f"""
import json, sqlite3, subprocess, sys, time
names = "MainPID,NRestarts,ActiveState,SubState,StatusText,Result,ExecMainStatus"
shown = subprocess.run(["systemctl", "show", "{UNIT}", "-p", names], capture_output=True, text=True).stdout
seen = dict(line.split("=", 1) for line in shown.splitlines())
seen.update(now_ns=time.monotonic_ns(), events=[], frames=[])
try:
    base = sqlite3.connect("file:{JOURNAL}?mode=ro", uri=True, timeout=10)
    since = int(sys.argv[1])
    seen["events"] = base.execute(
        "SELECT monotonic_ns, kind, detail FROM events WHERE monotonic_ns >= ? ORDER BY id", (since,)).fetchall()
    seen["frames"] = base.execute(
        "SELECT monotonic_ns - wait_ns - preprocess_ns - invoke_ns - postprocess_ns, monotonic_ns, sequence, class_id,"
        " score, stands_for FROM frames WHERE monotonic_ns >= ? ORDER BY id", (since,)).fetchall()
except sqlite3.OperationalError as error:
    seen["trouble"] = str(error)
print(json.dumps(seen))
"""


class Event(NamedTuple):
    """An event of the journal."""

    at_ns: int
    kind: str
    detail: dict[str, Any]


class Result(NamedTuple):
    """A frame of the journal."""

    captured_ns: int
    done_ns: int
    sequence: int
    class_id: int
    score: float
    stands_for: int


class Look(NamedTuple):
    """What was seen at one moment, with what was recorded since an earlier one."""

    now_ns: int
    pid: int
    restarts: int
    state: str
    status: str
    events: list[Event]
    frames: list[Result]

    def event(self, kind: str) -> Optional[Event]:
        """The first event of a kind."""
        return next((each for each in self.events if each.kind == kind), None)


def install(machine: Machine) -> float:
    """Install this checkout in the guest without a network, as on a device; seconds that it took."""
    wheels = machine.share / "wheels"
    wheels.mkdir()
    build_wheel(wheels)
    gather_wheels("3.13", "x86_64", wheels)
    shutil.copytree(ROOT / "systemd", machine.share / "systemd")
    shutil.copy(Path(__file__).with_name("uml_feed.py"), machine.share)
    machine.write(CONFIG, yaml.safe_dump({"camera": {"source": "camera"}, "journal": {"path": JOURNAL}}))
    began_s = time.monotonic()
    try:
        machine.ssh("sh /mnt/host/systemd/install.sh --offline /mnt/host/wheels 2>&1", timeout_s=600)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{logs(machine)}") from None
    return time.monotonic() - began_s


def logs(machine: Machine, lines: int = 30) -> str:
    """The last lines of the unit's log."""
    return machine.ssh(f"journalctl -u {UNIT} -o short-monotonic --no-pager -n {lines}", check=False)


def configure(machine: Machine, configuration: dict[str, Any]) -> None:
    """Write the configuration and start the daemon anew, without waiting for it."""
    machine.write(CONFIG, yaml.safe_dump(configuration))
    machine.ssh(f"systemctl restart --no-block {UNIT}")


def look(machine: Machine, since_ns: int = 0) -> Look:
    """Look at the service, and at what it recorded since a moment of the guest's monotonic clock."""
    seen = machine.python(_LOOK, str(since_ns))
    return Look(
        seen["now_ns"],
        int(seen["MainPID"]),
        int(seen["NRestarts"]),
        f"{seen['ActiveState']}/{seen['SubState']}",
        seen["StatusText"],
        [Event(at_ns, kind, json.loads(detail)) for at_ns, kind, detail in seen["events"]],
        [Result(*frame) for frame in seen["frames"]],
    )


def until(machine: Machine, since_ns: int, what: str, holds: Callable[[Look], object], within_s: float = 90.0) -> Look:
    """Look again and again until something holds.

    Raises:
        AssertionError: it did not come to hold in time.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        seen = look(machine, since_ns)
        if holds(seen):
            return seen
        if time.monotonic() > deadline_s:
            raise AssertionError(
                f"not within {within_s:.0f} s: {what}; {seen.state}, {seen.status!r}, "
                f"events {seen.events}, {len(seen.frames)} frames\n{logs(machine)}"
            )
        time.sleep(_POLL_S)


def now_ns(machine: Machine) -> int:
    """The guest's monotonic clock."""
    return int(machine.python("import time; print(time.monotonic_ns())"))


def run_at(machine: Machine, command: str) -> int:
    """Run a command in the guest; when it began, on the guest's monotonic clock (to 10 ms, in nanoseconds)."""
    return round(float(machine.ssh(f"cut -d ' ' -f 1 /proc/uptime; {{ {command}; }} >/dev/null 2>&1").split()[0]) * 1e9)
