"""The Edge TPU's runtime with real processes on the stand-in: what it answers while they fail in every way."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import pytest

from edge.errors import AcceleratorError
from edge.runtimes import ConcurrentRuntime, Done, open_runtime
from edge.runtimes.edgetpu.pool import EdgeTpu
from edge.runtimes.edgetpu.process import Child
from edge.runtimes.edgetpu.words import Order
from edge.runtimes.settings import RuntimeSettings
from tests.edgetpu import Standin, compiled

ROOT = Path(__file__).resolve().parent.parent
STANDIN = "edgetpu-standin"
PATIENCE_S = 60.0


class Small(NamedTuple):
    """A model of 16 by 16 pixels, compiled and not, with pictures whose answers differ from one to the next."""

    compiled: Path
    twin: Path
    pictures: list[np.ndarray]
    answers: list[np.ndarray]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny: Any) -> Small:
    twin = tiny["softmax_uint8"]
    path = tmp_path_factory.mktemp("small") / "small_edgetpu.tflite"
    path.write_bytes(compiled(twin.read_bytes()))
    runtime = open_runtime("auto", twin, threads=1)
    shape = runtime.input_details[0].shape
    pictures = [np.zeros(shape, np.uint8) for _ in range(3)]
    answers = []
    for channel, picture in enumerate(pictures):
        picture[..., channel] = 200
        runtime.input()[...] = picture
        runtime.invoke()
        answers.append(runtime.output().copy())
    runtime.close()
    assert [answer.argmax() for answer in answers] == [0, 1, 2]
    return Small(path, twin, pictures, answers)


class Run:
    """Frames through a runtime, one after another or as many as it takes."""

    def __init__(self, runtime: EdgeTpu, small: Small) -> None:
        self.runtime, self._small = runtime, small
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.done: list[Done] = []
        self.done_s: list[float] = []
        self._begun = 0
        runtime.listen(lambda kind, detail: self.events.append((kind, detail)))

    @property
    def backends(self) -> list[str]:
        return [each.backend for each in self.done]

    def frames(self, count: int) -> list[str]:
        """The backends that answered so many more frames."""
        self.until(lambda: len(self.done) >= before + count, before := len(self.done), most=count)
        return self.backends[before:]

    def until(
        self, happens: Callable[[], bool], *_: object, most: Optional[int] = None, pause_s: float = 0.002
    ) -> None:
        """Frames until something happens."""
        deadline_s = time.monotonic() + PATIENCE_S
        last = None if most is None else self._begun + most
        while not happens():
            assert time.monotonic() < deadline_s, (self.events, self.backends[-5:])
            while (last is None or self._begun < last) and self.runtime.takes():
                self.runtime.begin(self._begun, self._small.pictures[self._begun % 3])
                self._begun += 1
            self._collect(0.05)
            time.sleep(pause_s)

    def _collect(self, wait_s: float) -> None:
        done = self.runtime.finished(wait_s)
        if done:
            self.done.append(done)
            self.done_s.append(time.monotonic())

    def check(self) -> None:
        """Each frame was answered once, with what is its own answer."""
        while len(self.done) < self._begun:
            self._collect(PATIENCE_S)
        assert sorted(each.ticket for each in self.done) == list(range(self._begun))
        for each in self.done:
            np.testing.assert_array_equal(each.output, self._small.answers[each.ticket % 3], str(each))

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [detail for each, detail in self.events if each == kind]


Open = Callable[..., Run]


@pytest.fixture
def opened(standin: Standin, small: Small) -> Iterator[Open]:
    """Opens the runtime on the stand-in; afterwards none of its processes is left."""
    runtimes = []

    def open_it(twin: bool = False, model: Optional[Path] = None, **settings: Any) -> Run:
        settings = {"library": standin.library, "invoke_s": 30.0, **settings}
        cpu = open_runtime("auto", small.twin, threads=1) if twin else None
        runtime = EdgeTpu(model or small.compiled, 1, RuntimeSettings("edgetpu", **settings), cpu)
        runtimes.append(runtime)
        return Run(runtime, small)

    yield open_it
    for runtime in runtimes:
        runtime.close()
    assert children(os.getpid()) == []


def children(pid: int) -> list[int]:
    """The children of a process that are still there and no zombies."""
    pids = [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]
    return [pid for pid in pids if is_alive(pid) and b"edgetpu.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def has_loaded(pids: list[int], library: str) -> bool:
    return any(library in Path(f"/proc/{pid}/maps").read_text() for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(happens: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_it_answers_as_the_cpu_does_and_says_what_it_is(opened: Open, runtime_name: str, standin, small) -> None:
    run = opened(interpreter=runtime_name)
    runtime = run.runtime
    assert isinstance(runtime, ConcurrentRuntime)
    twin = open_runtime(runtime_name, small.twin, threads=1)
    assert (runtime.name, runtime.version, runtime.backend) == (twin.name, twin.version, STANDIN)
    assert (runtime.input_details, runtime.output_details) == (twin.input_details, twin.output_details)
    assert "STAND-IN" in runtime.library_version
    assert run.frames(6) == [STANDIN] * 6
    run.check()
    assert all(each.invoke_ns > 0 for each in run.done)
    for picture, answer in zip(small.pictures, small.answers):
        runtime.input()[...] = picture
        runtime.invoke()
        np.testing.assert_array_equal(runtime.output(), answer)
        assert runtime.answered_by == STANDIN
    assert (runtime.lost, runtime.faults, runtime.devices, run.events) == (None, 0, ("any",), [])


@pytest.mark.parametrize(
    ("settings", "options", "path"),
    [
        (
            {"device": "usb", "performance": "low"},
            {"device": "usb:0", "Performance": "Low"},
            "/sys/bus/usb/devices/2-1",
        ),
        ({"performance": "max"}, {"device": ":0", "Performance": "Max"}, "/sys/bus/usb/devices/2-1"),
        ({}, {}, "/dev/apex_0"),
    ],
)
def test_the_device_and_its_clock_reach_the_library(opened: Open, standin: Standin, settings, options, path) -> None:
    standin.set(devices="usb,usb,pci")
    opened(**settings)
    (found,) = standin.opened
    assert (found.path, found.options) == (path, options)


@pytest.mark.parametrize(
    ("state", "settings", "words"),
    [
        ({}, {"library": "libedgetpu-missing.so.1"}, "libedgetpu-missing.so.1"),
        ({"devices": ""}, {}, "none is plugged in"),
        ({"faults": "invoke"}, {}, "asked to fail"),
        ({"faults": "segv"}, {}, "SIGSEGV"),
        ({"faults": "hang-create"}, {"open_s": 1.0}, "1 s"),
    ],
)
def test_what_cannot_be_opened_is_told_in_a_sentence(opened: Open, standin: Standin, state, settings, words) -> None:
    standin.set(**state)
    with pytest.raises(AcceleratorError) as caught:
        opened(**settings)
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_the_old_abi_crashes_the_process_and_not_this_one(opened: Open, standin: Standin) -> None:
    with pytest.raises(AcceleratorError, match=r"SIGSEGV|libedgetpu"):
        opened(library=standin.old_abi)


def test_beside_a_twin_a_refusal_is_an_event_and_the_cpu_answers(opened: Open, standin: Standin) -> None:
    standin.set(devices="")
    run = opened(twin=True)
    assert run.runtime.lost
    assert run.frames(6) == ["cpu"] * 6
    assert run.runtime.answered_by == "cpu"
    run.check()
    (lost,) = run.told("backend lost")
    assert (lost["cause"], lost["device"]) == ("refused", "any")
    standin.set(devices="usb")
    run.until(lambda: run.runtime.lost is None)
    assert run.frames(3) == [STANDIN] * 3
    run.check()
    (found,) = run.told("backend found")
    assert (found["backend"], found["device"]) == (STANDIN, "any")
    assert found["after"] > 0


def test_a_twin_of_another_shape_answers_nothing_in_its_place(
    opened: Open, small: Small, tmp_path, compiled_model
) -> None:
    run = opened(twin=True, model=compiled_model / "model_edgetpu.tflite")
    assert "twin" in run.told("backend lost")[0]["why"]
    assert run.frames(3) == ["cpu"] * 3
    run.check()


@pytest.mark.parametrize(
    ("twin", "fault", "cause", "says"),
    [
        (True, "invoke@5", "error", "asked to fail"),
        (True, "abort@5", "died", "SIGABRT"),
        (True, "segv@5", "died", "SIGSEGV"),
        (True, "hang@5", "stalled", "0.2 s"),
        (False, "invoke@5", "error", "asked to fail"),
        (False, "hang@5", "stalled", "0.2 s"),
    ],
)
def test_a_fault_costs_no_frame_and_no_answer_is_old(opened: Open, standin: Standin, twin, fault, cause, says) -> None:
    standin.set(faults=fault)
    run = opened(twin=twin, invoke_s=0.2 if cause == "stalled" else 30.0)
    assert run.frames(3) == [STANDIN] * 3
    run.until(lambda: bool(run.told("backend found")))
    assert run.frames(3) == [STANDIN] * 3
    run.check()
    assert run.runtime.faults == 1
    assert run.runtime.lost is None
    assert set(run.backends[3:-3]) == ({"cpu"} if twin else {STANDIN})
    (lost,), (found,) = run.told("backend lost"), run.told("backend found")
    assert (lost["cause"], lost["backend"], lost["device"]) == (cause, STANDIN, "any")
    assert says in lost["why"]
    assert 0 < found["after"] < PATIENCE_S
    assert len(standin.opened) == 2


def test_frames_go_on_while_an_edge_tpu_is_opened_for_long(opened: Open, standin: Standin) -> None:
    """The GIL is held meanwhile, in its own process. The best of three: other programs can stop this one, too."""
    run = opened(twin=True)
    standin.set(faults="abort#3", create_ms=300)
    gaps_s = []
    for _ in range(3):
        start = len(run.done)
        run.until(lambda: len(run.told("backend found")) == len(gaps_s) + 1, pause_s=0.005)
        assert run.told("backend found")[-1]["after"] >= 0.3
        gaps_s.append(np.diff(run.done_s[start:]).max())
        if gaps_s[-1] < 0.1:
            break
    assert min(gaps_s) < 0.1
    run.check()


def test_the_first_inference_is_over_before_the_first_frame(opened: Open, standin: Standin) -> None:
    standin.set(first_ms=300)
    run = opened()
    assert run.runtime.first_ns >= 300e6
    run.frames(3)
    assert min(each.invoke_ns for each in run.done) < 300e6


def test_fifty_crashes_in_a_row_end_on_the_cpu_with_every_frame_answered(opened: Open, standin: Standin) -> None:
    devices = [f"usb:{number}" for number in range(5)]
    standin.set(devices="usb,usb,usb,usb,usb", faults="abort#3")  # the first warms up, the second is a good one
    run = opened(twin=True, device=tuple(devices), restarts=9)
    run.until(lambda: bool(run.told("fell back")))
    assert run.frames(6) == ["cpu"] * 6
    run.check()
    assert run.runtime.faults == 50
    assert "SIGABRT" in run.runtime.lost
    (fell,) = run.told("fell back")
    assert fell["to"] == "cpu"


def test_after_too_many_failures_it_is_tried_again_later(opened: Open, standin: Standin) -> None:
    standin.set(faults="segv#2+")
    run = opened(twin=True, restarts=0, retry_s=1.0)
    run.until(lambda: bool(run.told("fell back")))
    standin.set(faults="")
    since_s = time.monotonic()
    run.until(lambda: bool(run.told("backend found")))
    assert time.monotonic() - since_s > 0.8
    assert run.frames(3) == [STANDIN] * 3
    run.check()


def test_alone_it_gives_up_in_a_sentence_when_restarts_do_not_help(opened: Open, standin: Standin) -> None:
    standin.set(faults="abort#2+")
    run = opened(restarts=1)
    with pytest.raises(AcceleratorError, match=r"SIGABRT.*another cable.*has not helped"):
        run.frames(1)
    assert len(standin.opened) == 2


@pytest.mark.parametrize("twin", [True, False], ids=["twin", "alone"])
def test_unplugged_and_plugged_in_again(opened: Open, standin: Standin, twin) -> None:
    run = opened(twin=twin)
    run.frames(3)
    standin.set(devices="")
    if twin:
        run.until(lambda: run.runtime.faults >= 2)
        assert run.backends[-1] == "cpu"
    else:
        run.runtime.begin(10**6, np.zeros((1, 16, 16, 3), np.uint8))
        while run.runtime.faults < 2:
            assert run.runtime.finished(0.05) is None
    assert "unplugged" in run.told("backend lost")[0]["why"]
    standin.set(devices="usb")
    if not twin:
        assert run.runtime.finished(PATIENCE_S).ticket == 10**6
    run.until(lambda: run.runtime.lost is None)
    assert run.frames(3) == [STANDIN] * 3
    run.check()


def test_several_work_at_once_and_one_goes_on_without_the_other(opened: Open, standin: Standin) -> None:
    standin.set(devices="usb,usb", invoke_ms=20)
    run = opened(twin=True, device=("usb:0", "usb:1"))
    assert len(run.runtime.devices) == 2
    assert run.frames(20) == [STANDIN] * 20
    assert set(standin.invokes[-20:]) == {"/sys/bus/usb/devices/2-1", "/sys/bus/usb/devices/2-2"}
    standin.set(devices="-,usb")
    run.until(lambda: run.runtime.faults >= 1)
    assert run.runtime.lost is None
    assert set(run.frames(10)) == {STANDIN}
    run.check()
    assert "cpu" not in run.backends


def test_one_of_several_is_found_again_when_it_was_plugged_in_anew(opened: Open, standin: Standin) -> None:
    """libedgetpu counts those without firmware first: what was its usb:1 has become usb:0, and usb:0, in use, usb:1."""
    standin.set(devices="usb,usb")
    run = opened(device=("usb:0", "usb:1"))
    run.frames(4)
    standin.set(devices="usb,-")
    run.until(lambda: run.runtime.faults >= 1)
    standin.set(devices="usb,dfu")
    run.until(lambda: bool(run.told("backend found")))
    before = len(standin.invokes)
    run.frames(4)
    assert set(standin.invokes[before:]) == {"/sys/bus/usb/devices/2-1", "/sys/bus/usb/devices/2-2"}
    run.check()


def test_what_becomes_of_one_is_no_part_of_anothers_inference(opened: Open, standin: Standin) -> None:
    """Neither ending its process, which the kernel may take long for, nor telling of it."""
    standin.set(devices="usb,usb", invoke_ms=20)
    run = opened(device=("usb:0", "usb:1"))
    run.runtime.listen(lambda kind, _: time.sleep(0.5) if kind == "backend lost" else None)
    run.frames(4)
    os.kill(children(os.getpid())[0], signal.SIGKILL)
    run.until(lambda: run.runtime.faults == 1)
    run.check()
    assert max(each.invoke_ns for each in run.done) < 0.5e9


def test_what_it_wrote_last_is_told_however_much_it_wrote_before(opened: Open, standin: Standin) -> None:
    run = opened(twin=True)
    (child,) = children(os.getpid())
    stderr = os.open(f"/proc/{child}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    with open(stderr, "wb", buffering=0) as log:  # as libedgetpu would, over weeks
        for _ in range(100):
            for _ in range(40):
                log.write(b"W a transfer was slow\n")
            run.frames(1)
    standin.set(faults="abort")
    run.until(lambda: run.runtime.faults == 1)
    assert "transfer on tag 2 failed" in run.told("backend lost")[0]["why"]


def test_one_that_cannot_be_started_leaves_no_descriptor(standin: Standin, small: Small) -> None:
    order = Order.of(small.compiled, RuntimeSettings(library=standin.library), "any", 1)
    limits, before = resource.getrlimit(resource.RLIMIT_NOFILE), os.listdir("/proc/self/fd")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 20, limits[1]))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(6):  # what a pair of sockets and two pipes take
            with pytest.raises(OSError, match="Too many open files"):
                Child(order)
            os.close(held.pop())
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/proc/self/fd")) == len(before)


PARENT = """
import sys
from pathlib import Path
from edge.runtimes.edgetpu.pool import EdgeTpu
from edge.runtimes import open_runtime
from edge.runtimes.settings import RuntimeSettings
library, model, twin = sys.argv[1:]
settings = RuntimeSettings("edgetpu", library=library, invoke_s=600.0, open_s=600.0)
runtime = EdgeTpu(Path(model), 1, settings, open_runtime("auto", Path(twin), 1))
print("opened", flush=True)
while True:
    runtime.invoke()
