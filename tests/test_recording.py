"""A run in the field from its start to its end: what is recorded, asked and told, with the real model."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import Classifier, Frame
from edge.cameras import CameraSettings, open_camera
from edge.config import Config
from edge.control.client import ask
from edge.errors import AlreadyRunningError, ControlError, JournalError
from edge.journal import pictures_folder, socket_path
from edge.journal.schema import connect_to_read
from edge.journal.settings import JournalSettings
from edge.loop import daemon
from edge.report.gather import gather
from edge.review.settings import ReviewSettings
from tests.runs import recorded

RUN = [sys.executable, "-m", "edge", "run", "--camera", "scene", "--threads", "1"]


def config(path: Path, **changes: Any) -> Config:
    return Config(journal=JournalSettings(path=str(path), commit_s=0.1), **changes)


def rows(path: Path, query: str) -> list[Any]:
    with closing(connect_to_read(path)) as connection:
        return connection.execute(query).fetchall()


def record_scene(told: Config, classifier: Classifier, frames: int) -> Path:
    assert told.journal.path is not None
    with (
        closing(open_camera(CameraSettings(source="scene", fps=200.0))) as camera,
        recorded(told, classifier, camera.name, 1_000) as run,
    ):
        limits = daemon.Limits(frames=frames)
        daemon.run(camera, classifier, run, limits, threading.Event(), watch=run.overview, viewers=run)
    return Path(told.journal.path)


def test_what_was_recorded_is_what_was_classified(classifier: Classifier, tmp_path: Path) -> None:
    path = record_scene(config(tmp_path / "new folder" / "field.db"), classifier, 60)
    report = gather([path])
    (journal,) = report.journals
    (run,) = journal.runs
    assert (journal.frames, journal.kept, journal.unrecorded) == (60, 60, 0)
    assert journal.predicted == {"wall clock": 60}
    assert (run.run, run.ended_because) == (classifier.run, "end")
    assert (run.model, run.model_sha256) == (classifier.bundle.name, classifier.bundle.sha256)
    assert run.configuration["journal"]["path"] == str(path)
    assert run.first_inference_ms is not None
    assert run.versions["numpy"]
    (accuracy,) = journal.accuracy
    assert (accuracy.top1.right, accuracy.top1.total) == (60, 60)
    assert [event.kind for event in journal.events] == ["started", "stopped"]
    samples = sum(stages["age"].samples for stages in journal.latency.values())
    assert samples == 60


def test_a_running_recording_is_asked_and_told(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    stop = threading.Event()
    # A folder's or the scene's own truth comes first, so this camera's frames have none.
    with (
        closing(open_camera(CameraSettings(source="scene", fps=100.0))) as scene,
        recorded(config(path), classifier, scene.name) as run,
    ):
        loop = threading.Thread(
            target=daemon.run,
            args=(Untold(scene), classifier, run, daemon.Limits(), stop),
            kwargs={"watch": run.overview, "viewers": run},
        )
        loop.start()
        try:
            while run.overview.status()["frames"] < 20:
                time.sleep(0.01)
            assert ask(socket_path(path), {"do": "truth", "name": "wall clock", "by": "ann"})["truth"] == "wall clock"
            seen = run.overview.status()["frames"]
            while run.overview.status()["frames"] < seen + 20:
                time.sleep(0.01)
            status: Any = ask(socket_path(path), {"do": "status"})
            ask(socket_path(path), {"do": "truth", "name": None, "by": "ann"})
        finally:
            stop.set()
            loop.join()
        with (
            pytest.raises(AlreadyRunningError, match="already running on this journal"),
            recorded(config(path), classifier),
        ):
            pass
    assert (status["truth"], status["model"]) == ("wall clock", classifier.bundle.name)
    assert status["journal"]["recording"] is True
    assert status["newest"]["predictions"][0]["label"] == "wall clock"
    assert not socket_path(path).exists()
    truths = [truth for (truth,) in rows(path, "SELECT truth FROM frames ORDER BY id")]
    assert set(truths) == {None, "wall clock"}
    assert truths.count("wall clock") >= 20
    kinds = [(kind, json.loads(detail)) for kind, detail in rows(path, "SELECT kind, detail FROM events ORDER BY id")]
    assert kinds[1:3] == [("truth set", {"truth": "wall clock", "by": "ann"}), ("truth cleared", {"by": "ann"})]


class Untold:
    """A camera that does not know what its frames show."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        self.name, self.live, self.ended, self.lost = "untold", True, False, None

    def read(self, timeout_s: float = 1.0) -> Any:
        import msgspec

        frame = self._camera.read(timeout_s)
        return frame and msgspec.structs.replace(frame, label=None)


