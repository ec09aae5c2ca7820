"""The service in a real systemd: installed without a network, broken in every way that it must survive, and removed.

`make test-system`, as root; how, [conftest.py](conftest.py) tells. The tests run in the order in which they stand here.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from typing import Any, Optional

import pytest

from tests.vm.conftest import EXTRAS, Story, files
from tests.vm.delivery import later_wheel
from tests.vm.installed import (
    CONFIG,
    CONFIGURATION,
    FAULTS,
    JOURNAL,
    ON_STANDIN,
    SMALL_MODEL,
    STATE,
    UNIT,
    WATCHDOG_S,
    Installed,
)
from tests.vm.nspawn import until

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("healthy")]

KILLS = int(os.environ.get("EDGE_KILLS", "3"))
WITH_OUTLETS = [part for name in EXTRAS.split(",") for part in ("--set", f"{name}.enabled=true")]
YEAR_S = 365 * 86_400
STOP_S = 5.0
"""The promise for an orderly end."""
RETRY_S = 30.0
"""The promise for writing again after a full disk."""


def test_is_installed(service: Installed, story: Story):
    shown = service.show("User", "ActiveState", "SubState", "UnitFileState", "StatusText", "NRestarts", "WatchdogUSec")
    story.say(f"the unit: {shown}")
    assert shown["ActiveState"] == "active"
    assert shown["UnitFileState"] == "enabled"
    assert shown["User"] == "edge-runner"
    until(lambda: "scene" in service.value("StatusText"), "the status names the camera", 30)
    told = service.status()
    assert told["frames"] > 0
    assert told["journal"]["path"] == JOURNAL
    assert "READY" not in service.machine.run("edge", "--version")


def test_unit_is_clean_and_hardened(service: Installed, story: Story):
    code, said = service.machine.exit_code("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    assert (code, said) == (0, "")
    scored = service.machine.run("systemd-analyze", "security", UNIT, "--no-pager").splitlines()[-1]
    exposure = float(scored.split(":")[1].split()[0])
    story.tell("systemd-analyze", "verify says nothing", f"exposure {exposure} (bar: 2.0)")
    assert exposure <= 2.0


def test_killed(service: Installed, story: Story):
    cold_s: list[float] = []
    moments = random.Random(0)
    kept: set[tuple[Any, ...]] = set()
    took_s, over_s, started_s = [], [], []
    for number in range(KILLS):
        cold_s.append(service.cold_start_s())  # in between, because whatever else the machine does slows down both
        service.records_again(service.newest_row())
        time.sleep(moments.uniform(0, 1.5))
        committed = rows_of(service)
        pid, run, delay_s = service.pid, newest_run(service), service.restart_delay_s()
        killed_s = service.machine.kill(pid, signal.SIGKILL)
        ready_s = service.ready_at_s(not_pid=pid)
        took_s.append(ready_s - killed_s)
        over_s.append(ready_s - killed_s - delay_s)
        started_s.append(ready_s - service.started_at_s())
        service.journal_is_whole()
        kept |= committed
        lost = len(kept - rows_of(service))
        (because,) = service.query(f"SELECT ended_because FROM runs WHERE id = {run}")[0]
        if number < 3 or number % 10 == 9 or lost:
            story.say(
                f"kill {number + 1}: READY after {took_s[-1]:.2f} s, of which RestartSec {delay_s:.3g} s and "
                f"{started_s[-1]:.2f} s from the start of the process; {len(committed)} committed rows, {lost} lost; "
                f'that run ended by "{because}"'
            )
        assert lost == 0
        assert service.restart_delay_s() == delay_s, "a restart makes the next one later, although it was READY since"
        assert because == "power or process lost"
    ratio = statistics.median(started_s) / statistics.median(cold_s)
    story.tell(
        f"kill -9, {KILLS} times",
        f"integrity_check ok each time, {len(kept)} committed rows, {lost} lost",
        f"READY after median {statistics.median(took_s):.2f} s, worst {max(took_s):.2f} s: RestartSec + "
        f"{statistics.median(over_s):.2f} s; from the start of the process {ratio:.2f} x the "
        f"{statistics.median(cold_s):.2f} s of a cold start",
    )
    # Beside the noise of a machine with other things to do: systemd lets its timers be a quarter of a second late.
    assert statistics.median(over_s) <= 1.5 * max(cold_s) + 0.25


def test_stopped_process_is_restarted(service: Installed, story: Story):
    pid, delay_s = service.pid, service.restart_delay_s()
    began_s = service.machine.kill(pid, signal.SIGSTOP)
    story.say("SIGSTOP")
    _watched(service, story, "SIGSTOP", pid, began_s, delay_s)


def test_hanging_model_is_restarted(service: Installed, story: Story):
    pid, run, delay_s = service.pid, newest_run(service), service.restart_delay_s()
    story.say("the next call of the model never returns")
    service.fault("hang")
    began_s = time.monotonic()
    time.sleep(1.0)
    frames = service.status()["frames"]
    story.say(f"the daemon answers `edge status` meanwhile: {frames} frames")
    service.logged("Watchdog timeout", began_s)
    service.fault("hang", None)
    _watched(service, story, "a call of the model that never returns", pid, began_s, delay_s)
    assert service.query(f"SELECT ended_because FROM runs WHERE id = {run}") == [["power or process lost"]]


def _watched(service: Installed, story: Story, fault: str, pid: int, began_s: float, delay_s: float) -> None:
    noticed_s, line = service.logged("Watchdog timeout", began_s)
    story.say(f"{noticed_s - began_s:.2f} s later: {line}")
    ready_s = service.ready_at_s(not_pid=pid)
    service.journal_is_whole()
    ratio = (noticed_s - began_s) / WATCHDOG_S
    story.tell(
        fault,
        f"the watchdog fired after {noticed_s - began_s:.2f} s = {ratio:.2f} x WatchdogSec (bar: 1.5)",
        f"READY after {ready_s - began_s:.1f} s, of which RestartSec {delay_s:.3g} s",
    )
    assert ratio <= 1.5


def test_full_disk(service: Installed, story: Story):
    on_small_disk(service)
    service.systemctl("start", UNIT)
    service.ready_at_s()
    service.records_again(0)
    pid, began_s = service.pid, time.monotonic()
    service.machine.run("sh", "-c", f"cat /dev/zero >{STATE}/junk", check=False)
    story.say("the disk of the journal is full")
    why = until(lambda: service.status()["journal"]["why"], "the status tells that nothing is recorded", 60)
    frames = service.status()["frames"]
    until(lambda: service.status()["frames"] > frames, "frames are classified with a full disk", 20)
    story.say(f"{time.monotonic() - began_s:.1f} s later the status says: {why}; frames are classified")
    row, freed_s = service.newest_row(), time.monotonic()
    service.machine.run("rm", f"{STATE}/junk")
    again_s = service.records_again(row)
    service.event("recording again", 0)
    assert service.pid == pid
    assert service.status()["journal"]["why"] is None
    service.journal_is_whole()
    story.tell(
        "disk full, then free again",
        f'classifying went on; status: "{why}"; the same process',
        f"records again {again_s - freed_s:.1f} s after there was room (bar: {RETRY_S:g} s)",
    )
    assert again_s - freed_s <= RETRY_S + 10


def test_read_only_disk(service: Installed, story: Story):
    on_small_disk(service)
    service.systemctl("start", UNIT)
    service.ready_at_s()
    service.records_again(0)
    service.systemctl("stop", UNIT)
    row = service.newest_row()
    # The file system itself, and not how it is seen here, of which the service would keep a copy.
    service.machine.run("mount", "-o", "remount,ro", STATE)
    service.machine.run("mount", "-o", "remount,bind,rw", STATE)
    story.say("the disk of the journal is read-only, and the service is started")
    service.systemctl("start", UNIT)
    service.ready_at_s()
    pid, began_s = service.pid, time.monotonic()
    line = service.logged("cannot be written", began_s - 20)[1]
    story.say(f"READY all the same; the log: {line}")
    words = until(lambda: _status_with(service, "p50"), "the status has a rate", 30)
    story.say(f"it classifies: {words}")
    service.machine.run("mount", "-o", "remount,rw", STATE)
    freed_s = time.monotonic()
    again_s = service.records_again(row)
    assert service.pid == pid
    service.journal_is_whole()
    story.tell(
        "read-only disk at the start, then writable",
        f'READY and classifying; the log: "{line}"; the same process',
        f"records again {again_s - freed_s:.1f} s after it could be written (bar: {RETRY_S:g} s)",
    )
    assert again_s - freed_s <= RETRY_S + 10


def test_broken_configuration(service: Installed, story: Story):
    service.write(CONFIG, CONFIGURATION + "fsp: 3\n")
    began_s = time.monotonic()
    story.say("the configuration has an unknown key, and the service is restarted")
    service.systemctl("restart", UNIT, check=False)
    line = service.logged("fsp", began_s)[1]
    shown = until(lambda: _failed(service), "the unit has failed", 30)
    time.sleep(2 * service.restart_delay_s() + 1)
    later = service.show("ActiveState", "NRestarts", "ExecMainStatus")
    story.tell("broken configuration", f'exit code {shown["ExecMainStatus"]}, no restart; the log: "{line}"', "by hand")
    assert later == shown
    assert shown["ExecMainStatus"] == "78"
    assert shown["NRestarts"] == "0"
    service.mend()
    assert service.is_active


def _failed(service: Installed) -> Optional[dict[str, str]]:
    shown = service.show("ActiveState", "NRestarts", "ExecMainStatus")
    return shown if shown["ActiveState"] == "failed" else None


def test_reload(service: Installed, story: Story):
    pid, event = service.pid, service.newest_event()
    service.write(CONFIG, CONFIGURATION + SMALL_MODEL + "fps: 5\n")
    row, began_s = service.newest_row(), time.monotonic()
    service.systemctl("reload", UNIT)
    took_s = time.monotonic() - began_s
    changed = service.event("reloaded", event)["changed"]
    gap_s = until(lambda: _reload_gap_s(service), "the new run has a frame", 30)
    service.records_again(row)
    model = service.status()["model"]
    story.tell(
        "reload with another model and rate",
        f"the same process; changed: {', '.join(changed)}; now {model}",
        f"{took_s:.1f} s, {gap_s:.2f} s between two results",
    )
    assert service.pid == pid
    assert service.is_active
    assert {"fps", "model.path"} <= set(changed)
    assert gap_s < took_s + 1.0
    counted, rows_stand_for = _counts(service, newest_run(service) - 1)
    assert counted == rows_stand_for, "the reload lost frames of the run before it"
    event = service.newest_event()
    service.write(CONFIG, CONFIGURATION + "fps: never\n")
    said = service.systemctl("reload", UNIT, check=False)
    why = service.event("reload refused", event)["why"]
    story.say(f"a bad file is refused: {why} systemctl: {said.strip()}")
    row = service.newest_row()
    service.records_again(row)
    assert service.pid == pid
    assert service.is_active
    assert service.status()["model"] == model
    assert "fps" in why
    story.tell("reload with a bad file", f'refused, the old one goes on: "{why}"', "nothing to recover")


def test_edge_tpu_is_unplugged(service: Installed, story: Story):
    standin = service.plug_in_standins()
    camera, _, journal = CONFIGURATION.splitlines()
    service.write(CONFIG, f"{camera}\n{journal}\n{ON_STANDIN}")
    service.systemctl("restart", UNIT)
    service.ready_at_s()
    assert service.status()["backend"] == "edgetpu-standin"
    pid, run, event, began_s = service.pid, newest_run(service), service.newest_event(), time.monotonic()
    standin.set(devices="")
    lost = service.event("backend lost", event)
    story.say(f"unplugged: {lost}")
    until(lambda: service.status()["backend"] == "cpu", "the twin answers", 10)
    answering_s = time.monotonic() - began_s
    time.sleep(2 * WATCHDOG_S)
    assert service.is_active
    began_s = time.monotonic()
    standin.set(devices="usb")
    service.event("backend found", event)
    until(lambda: service.status()["backend"] == "edgetpu-standin", "it answers again", 10)
    story.tell(
        "Edge TPU (a stand-in) unplugged and plugged in",
        f"the same process; {lost['cause']}; the CPU answers meanwhile, the watchdog stays quiet",
        f"{answering_s:.1f} s; {time.monotonic() - began_s:.1f} s after it is back",
    )
    assert service.pid == pid
    service.systemctl("stop", UNIT)
    counted, rows_stand_for = _counts(service, run)
    assert counted == rows_stand_for
    assert service.machine.run("pgrep", "-f", "edgetpu.child", check=False) == ""


def _reload_gap_s(service: Installed) -> Optional[float]:
    """Between the last result of the run before the newest and the first of the newest, once both are there."""
    run = newest_run(service)
    last_ns = service.number(f"SELECT max(monotonic_ns) FROM frames WHERE run_id = {run - 1}")
    first_ns = service.number(f"SELECT min(monotonic_ns) FROM frames WHERE run_id = {run}")
    return None if last_ns is None or first_ns is None else (first_ns - last_ns) / 1e9


@pytest.mark.parametrize("step_s", [YEAR_S, -YEAR_S], ids=["forward", "back"])
def test_clock_jumps(service: Installed, story: Story, step_s: int):
    pid, event, restarts = service.pid, service.newest_event(), service.restarts
    service.fault("clock_s", str(step_s))
    story.say(f"the clock jumps by {step_s / YEAR_S:+.0f} year")
    first = service.event("clock jumped", event)
    event, row = service.newest_event(), service.newest_row()
    service.records_again(row)
    service.fault("clock_s", None)
    story.say("and back")
    second = service.event("clock jumped", event)
    row = service.newest_row()
    service.records_again(row)
    newest_s = service.number("SELECT max(CAST(strftime('%s', utc) AS INTEGER)) FROM frames_utc")
    assert abs(newest_s - time.time()) < 60
    assert (service.pid, service.restarts) == (pid, restarts)
    story.tell(
        f"clock {'forward' if step_s > 0 else 'back'} by a year, and right again",
        f"events: {first}, {second}; all rows tell the right time",
        "nothing to recover, the same process",
    )


def test_journald_stopped_and_started(service: Installed, story: Story):
    pid, event = service.pid, service.newest_event()
    sockets = ["systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket"]
    service.systemctl("stop", *sockets, "systemd-journald.service", check=False)
    assert "inactive" in service.systemctl("is-active", "systemd-journald.service", check=False)
    story.say("journald is stopped; the daemon is given something to say")
    service.write(CONFIG, CONFIGURATION + "fps: never\n")
    service.systemctl("reload", UNIT, check=False)
    service.event("reload refused", event)
    row = service.newest_row()
    service.records_again(row)
    service.systemctl("start", *sockets[:2], "systemd-journald.service")
    service.write(CONFIG, CONFIGURATION)
    row = service.newest_row()
    service.records_again(row)
    assert service.pid == pid
    story.tell("journald stopped and started", "recording went on, the same process", "nothing to recover")


def test_stop(service: Installed, story: Story):
    service.systemctl("restart", UNIT)
    service.ready_at_s()
    service.records_again(service.newest_row())
    run, began_s = newest_run(service), time.monotonic()
    service.systemctl("stop", UNIT)
    took_s = time.monotonic() - began_s
    shown = service.show("Result", "ExecMainCode", "ExecMainStatus", "ActiveState")
    because, ended_ns = service.query(f"SELECT ended_because, ended_ns FROM runs WHERE id = {run}")[0]
    last_ns = service.number(f"SELECT max(monotonic_ns) FROM frames WHERE run_id = {run}")
    counted, rows_stand_for = _counts(service, run)
    story.tell(
        "systemctl stop",
        f'exit code {shown["ExecMainStatus"]}, "{because}"; {counted} frames counted, rows stand for {rows_stand_for}',
        f"{took_s:.2f} s (bar: {STOP_S:g} s)",
    )
    assert shown == {"Result": "success", "ExecMainCode": "1", "ExecMainStatus": "0", "ActiveState": "inactive"}
    assert took_s <= STOP_S
    assert because == "asked to stop"
    assert counted == rows_stand_for
    assert ended_ns - last_ns < 1e9, "the last frames before the stop are not in the journal"
    service.journal_is_whole()


def test_no_camera(service: Installed, story: Story):
    give_up_s = 5
    service.write(CONFIG, CONFIGURATION.replace("source: scene", f"source: camera, give_up_s: {give_up_s}"))
    began_s = time.monotonic()
    service.systemctl("restart", "--no-block", UNIT)
    story.say(f"there is no camera, and give_up_s is {give_up_s}")
    words = until(lambda: _status_with(service, "no camera"), "it says so", 60)
    assert service.value("ActiveState") == "activating"
    until(lambda: service.restarts >= 1, "it gave up and is started again", 60)
    gave_up_s = time.monotonic() - began_s
    assert service.value("ActiveState") == "activating"
    service.write(CONFIG, CONFIGURATION)
    found_s = time.monotonic()
    until(lambda: service.is_active, "it is READY with a camera", 60)
    story.tell(
        "no camera at the start",
        f'not READY; status: "{words}"; gave up and started again after {gave_up_s:.1f} s',
        f"READY {time.monotonic() - found_s:.1f} s after there was one",
    )


def test_reboot(service: Installed, story: Story):
    machine = service.machine
    run, row, leader = newest_run(service), service.newest_row(), machine.leader
    began_s = time.monotonic()
    service.systemctl("reboot", check=False)
    machine.wait_booted(not_leader=leader)
    service.ready_at_s()
    ready_s = time.monotonic() - began_s
    machine.run("mkdir", "-p", FAULTS)
    service.records_again(row)
    (because,) = service.query(f"SELECT ended_because FROM runs WHERE id = {run}")[0]
    service.journal_is_whole()
    story.tell("reboot of the container", f'runs again by itself; the run before: "{because}"', f"{ready_s:.1f} s")
    assert because == "asked to stop"


def test_upgrades(service: Installed, story: Story):
    row = service.newest_row()
    good = later_wheel(service.wheel, "9.1.0")
    code, said, took_s = service.install("--upgrade", wheel=good)
    assert code == 0, said
    service.ready_at_s()
    service.records_again(row)
    assert "9.1.0" in service.machine.run("edge", "--version")
    assert service.machine.path(CONFIG).read_text() == CONFIGURATION
    assert "is not installed" not in service.machine.run("edge", "config", "check", CONFIG, *WITH_OUTLETS)
    kept = f"the same configuration and extras ({EXTRAS.replace(',', ', ')}), the journal goes on"
    story.tell("upgrade to a later wheel", f"READY, {kept}", f"{took_s:.0f} s")
    bad = later_wheel(service.wheel, "9.2.0", starts=False)
    service.write(CONFIG, f"{CONFIGURATION}web: {{enabled: true}}\n")
    row, began_s = service.newest_row(), time.monotonic()
    code, said, took_s = service.install("--upgrade", "--extras", "none", wheel=bad)
    story.say(f"a wheel that cannot start, without extras: exit code {code}; {said.strip().splitlines()[-1]}")
    assert code != 0
    assert "Warning: web.enabled is true, and aiohttp is not installed: " in said
    assert "`sudo systemd/install.sh --extras web`." in said
    service.ready_at_s()
    service.records_again(row)
    assert "9.1.0" in service.machine.run("edge", "--version")
    assert service.machine.path("/opt/edge-runner/9.1.0/extras").read_text() == f"{EXTRAS}\n"
    gap_s = time.monotonic() - began_s
    service.journal_is_whole()
    story.tell(
        "upgrade to a wheel that cannot start",
        "exit code 1, and the version before put back by itself, READY",
        f"{took_s:.0f} s, records again after {gap_s:.0f} s",
    )


def test_uninstall(service: Installed, story: Story, before: dict[str, Any]):
    row = service.newest_row()
    code, said, took_s = service.install("--uninstall")
    assert code == 0, said
    left = sorted(files(service.machine) - before["files"])
    beside = [each for each in left if not each.startswith((STATE, "/etc/udev"))]  # not every root has udev's folders
    story.say(f"left: {', '.join(left)}")
    service.journal_is_whole()
    assert service.newest_row() >= row
    assert beside == []
    assert service.value("LoadState") == "not-found"
    code, said, _ = service.install("--uninstall", "--purge")
    assert code == 0, said
    assert not service.machine.path(STATE).exists()
    story.tell("uninstall", f"only {STATE} is left, the journal whole; with --purge nothing", f"{took_s:.1f} s")


def _counts(service: Installed, run: int) -> tuple[int, int]:
    """How many frames the minutes of a run count, and for how many its rows stand."""
    counted = service.number(f"SELECT sum(frames) FROM windows WHERE run_id = {run}")
    return int(counted), int(service.number(f"SELECT sum(stands_for) FROM frames WHERE run_id = {run}"))


def _status_with(service: Installed, words: str) -> Optional[str]:
    said = service.value("StatusText")
    return said if words in said else None


def on_small_disk(service: Installed) -> None:
    """Put the journal on a disk of 6 MB of its own; the service is stopped."""
    service.systemctl("stop", UNIT)
    owner = service.machine.run("stat", "-c", "uid=%u,gid=%g,mode=%a", STATE).strip()
    service.machine.run("mount", "-t", "tmpfs", "-o", f"size=6M,{owner}", "tmpfs", STATE)


def newest_run(service: Installed) -> int:
    return int(service.number("SELECT max(id) FROM runs"))


def rows_of(service: Installed) -> set[tuple[Any, ...]]:
    """What is committed: every row of frames, events and runs, by what must not change."""
    found: set[tuple[Any, ...]] = set()
    for table, columns in {
        "frames": "id, run_id, sequence, monotonic_ns, class_id, score, stands_for",
        "events": "id, run_id, monotonic_ns, kind, detail",
        "runs": "id, run, started_ns, boot_id",
    }.items():
        found |= {(table, *row) for row in service.query(f"SELECT {columns} FROM {table}")}
    return found
