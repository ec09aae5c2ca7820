"""The installed service in a container, as a test works it and looks at it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from tests.edgetpu import Library, Standin, compiled
from tests.vm import delivery
from tests.vm.nspawn import DELIVERY, Machine, MachineError, until

UNIT = "edge-runner.service"
STATE = "/var/lib/edge-runner"
JOURNAL = f"{STATE}/field.db"
CONFIG = "/etc/edge-runner/config.yaml"
FAULTS = "/run/edge-faults"
MODELS = "/etc/edge-runner/models"
SMALL_MODEL = (
    f"model: {{path: {MODELS}/softmax_int8.tflite, bare: {{labels: {MODELS}/labels.txt, mean: [0], std: [255]}}}}\n"
)
"""As a part of a configuration: another model than the shipped one."""
_SMALL_MODEL = ("softmax_int8.tflite", "labels.txt")
STANDIN = "/etc/edge-runner/standin"
ON_STANDIN = f"""\
model: {{path: {STANDIN}/lite0_edgetpu.tflite, bare: {{labels: {STANDIN}/labels.txt}}}}
runtime: {{name: edgetpu, fallback: cpu, threads: 1, library: {STANDIN}/libedgetpu_standin.so}}
"""
"""As parts of a configuration: the shipped model, compiled, on a stand-in for an Edge TPU."""
WATCHDOG_S = 6.0
"""Shorter than the unit's own, so that the tests need not wait for long."""
PATIENCE_S = 90.0
"""For what takes a second or two on a machine that does nothing else."""

CONFIGURATION = f"""\
camera: {{source: scene, width_px: 320, height_px: 240, fps: 15, stall_s: 2}}
runtime: {{threads: 1}}
journal: {{path: {JOURNAL}, commit_s: 0.5, min_free_bytes: 100000, max_bytes_per_day: 2000000000}}
"""
_DROP_IN = f"[Service]\nWatchdogSec={WATCHDOG_S:g}s\n"
_QUERY = """
import json, sqlite3, sys
journal = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True, timeout=30)
print(json.dumps(journal.execute(sys.argv[2]).fetchall()))
"""


