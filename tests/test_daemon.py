"""The loop, with a real model and small sources that do what cameras do."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any, Optional

import numpy as np
import pytest

from edge import Classifier, Frame, Record
from edge.errors import CameraError, ImageError
from edge.loop import daemon
from edge.loop.ahead import Ahead
from edge.model.loading import BareOptions
from edge.signals import caught

COLOURS = ((230, 20, 20), (20, 230, 20), (20, 20, 230))
NAMES = ("red", "green", "blue")


class Source:
    """Red, green and blue frames in turn."""

    name = "test source"

    def __init__(self, count: int, live: bool = False, step: int = 1, fail_at: Optional[int] = None) -> None:
        self.live = live
        self.ended = False
        self.lost: Optional[str] = None
        self.reads = 0
        self._count, self._step, self._fail_at = count, step, fail_at

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        if self.reads == self._fail_at:
            raise CameraError("the cable fell out")
        if self.reads == self._count:
            self.ended = True
            return None
        number = self.reads
        self.reads += 1
        pixels = np.full((30, 30, 3), COLOURS[number % 3], np.uint8)
        return Frame(pixels, number * self._step, time.monotonic_ns(), NAMES[number % 3])

    def close(self) -> None:
        self.ended = True


class Silent(Source):
    """A live camera that gives nothing."""

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        time.sleep(timeout_s)
        return None


class Kept:
    """Keeps the records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def colours(tiny: Any) -> Any:
    with Classifier.open(str(tiny["softmax_uint8"]), options=BareOptions(labels=str(tiny.labels))) as opened:
        yield opened


def run(source: Any, classifier: Classifier, **limits: Any) -> tuple[daemon.Totals, list[Record]]:
    kept = Kept()
    totals = daemon.run(source, classifier, [kept], daemon.Limits(**limits), threading.Event())
    return totals, kept.records


@pytest.mark.parametrize("live", [False, True])
def test_every_frame_is_answered_in_order_and_by_its_own_pixels(colours: Classifier, live: bool) -> None:
    totals, records = run(Source(100, live), colours)
    assert [record.sequence for record in records] == list(range(100))
    assert [record.predictions[0].label for record in records] == [NAMES[number % 3] for number in range(100)]
    assert (totals.frames, totals.dropped, totals.with_truth, totals.right) == (100, 0, 100, 100)


def test_gaps_in_the_sequence_are_drops(colours: Classifier) -> None:
    totals, records = run(Source(5, live=True, step=4), colours)
    assert [record.dropped for record in records] == [0, 3, 3, 3, 3]
    assert totals.dropped == 12


def test_what_a_gate_kept_back_is_told_by_the_next_record_also_of_another_run(colours: Classifier) -> None:
    class Shut:
        def passes(self, *_: Any) -> bool:
            return False

    kept = Kept()
    totals = daemon.run(Source(10, live=True, step=2), colours, [kept], daemon.Limits(), threading.Event(), gate=Shut())
    assert (totals.frames, kept.records) == (0, [])
    totals.next_sequence = None
    daemon.run(Source(3, live=True), colours, [kept], daemon.Limits(), threading.Event(), totals)
    assert [(record.dropped, record.unchanged) for record in kept.records] == [(9, 10), (0, 0), (0, 0)]
    assert (totals.dropped, totals.unchanged) == (9, 10)


@pytest.mark.parametrize("live", [False, True])
def test_the_number_of_frames_is_kept(colours: Classifier, live: bool) -> None:
    assert run(Source(50, live), colours, frames=7)[0].frames == 7


@pytest.mark.parametrize("live", [False, True])
def test_a_lost_camera_is_raised_after_the_frames_before_it(colours: Classifier, live: bool) -> None:
    kept = Kept()
    with pytest.raises(CameraError, match="cable fell out"):
        daemon.run(Source(50, live, fail_at=10), colours, [kept], daemon.Limits(), threading.Event())
    assert len(kept.records) == 10


def test_a_bad_frame_is_raised_from_the_reading_thread(colours: Classifier) -> None:
    class Grey(Source):
        def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
            return Frame(np.zeros((30, 30), np.uint8), 0, 0)

    with pytest.raises(ImageError, match="expected uint8 RGB"):
        run(Grey(5), colours)


@pytest.mark.parametrize("live", [False, True])
def test_a_stop_request_ends_a_run_that_gets_no_frames(colours: Classifier, live: bool) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    totals = daemon.run(Silent(1, live), colours, [], daemon.Limits(), stop)
    assert totals.frames == 0


def test_stages_add_up_to_the_age(colours: Classifier) -> None:
    for record in run(Source(20), colours)[1]:
        timings = record.timings
        parts = (timings.wait_ns, timings.preprocess_ns, timings.invoke_ns, timings.postprocess_ns)
        assert sum(parts) == timings.age_ns
        assert min(parts) >= 0


def test_reading_ahead_ends_with_its_consumer(colours: Classifier) -> None:
    source = Source(1000)
    ahead = Ahead(source, colours)
    assert ahead.read() is not None
    ahead.close()
    assert source.reads < 10
    assert not {"reading ahead", "inference"} & {thread.name for thread in threading.enumerate()}


def test_after_a_stall_the_rate_is_still_kept(colours: Classifier) -> None:
    class Stalls(Source):
        def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
            if self.reads == 3:
                time.sleep(0.5)
            return super().read(timeout_s)

    class Times(Kept):
        def __init__(self) -> None:
            super().__init__()
            self.at_s: list[float] = []

        def write(self, record: Record) -> None:
            self.at_s.append(time.monotonic())

    times = Times()
    daemon.run(Stalls(7, live=True), colours, [times], daemon.Limits(fps=10), threading.Event())
    assert min(np.diff(times.at_s)) > 0.05


def test_a_truth_that_is_no_class_is_not_counted_as_wrong(colours: Classifier) -> None:
    class Named(Source):
        def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
            frame = super().read(timeout_s)
            return frame and Frame(
                frame.pixels, frame.sequence, frame.captured_ns, ("RED", "mauve")[frame.sequence % 2]
            )

    totals, _ = run(Named(6), colours)
    assert (totals.with_truth, totals.right, totals.unknown_truth) == (3, 1, 3)


def test_signals_are_caught_and_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    reloaded = threading.Event()
    with caught(hang_up=True) as signals:
        signals.on_reload = reloaded.set
        signal.raise_signal(signal.SIGHUP)
        assert reloaded.wait(1)
        assert not signals.stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert signals.stop.wait(1)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_gate_keeps_frames_back_and_they_are_counted_apart_from_drops(colours: Classifier) -> None:
    class EveryThird:
        def passes(self, pixels: np.ndarray, now_ns: int) -> bool:
            return bool(pixels[0, 0, 0] > 200)  # the red ones

    kept = Kept()
    source = Source(30, live=True, step=2)
    totals = daemon.run(source, colours, [kept], daemon.Limits(), threading.Event(), gate=EveryThird())
    assert [record.sequence for record in kept.records] == list(range(0, 60, 6))
    assert [(record.dropped, record.unchanged) for record in kept.records] == [(0, 0)] + [(3, 2)] * 9
    assert (totals.dropped, totals.unchanged) == (27, 18)


def test_totals_go_on_in_the_next_call(colours: Classifier) -> None:
    source, totals = Source(30, live=True), daemon.Totals()
    for frames in (5, 9):
        daemon.run(source, colours, [], daemon.Limits(frames=frames), threading.Event(), totals)
    assert (totals.frames, totals.dropped, totals.next_sequence) == (9, 0, 9)
