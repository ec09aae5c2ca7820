"""`make test-camera`: the service under its real unit, with real V4L2 and libcamera cameras that are made to fail.

In each case the process stays the same, and nothing is recorded between the loss and the recovery that was not new.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

import pytest

from tests.vm import uml
from tests.vm.uml_bench import (
    FROZEN_S,
    LATE_S,
    STALL_S,
    Bench,
    Case,
    begin,
    fresh,
    losses,
    settings,
    survives,
)
from tests.vm.uml_photographs import Photograph, photographs
from tests.vm.uml_service import CONTROL_GROUP, UNIT, install, logs, look, now_ns, run_at, until

pytestmark = pytest.mark.camera

VIVID, VIMC = "/sys/bus/platform/drivers/vivid", "/sys/bus/platform/drivers/vimc"
LOOPBACK = "/dev/video42"
COLOUR_BARS, RED, NOISE = 0, 7, 21
"""Test patterns of vivid: of the first and second every picture is the same, of the third none."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    why = uml.why_not()
    if why:
        pytest.skip(why)
    uml.build()
    began_s = time.monotonic()
    with uml.booted(tmp_path_factory.mktemp("uml") / "m") as machine:
        kernel = machine.ssh("uname -r; systemctl --version | head -1").split("\n")
        print(f"\nbooted in {time.monotonic() - began_s:.0f} s: Linux {kernel[0]}, {kernel[1]}", flush=True)
        machine.ssh("modprobe vivid n_devs=1 node_types=0x1; udevadm settle")
        print(f"installed in {install(machine):.0f} s", flush=True)
        cases: list[Case] = []
        yield Bench(machine, cases)
        print("\n| fault | what happens | noticed after | recovered after |\n|---|---|---|---|")
        for case in cases:
            times = ("-" if each is None else f"{each:.1f} s" for each in case[2:])
            print(f"| {' | '.join((*case[:2], *times))} |")


def control(**values: int) -> str:
    given = ",".join(f"{name}={value}" for name, value in values.items())
    return f"v4l2-ctl -d /dev/v4l/by-path/platform-vivid.0-video-index0 -c {given}"


UNPLUG, PLUG = f"echo vivid.0 >{VIVID}/unbind", f"echo vivid.0 >{VIVID}/bind"


