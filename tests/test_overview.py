"""How a run goes at this moment."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import Classifier, Frame
from edge.overview import Overview
from edge.records import Prediction, Ran, Record, Timings

RAN = Ran("model", "0" * 64, "litert", "2.3.0", "cpu", 1)


def record(sequence: int, monotonic_ns: int, **more: Any) -> Record:
    timings = Timings(1_000_000, 1_000_000, 10_000_000, 100_000)
    return Record("run", sequence, "", monotonic_ns, timings, (Prediction(0, "a", 0.9),), "cpu", **more)


def overview(**more: Any) -> Overview:
    return Overview("run", RAN, ["a", "b"], "RTSP rtsp://ann:secret@camera.local/stream", **more)


def filled(frames: int, fps: float, ended_s: float) -> Overview:
    """A run whose last frame came so many seconds ago."""
    run, end_ns = overview(), time.monotonic_ns() - round(ended_s * 1e9)
    for sequence in range(frames):
        run.write(record(sequence, end_ns - round((frames - 1 - sequence) / fps * 1e9)))
    return run


def test_the_rate_is_of_the_last_seconds_and_falls_when_nothing_comes() -> None:
    assert overview().fps is None
    for fps in (0.5, 30, 200):
        assert filled(round(fps * 60), fps, 0).fps == pytest.approx(fps, rel=0.2)
    assert filled(12, 0.05, 0).fps == pytest.approx(0.05, rel=0.2)
    assert filled(1800, 30, 5).fps == pytest.approx(15, rel=0.2)
    for seconds in (10.1, 3600):
        assert filled(1800, 30, seconds).fps == 0
    assert filled(12, 0.05, 3600).fps == pytest.approx(0, abs=0.01)
    assert filled(1, 30, 0).fps is None
    assert filled(1, 30, 0.5).fps == pytest.approx(2, rel=0.2)


def test_the_status_tells_what_the_run_is_and_what_others_add() -> None:
    with closing(overview()) as run:
        run.told_by.append(lambda: {"asleep": None})
        run.begin(watches_board=False)
        run.write(record(0, time.monotonic_ns(), dropped=2, unchanged=3))
        status = run.status()
        assert (status["run"], status["model"], status["backend"]) == ("run", "model", "cpu")
        assert (status["frames"], status["dropped"], status["unchanged"], status["asleep"]) == (1, 2, 3, None)
        assert status["newest"]["predictions"] == [{"label": "a", "score": 0.9}]
        assert status["board"] is None
        assert (run.live, run.throttled) == (None, None)
        assert "camera.local" in status["camera"]
        assert "secret" not in status["camera"]


def test_who_listens_is_told_of_truths_and_readings() -> None:
    truths: list[Any] = []
    with closing(overview()) as run:
        run.on_truth.append(lambda name, by: truths.append((name, by)))
        readings: list[Any] = []
        run.on_reading.append(readings.append)
        run.begin()
        run.truths.set("b", "ann")
        said = run.truths.said
        while not readings:
            time.sleep(0.01)
        assert run.live is not None
    with closing(overview()) as following:
        following.on_truth.append(lambda name, by: truths.append((name, by)))
        following.begin(said, watches_board=False)
        assert following.truth == "b"
    assert truths == [("b", "ann"), ("b", "ann")]


def test_a_camera_that_knows_the_truth_is_told_of_where_somebody_says_another(classifier: Classifier) -> None:
    run = Overview(classifier.run, classifier.ran, classifier.bundle.labels, "camera", Path("field.db"))
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 0, time.monotonic_ns(), "wall clock")
    assert "note" not in run.answer_truth({"do": "truth", "name": "wall clock"})
    run.see(frame, classifier.classify(frame))
    assert "comes first" in run.answer_truth({"do": "truth"})["note"]