def test_pictures_are_kept_only_when_asked_for(classifier: Classifier, tmp_path: Path) -> None:
    without = record_scene(config(tmp_path / "without.db"), classifier, 30)
    assert not pictures_folder(without).exists()
    reviewed = config(tmp_path / "with.db", review=ReviewSettings(keep_pictures=True))
    kept = rows(record_scene(reviewed, classifier, 30), "SELECT file, stands_for FROM pictures")
    assert sum(stands_for for _, stands_for in kept) == 30
    assert {file for file, _ in kept} == {path.name for path in pictures_folder(tmp_path / "with.db").iterdir()}


def test_a_report_does_not_wait_for_the_first_minute(classifier: Classifier, tmp_path: Path) -> None:
    with recorded(config(tmp_path / "field.db"), classifier) as (_, recording):
        frame = Frame(np.zeros((48, 64, 3), np.uint8), 0, time.monotonic_ns(), "wall clock")
        for _ in range(20):
            recording.write(classifier.classify(frame))
        while recording.journal.status().kept < 20:
            time.sleep(0.01)
        (journal,) = gather([tmp_path / "field.db"]).journals
    assert (journal.frames, journal.kept) == (20, 20)
    assert journal.accuracy[0].top1.total == 20


def test_passwords_of_cameras_stay_out(classifier: Classifier, tmp_path: Path) -> None:
    told = config(tmp_path / "field.db", camera=CameraSettings(source="rtsp://ann:secret@camera.local/stream"))
    with recorded(told, classifier, "RTSP rtsp://ann:secret@camera.local/stream"):
        pass
    ((camera, configuration),) = rows(tmp_path / "field.db", "SELECT camera, configuration FROM runs")
    assert "camera.local" in camera
    assert "camera.local" in configuration
    assert "secret" not in camera + configuration


def test_a_place_that_cannot_be_written_does_not_stop_anything(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with recorded(config(tmp_path / "file" / "field.db"), classifier) as run:
        status = run.overview.status()
    assert status["journal"]["recording"] is False
    assert status["journal"]["why"]


def test_a_folder_is_no_journal(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is a folder"), recorded(config(tmp_path), classifier):
        pass


@pytest.mark.parametrize(
    ("number", "because"), [(signal.SIGTERM, "asked to stop"), (signal.SIGINT, "asked to stop"), (None, "limit")]
)
def test_the_command_ends_its_run(number: Any, because: str, tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    limit = ["--frames", "20"] if number is None else []
    command = [*RUN, "--journal", str(path), "--json", *limit]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        if number is not None:
            os.kill(process.pid, number)
        told = [first, *map(json.loads, process.stdout)]
    assert process.returncode == 0
    assert not path.with_name("field.db-wal").exists()  # all of it is in the file
    assert rows(path, "SELECT ended_because FROM runs") == [(because,)]
    assert rows(path, "SELECT sum(frames) FROM windows") == [(len(told),)]
    assert rows(path, "SELECT sequence FROM frames ORDER BY id") == [(line["sequence"],) for line in told]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_socket_that_could_not_be_made_at_the_start_is_made_later(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.recording._LISTEN_EVERY_S", 0.0)
    path = tmp_path / "field.db"
    socket_path(path).write_text("in the way")
    with recorded(config(path), classifier) as (_, recording):
        recording.listen()
        with pytest.raises(ControlError):
            ask(socket_path(path), {"do": "status"})
        socket_path(path).unlink()
        recording.listen()
        answer: Any = ask(socket_path(path), {"do": "status"})
    assert answer["run"] == classifier.run