class TestVivid:
    """A driver with faults to order; it knows no MJPG, so that the camera's own format is taken."""

    @pytest.fixture(autouse=True)
    def begun(self, bench: Bench) -> None:
        # Plugged in anew, so that it has its first number.
        anew = f"[ ! -e {VIVID}/vivid.0 ] || {UNPLUG}; modprobe -r v4l2loopback vimc; {PLUG}; udevadm settle"
        bench.machine.ssh(f"{anew}; {control(test_pattern=NOISE)}")
        begin(bench, settings())

    def test_unplugged_and_plugged_in(self, bench: Bench) -> None:
        survives(bench, "unplugged, and plugged in again", UNPLUG, PLUG, "gone")

    def test_plugged_in_under_another_number(self, bench: Bench) -> None:
        breaks = f"{UNPLUG}; modprobe v4l2loopback video_nr=0 exclusive_caps=1 card_label=another"
        seen = survives(
            bench, "the same, as another /dev/video while another device has its number", breaks, PLUG, "gone"
        )
        found = seen.event("camera found")
        assert found
        assert "vivid" in found.detail["camera"]
        assert "/dev/video0 " not in found.detail["camera"]

    def test_disconnected_while_it_is_read(self, bench: Bench) -> None:
        survives(bench, "USB bus: disconnected during a read", control(disconnect=1), None, "read error")

    def test_streaming_error(self, bench: Bench) -> None:
        survives(bench, "fatal streaming error", control(inject_fatal_streaming_error=1), None, "read error")

    def test_no_frames(self, bench: Bench) -> None:
        breaks, mends = (control(percentage_of_dropped_buffers=share) for share in (100, 0))
        survives(bench, "100 % of the frames dropped", breaks, mends, "stalled")

    def test_the_same_picture_again_and_again(self, bench: Bench) -> None:
        breaks, mends = control(test_pattern=COLOUR_BARS, osd_text_mode=2), control(test_pattern=NOISE)
        survives(bench, "frozen: the same picture again and again", breaks, mends, "frozen", late_s=FROZEN_S + LATE_S)

    def test_opened_again_in_vain_first(self, bench: Bench) -> None:
        breaks = control(percentage_of_dropped_buffers=100) + "; sleep 1; " + control(inject_vidioc_reqbufs_error=1)
        mends = control(percentage_of_dropped_buffers=0)
        survives(bench, "no frames, and the driver refuses buffers", breaks, mends, "stalled")

    @pytest.mark.parametrize(("fourcc", "got"), [("MJPG", "BGR3"), ("YUYV", "YUYV")])
    def test_red_is_red(self, bench: Bench, fourcc: str, got: str) -> None:
        machine = bench.machine
        machine.ssh(f"systemctl stop {UNIT}; {control(test_pattern=RED, osd_text_mode=2)}")
        code = (
            "import json, sys; from edge.cameras import CameraSettings, open_camera; "
            "camera = open_camera(CameraSettings(source='/dev/video0', fourcc=sys.argv[1])); frame = camera.read(9); "
            "print(json.dumps([camera.name, frame.pixels.shape, frame.pixels[240, 320].tolist()])); camera.close()"
        )
        name, shape, pixel = machine.python(code, fourcc, python="/opt/edge-runner/current/bin/python")
        print(f"\nasked for {fourcc}: {name}, {shape}, red is {pixel}", flush=True)
        assert f" {got} " in name
        assert shape == [480, 640, 3]
        assert pixel[0] > 200
        assert max(pixel[1:]) < 50

    def test_the_unit_is_enforced(self, bench: Bench) -> None:
        machine = bench.machine
        total_bytes = int(machine.ssh("awk '/MemTotal/ {print $2 * 1024}' /proc/meminfo"))
        limit_bytes = int(machine.ssh(f"cat {CONTROL_GROUP}/memory.max"))
        user = machine.ssh(f"ps -o user= -p $(systemctl show -P MainPID {UNIT})").strip()
        # What runs in the unit's control group, even as root, opens the cameras and nothing that was not allowed.
        tries = (
            f"echo $$ >{CONTROL_GROUP}/cgroup.procs; "
            "for device in /dev/video0 /dev/null /dev/ubda /dev/kmsg; do "
            'python3 -c "import os, sys; os.open(sys.argv[1], os.O_RDONLY)" $device 2>/dev/null && echo $device; done'
        )
        opened = machine.ssh(f"sh -c {shlex.quote(tries)}", check=False).split()
        print(
            f"\nuser {user}, MemoryMax {limit_bytes >> 20} of {total_bytes >> 20} MB, opens {', '.join(opened)}",
            flush=True,
        )
        assert user == UNIT
        assert limit_bytes == pytest.approx(0.7 * total_bytes, rel=0.02)
        assert opened == ["/dev/video0", "/dev/null"]

    def test_too_much_memory_ends_who_takes_it_and_the_daemon_goes_on(self, bench: Bench) -> None:
        machine = bench.machine
        print("\nmemory beyond MemoryMax: a process in its control group takes more and more", flush=True)
        before = look(machine)
        takes = 'b = [b"x" * (1 << 24 | i) for i in range(99)]'
        hog = f"echo $$ >{CONTROL_GROUP}/cgroup.procs; exec python3 -c {shlex.quote(takes)}"
        began_ns = now_ns(machine)
        machine.ssh(f"sh -c {shlex.quote(hog)}", check=False)
        ended_ns = now_ns(machine)
        seen = until(machine, began_ns, "frames after that", lambda seen: fresh(seen.frames, ended_ns))
        first = fresh(seen.frames, ended_ns)
        assert first
        assert seen.pid == before.pid
        assert "OOM killer" in logs(machine, 60)
        bench.cases.append(
            Case(
                "a process beside the daemon takes more than MemoryMax",
                "the kernel ends it, the daemon goes on",
                None,
                (first.done_ns - ended_ns) / 1e9,
            )
        )


def feed(fourcc: str, folder: str, hold: str = "") -> str:
    """The command that lets the loopback device be a camera that gives the pictures of a folder."""
    script = f"python3 /mnt/host/uml_feed.py {LOOPBACK} {fourcc} 10 /mnt/host/{folder} {hold}"
    again = "-p Restart=always -p RestartSec=500ms -p StartLimitIntervalSec=0"
    return f"systemctl stop feed 2>/dev/null; systemd-run --quiet --collect --unit feed {again} {script}"


@pytest.fixture(scope="module")
def pictures(bench: Bench) -> list[Photograph]:
    return photographs(bench.machine.share)


