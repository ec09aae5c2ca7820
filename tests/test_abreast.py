"""The loop on Edge TPUs, each in a process of its own, played by the stand-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest

from edge import Classifier, Frame, Record
from edge.errors import CameraError, ImageError
from edge.loop import daemon
from edge.model.loading import BareOptions
from edge.runtimes.settings import RuntimeSettings
from tests.edgetpu import Standin, compiled
from tests.test_daemon import COLOURS, NAMES, Kept, Silent, Source

Opened = Callable[..., AbstractContextManager[Classifier]]
ONE, TWO = ("usb:0",), ("usb:0", "usb:1")


@pytest.fixture(scope="module")
def colours(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled model that tells red, green and blue frames apart, with its twin."""
    folder, content = tmp_path_factory.mktemp("colours"), tiny["softmax_uint8"].read_bytes()
    (folder / "colours.tflite").write_bytes(content)
    (folder / "colours_edgetpu.tflite").write_bytes(compiled(content))
    return folder / "colours_edgetpu.tflite"


@pytest.fixture
def opened(colours: Path, tiny: Any, standin: Standin) -> Opened:
    def on(*devices: str, **settings: Any) -> Classifier:
        standin.set(devices=",".join(["usb"] * len(devices)))
        runtime = RuntimeSettings("edgetpu", 1, devices, library=standin.library, **settings)
        return Classifier.open(str(colours), runtime=runtime, options=BareOptions(labels=str(tiny.labels)))

    return on


def run(
    source: Any, classifier: Classifier, stop: Optional[threading.Event] = None, **more: Any
) -> tuple[daemon.Totals, list[Record]]:
    kept = Kept()
    limits = daemon.Limits(**{name: more.pop(name) for name in ("frames", "seconds", "fps") if name in more})
    return daemon.run(source, classifier, [kept], limits, stop or threading.Event(), **more), kept.records


def is_right(record: Record) -> bool:
    return record.predictions[0].label == record.truth


class Clocked(Source):
    """A live camera of 50 frames a second, each numbered by the time."""

    def __init__(self) -> None:
        super().__init__(0, live=True)
        self._began_s = time.monotonic()
        self._number = -1

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        due_s = self._began_s + (self._number + 1) / 50 - time.monotonic()
        if due_s > 0:
            time.sleep(min(due_s, timeout_s))
            if due_s > timeout_s:
                return None
        self._number = max(self._number + 1, int((time.monotonic() - self._began_s) * 50))
        pixels = np.zeros((30, 30, 3), np.uint8)
        pixels[..., self._number % 3] = 230
        return Frame(pixels, self._number, time.monotonic_ns(), NAMES[self._number % 3])


@pytest.mark.parametrize("live", [False, True])
def test_frames_are_shared_by_two_and_each_gets_its_own_answer(opened: Opened, standin: Standin, live: bool) -> None:
    with opened(*TWO) as classifier:
        standin.set(invoke_ms=5)
        totals, records = run(Source(60, live), classifier)
        sequences = [record.sequence for record in records]
        assert sequences == list(range(60)) if not live else sorted(sequences) == list(range(60))
        assert all(map(is_right, records))
        assert {record.backend for record in records} == {"edgetpu-standin"}
        assert (totals.frames, totals.right, totals.dropped) == (60, 60, 0)
        assert len(set(standin.invokes)) == 2  # both worked
        assert run(Source(60, live), classifier, frames=7)[0].frames == 7


@pytest.mark.parametrize("live", [False, True])
def test_what_is_under_way_is_answered_before_a_lost_camera_is_told(
    opened: Opened, standin: Standin, live: bool
) -> None:
    class Grey(Source):
        def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
            frame = super().read(timeout_s)
            return Frame(np.zeros((30, 30), np.uint8), 3, 0) if frame and frame.sequence == 3 else frame

    kept = Kept()
    with opened(*TWO) as classifier:
        standin.set(invoke_ms=20)
        with pytest.raises(CameraError, match="cable fell out"):
            daemon.run(Source(50, live, fail_at=9), classifier, [kept], daemon.Limits(), threading.Event())
        with pytest.raises(ImageError, match="expected uint8 RGB"):
            daemon.run(Grey(50, live), classifier, [kept], daemon.Limits(), threading.Event())
    assert sorted(record.sequence for record in kept.records) == sorted([*range(9), 0, 1, 2])