"""


@pytest.mark.parametrize("doing", ["", "hang#2", "hang-create"])
def test_no_process_outlives_one_that_was_killed(standin: Standin, small: Small, doing: str) -> None:
    standin.set(faults=doing)
    command = [sys.executable, "-c", PARENT, standin.library, str(small.compiled), str(small.twin)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        try:
            wait_until(lambda: has_loaded(children(parent.pid), standin.library))
            if doing == "hang-create":
                time.sleep(0.1)  # for it to be in there
            else:
                wait_until(lambda: len(standin.invokes) >= 2)
            (child,) = children(parent.pid)
        finally:
            parent.kill()
    wait_until(lambda: not is_alive(child))


def test_one_that_is_opened_later_is_tried_before_it_gets_a_frame(opened: Open, standin: Standin, small: Small) -> None:
    standin.set(devices="")
    run = opened(twin=True)
    seen = []

    def judge(output: np.ndarray) -> Optional[str]:
        seen.append(output)
        return "its answer is wrong" if len(seen) == 1 else None

    run.runtime.vet(small.pictures[1], judge)
    standin.set(devices="usb")
    run.until(lambda: len(seen) == 2)
    run.until(lambda: bool(run.told("backend found")))
    assert run.frames(3) == [STANDIN] * 3
    run.check()
    assert [lost["cause"] for lost in run.told("backend lost")] == ["refused", "error"]
    assert run.told("backend lost")[-1]["why"].endswith("its answer is wrong.")
    for output in seen:
        np.testing.assert_array_equal(output, small.answers[1])