class TestLoopback:
    """A camera that gives MJPG, of real photographs."""

    @pytest.fixture(autouse=True)
    def begun(self, bench: Bench, pictures: list[Photograph]) -> None:
        unplugged = (
            f"[ ! -e {VIVID}/vivid.0 ] || {UNPLUG}; systemctl stop feed 2>/dev/null; modprobe -r v4l2loopback vimc"
        )
        bench.machine.ssh(
            f"{unplugged}; modprobe v4l2loopback video_nr=42 exclusive_caps=0; {feed('MJPG', pictures[0].name)}"
        )
        begin(bench, settings(LOOPBACK))

    def test_photographs_are_told_right(self, bench: Bench, pictures: list[Photograph]) -> None:
        machine = bench.machine
        print(f"\nphotographs: {', '.join(each.name for each in pictures)}", flush=True)
        before = look(machine)
        for picture in pictures:
            machine.ssh(feed("MJPG", picture.name))
            since_ns = now_ns(machine) + 2_500_000_000  # by then the one before is over
            seen = until(machine, since_ns, picture.name, lambda seen: len(seen.frames) >= 5)
            told = {frame.class_id for frame in seen.frames}
            bench.say(
                f"{picture.name}: classes {sorted(told)} in {len(seen.frames)} frames, expected {picture.class_id}"
            )
            assert told == {picture.class_id}
        assert look(machine).pid == before.pid

    def test_the_same_picture_again_and_again(self, bench: Bench, pictures: list[Photograph]) -> None:
        name = pictures[0].name
        breaks, mends = feed("MJPG", name, "hold"), feed("MJPG", name)
        # One that is opened again while the picture is the same gives nothing either.
        survives(bench, "frozen MJPG", breaks, mends, "frozen", late_s=FROZEN_S + 3 * LATE_S)

    def test_the_feeder_ends(self, bench: Bench, pictures: list[Photograph]) -> None:
        survives(
            bench, "MJPG camera silent", "systemctl stop feed", feed("MJPG", pictures[0].name), "stalled", "refused"
        )

    def test_broken_pictures(self, bench: Bench, pictures: list[Photograph]) -> None:
        breaks, mends = feed("MJPG", "no_pictures"), feed("MJPG", pictures[0].name)
        survives(bench, "MJPG that cannot be decoded", breaks, mends, "read error")

    def test_another_format(self, bench: Bench, pictures: list[Photograph]) -> None:
        # The device keeps its format for as long as it is read.
        breaks = f"systemctl stop feed; sleep {STALL_S + 3}; {feed('H264', 'no_pictures')}"
        mends = feed("MJPG", pictures[0].name)
        survives(bench, "format refused: only H264 offered", breaks, mends, "stalled", "refused")


class TestLibcamera:
    """picamera2 itself, with libcamera's vimc."""

    @pytest.fixture(autouse=True)
    def begun(self, bench: Bench) -> None:
        unplugged = f"[ ! -e {VIVID}/vivid.0 ] || {UNPLUG}; modprobe -r v4l2loopback"
        bench.machine.ssh(
            f"{unplugged}; modprobe vimc; [ -e {VIMC}/vimc.0 ] || echo vimc.0 >{VIMC}/bind; udevadm settle"
        )
        begin(bench, settings("picamera", frozen_s=None))  # what it draws never moves

    def test_unplugged_and_plugged_in(self, bench: Bench) -> None:
        machine = bench.machine
        breaks, mends = f"echo vimc.0 >{VIMC}/unbind", f"echo vimc.0 >{VIMC}/bind"
        print(f"\nlibcamera: unplugged, and plugged in again: {breaks}", flush=True)
        before = look(machine, now_ns(machine))
        assert "CSI camera" in before.status
        breaking_ns = run_at(machine, breaks)
        broken_ns = now_ns(machine)
        away = until(
            machine, before.now_ns, "a new process", lambda seen: seen.pid not in (0, before.pid) and losses(seen)[1:]
        )
        for loss in losses(away):
            bench.say(f"{loss.detail['cause']}: {loss.detail['why']}")
        mending_ns = run_at(machine, mends)
        until(machine, mending_ns, "it goes on", lambda seen: fresh(seen.frames, mending_ns))
        seen = look(machine, before.now_ns)
        first, lost = fresh(seen.frames, mending_ns), losses(seen)[0]
        assert first
        assert lost.detail["cause"] == "gone"
        assert seen.pid == away.pid
        assert "code=exited, status=1/FAILURE" in logs(machine, 60)  # in good order, not by SIGABRT
        assert [each for each in seen.frames if broken_ns + LATE_S * 1e9 < each.captured_ns < mending_ns] == []
        noticed_s, recovered_s = (lost.at_ns - breaking_ns) / 1e9, (first.done_ns - mending_ns) / 1e9
        bench.say(f"noticed after {noticed_s:.1f} s, recovered after {recovered_s:.1f} s, by another process")
        happens = "lost (`gone`), which libcamera survives only in a new process: exit code 1, systemd starts one"
        bench.cases.append(Case("libcamera: unplugged, and plugged in again", happens, noticed_s, recovered_s))