class Installed:
    """The service on one machine."""

    def __init__(self, machine: Machine, wheel: Path) -> None:
        """Look at a machine on which nothing is installed yet.

        Args:
            machine: with the delivery.
            wheel: what is to be installed, in the delivery.
        """
        self.machine, self.wheel = machine, wheel

    def install(self, *options: str, wheel: Optional[Path] = None, timeout_s: float = 600) -> tuple[int, str, float]:
        """Run the installer without a network; gives its exit code, what it said, and how long it took in s."""
        began = time.monotonic()
        wanted = [f"--wheel={DELIVERY}/{wheel.name}"] if wheel else []
        arguments = [*wanted, *([f"--offline={DELIVERY}/wheelhouse"] if wheel else []), *options]
        code, said = self.machine.exit_code("bash", f"{DELIVERY}/systemd/install.sh", *arguments, timeout_s=timeout_s)
        return code, said, time.monotonic() - began

    def prepare(self) -> None:
        """Shorten the watchdog's time, and make faults possible that nothing outside can cause."""
        self.write(f"/etc/systemd/system/{UNIT}.d/99-test.conf", _DROP_IN)
        self.machine.run("mkdir", "-p", FAULTS)
        # The delivery is this process's user's own, and the service is another one.
        self.machine.run("install", "-D", "-m", "644", "-t", MODELS, *(f"{DELIVERY}/{name}" for name in _SMALL_MODEL))
        target = "$(echo /opt/edge-runner/current/lib/python3.*/site-packages)"
        self.machine.run("sh", "-c", f"cp {DELIVERY}/edge_faults.py {target}")
        self.machine.run("sh", "-c", f"echo import edge_faults >{target}/edge_faults.pth")
        self.machine.run("systemctl", "daemon-reload")

    def plug_in_standins(self) -> Standin:
        """Put a stand-in for libedgetpu and models for it into the machine; the service knows when it is restarted."""
        made = self.machine.delivery / "standin"
        library = Library.build(made, Path(STANDIN))
        shutil.copy(delivery.ROOT / "tests/edgetpu/edgetpu_standin_kernel.py", made)
        model = (delivery.ROOT / "models/efficientnet_lite0_int8/model.tflite").read_bytes()
        (made / "lite0.tflite").write_bytes(model)
        (made / "lite0_edgetpu.tflite").write_bytes(compiled(model))
        shutil.copy(delivery.ROOT / "models/efficientnet_lite0_int8/labels.txt", made)
        self.machine.run(
            "sh", "-c", f"mkdir -p {STANDIN} && cp {DELIVERY}/standin/* {STANDIN} && chmod a+r {STANDIN}/*"
        )
        state = self.machine.path(f"{STANDIN}/state")
        standin = Standin(library, state)
        self.machine.run("chmod", "-R", "a+rwX", f"{STANDIN}/state")
        unit = f"[Service]\nEnvironment=EDGETPU_STANDIN={STANDIN}/state\nReadWritePaths={STANDIN}/state\n"
        self.write(f"/etc/systemd/system/{UNIT}.d/98-standin.conf", unit)
        self.systemctl("daemon-reload")
        return standin

    def write(self, inside: str, text: str) -> None:
        """Write a file, replacing what is there in one step."""
        path = self.machine.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + ".new").write_text(text)
        path.with_name(path.name + ".new").replace(path)

    def systemctl(self, *words: str, check: bool = True, timeout_s: float = 120) -> str:
        try:
            return self.machine.run("systemctl", *words, check=check, timeout_s=timeout_s)
        except MachineError as error:
            raise MachineError(
                f"{error} The log: {self.machine.run('journalctl', '--lines=15', '--output=cat')}"
            ) from None

    def show(self, *names: str) -> dict[str, str]:
        """Properties of the unit."""
        lines = self.systemctl("show", UNIT, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def value(self, name: str) -> str:
        return self.show(name)[name]

    @property
    def pid(self) -> int:
        return int(self.value("MainPID"))

    @property
    def restarts(self) -> int:
        return int(self.value("NRestarts"))

    @property
    def is_active(self) -> bool:
        return self.value("ActiveState") == "active"

    def ready_at_s(self, not_pid: int = 0) -> float:
        """Wait until it is READY, as another process than `not_pid`; gives when, on the monotonic clock."""

        def ready() -> Optional[float]:
            now = self.show("ActiveState", "MainPID", "ActiveEnterTimestampMonotonic")
            up = now["ActiveState"] == "active" and int(now["MainPID"]) not in (0, not_pid)
            return int(now["ActiveEnterTimestampMonotonic"]) / 1e6 if up else None

        try:
            return until(ready, f"{UNIT} is ready", PATIENCE_S)
        except MachineError as error:
            raise MachineError(f"{error}: {self.systemctl('status', UNIT, check=False)}") from None

    def restart_delay_s(self) -> float:
        """How long systemd will wait before it starts the service again; it grows from version 254 on."""
        now = self.show("RestartUSec", "RestartUSecNext")
        return seconds(now.get("RestartUSecNext") or now["RestartUSec"])

    def started_at_s(self) -> float:
        """When its process was started, on the monotonic clock."""
        return int(self.value("ExecMainStartTimestampMonotonic")) / 1e6

    def cold_start_s(self) -> float:
        """Stop it, start it: from the start of its process until it is READY."""
        self.systemctl("stop", UNIT)
        self.systemctl("start", UNIT)
        return self.ready_at_s() - self.started_at_s()

    def status(self) -> dict[str, Any]:
        """What `edge status` tells; raises as long as the daemon does not answer."""
        told: dict[str, Any] = json.loads(self.machine.run("edge", "status", "--json", "--journal", JOURNAL))
        return told

    def query(self, sql: str) -> list[list[Any]]:
        """Rows of the journal."""
        rows: list[list[Any]] = json.loads(self.machine.run("python3", "-c", _QUERY, JOURNAL, sql))
        return rows

    def number(self, sql: str) -> Any:
        """The one value that a query gives."""
        return self.query(sql)[0][0]

    def newest_row(self) -> int:
        return int(self.number("SELECT coalesce(max(id), 0) FROM frames"))

    def records_again(self, after: int) -> float:
        """Wait until frames newer than a row are in the journal; gives when, on the monotonic clock."""
        until(lambda: self.newest_row() > after + 2, "new frames are recorded", PATIENCE_S)
        return time.monotonic()

    def events(self, after: int = 0) -> list[tuple[str, dict[str, Any]]]:
        """Kind and detail of events newer than a row."""
        rows = self.query(f"SELECT kind, detail FROM events WHERE id > {after} ORDER BY id")
        return [(kind, json.loads(detail)) for kind, detail in rows]

    def newest_event(self) -> int:
        return int(self.number("SELECT coalesce(max(id), 0) FROM events"))

    def event(self, kind: str, after: int) -> dict[str, Any]:
        """Wait for an event newer than a row; gives its detail."""
        found = until(
            lambda: [detail for each, detail in self.events(after) if each == kind], f'there is an event "{kind}"', 60
        )
        return found[0]

    def log(self, since_s: float) -> list[tuple[float, str]]:
        """Lines of the unit's log since a moment of the monotonic clock, each with its own such moment."""
        self.machine.run("journalctl", "--sync")
        lines = self.machine.run("journalctl", f"--unit={UNIT}", "--boot", "--output=json").splitlines()
        found = []
        for line in map(json.loads, lines):
            at_s = int(line["__MONOTONIC_TIMESTAMP"]) / 1e6
            if at_s >= since_s:
                found.append((at_s, str(line["MESSAGE"])))
        return found

    def logged(self, words: str, since_s: float) -> tuple[float, str]:
        """Wait for a line of the log with these words; gives when it came, and the line."""

        def found() -> Optional[tuple[float, str]]:
            return next((entry for entry in self.log(since_s) if words in entry[1]), None)

        return until(found, f'"{words}" is in the log', PATIENCE_S)

    def fault(self, name: str, value: Optional[str] = "") -> None:
        """Cause a fault of `edge_faults`, or end it with None."""
        if value is None:
            self.machine.run("rm", "-f", f"{FAULTS}/{name}")
        else:
            self.write(f"{FAULTS}/{name}", value)

    def journal_is_whole(self) -> None:
        """Check the journal's file."""
        assert self.query("PRAGMA integrity_check") == [["ok"]]

    def mend(self) -> None:
        """Have it run with the configuration of these tests, whatever was done to it before."""
        machine = self.machine
        machine.run("sh", "-c", f"rm -f {FAULTS}/*; mkdir -p {FAULTS}; systemctl start systemd-journald", check=False)
        if machine.run("mountpoint", STATE, check=False).endswith("is a mountpoint\n"):
            self.systemctl("stop", UNIT, check=False)
            machine.run("umount", STATE)
        same = machine.path(CONFIG).read_text() == CONFIGURATION
        if not same:
            self.write(CONFIG, CONFIGURATION)
        self.systemctl("reset-failed", UNIT, check=False)  # also makes the restart's delay short again
        if not same or not self.is_active:
            self.systemctl("restart", UNIT)
        self.ready_at_s()


def deliver(folder: Path, python: str) -> Path:
    """Put installer, wheel, the wheels that it needs and a small model into a delivery; gives this checkout's wheel."""
    import platform

    wheel = delivery.build_wheel(folder)
    delivery.gather_wheels(python, platform.machine(), folder / "wheelhouse")
    shutil.copytree(delivery.ROOT / "systemd", folder / "systemd")
    shutil.copy(Path(__file__).with_name("edge_faults.py"), folder)
    shutil.copy(delivery.ROOT / "tests/fixtures/models/softmax_int8.tflite", folder)
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    return wheel


def seconds(systemd: str) -> float:
    """A duration as systemd writes it: "1min 2.5s", "100ms"."""
    units = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
    parts: Iterable[tuple[str, str]] = re.findall(r"([\d.]+)(min|ms|us|h|s)", systemd)
    return sum(float(number) * units[unit] for number, unit in parts)