@pytest.mark.parametrize("live", [False, True])
def test_a_stop_does_not_wait_and_what_was_under_way_counts_as_dropped(
    opened: Opened, standin: Standin, live: bool
) -> None:
    with opened(*TWO) as classifier:
        standin.set(invoke_ms=1000)
        stop, source, totals = threading.Event(), Source(1000, live), daemon.Totals()
        threading.Timer(0.2, stop.set).start()
        began_s = time.monotonic()
        _, first = run(source, classifier, stop, totals=totals)
        assert time.monotonic() - began_s < 0.2 + 0.7
        standin.set(invoke_ms=0)
        _, second = run(source, classifier, frames=len(first) + 5, totals=totals)
        assert len(second) == 5
        assert all(map(is_right, second))
        seen = max(record.sequence for record in second) + 1
        assert seen == totals.frames + totals.dropped


def test_a_rate_and_a_gate_are_kept(opened: Opened, standin: Standin) -> None:
    class NoGreen:
        def passes(self, pixels: np.ndarray, _: int) -> bool:
            return bool(pixels[0, 0, 1] < 200)

    with opened(*TWO) as classifier:
        standin.set(invoke_ms=30)
        totals, records = run(Source(30, live=True, step=2), classifier, gate=NoGreen())
        assert sorted(record.sequence for record in records) == [2 * n for n in range(30) if n % 3 != 1]
        # The last frame, a blue one, tells of the green one before it and of what the camera dropped.
        told = {record.sequence: (record.dropped, record.unchanged) for record in records}
        assert told == {2 * n: (0, 0) if n == 0 else (1, 0) if n % 3 == 0 else (2, 1) for n in range(30) if n % 3 != 1}
        assert (totals.dropped, totals.unchanged) == (29, 10)
        totals, records = run(Clocked(), classifier, fps=20, seconds=0.6)
        assert totals.frames <= 13
        assert "paced" in {record.drop_reason for record in records}


def test_a_silent_camera_keeps_no_stop_waiting(opened: Opened) -> None:
    with opened(*ONE) as classifier:
        for live in (False, True):
            stop = threading.Event()
            threading.Timer(0.2, stop.set).start()
            assert run(Silent(1, live), classifier, stop)[0].frames == 0


def test_the_wait_for_an_edge_tpu_that_is_opened_again_is_no_inference(opened: Opened, standin: Standin) -> None:
    with opened(*ONE) as classifier:
        standin.set(faults="abort@6")
        totals, records = run(Source(20), classifier)
        assert [record.sequence for record in records] == list(range(20))
        assert all(map(is_right, records))
        assert totals.dropped == 0
        slowest = max(records, key=lambda record: record.timings.age_ns).timings
        assert slowest.wait_ns > 5 * slowest.invoke_ns


class Listener:
    """A pulse that remembers why the loop waited."""

    def __init__(self) -> None:
        self.said: set[tuple[Optional[str], str]] = set()

    def classified(self, _: Record) -> None: ...

    def waits(self, lost: Optional[str], what: str = "camera") -> None:
        self.said.add((lost, what))


def test_frames_that_nobody_could_classify_are_named_so_and_others_follow(opened: Opened, standin: Standin) -> None:
    pulse = Listener()
    with opened(*ONE) as classifier:
        threading.Timer(0.3, standin.set, kwargs={"devices": ""}).start()
        threading.Timer(0.8, standin.set, kwargs={"devices": "usb"}).start()
        totals, records = run(Clocked(), classifier, frames=60, pulse=pulse)
    assert all(map(is_right, records))
    without = [record for record in records if record.drop_reason == "no backend"]
    assert len(without) == 1
    assert without[0].dropped >= 15
    assert records.index(without[0]) < len(records) - 5
    told = [lost for lost, what in pulse.said if what == "accelerator"]
    assert told
    assert all("Edge TPU" in str(lost) for lost in told)
    assert totals.frames + totals.dropped == records[-1].sequence + 1


def test_one_frame_alone_is_classified_too_and_what_it_waits_for_is_no_inference(
    opened: Opened, standin: Standin
) -> None:
    with opened(*ONE) as classifier:
        standin.set(faults="abort@4")
        records = [classifier.classify(np.full((30, 30, 3), COLOURS[number % 3], np.uint8)) for number in range(6)]
        assert [record.predictions[0].label for record in records] == [*NAMES, *NAMES]
        slowest = max(records, key=lambda record: record.timings.age_ns).timings
        assert slowest.wait_ns > 5 * slowest.invoke_ns
