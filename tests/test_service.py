"""The daemon as systemd runs it: real processes, a real model, and a socket in systemd's place."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.journal.schema import connect_to_read
from tests.notices import Notices

EDGE = [sys.executable, "-m", "edge"]
SCENE = {"source": "scene"}


class Daemon:
    """`edge run --service` with a configuration that can be changed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.config, self.journal = folder, folder / "config.yaml", folder / "field.db"
        self.notices = Notices(folder / "notify")
        self._environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.notices.path),
            "WATCHDOG_USEC": "6000000",
            **environment,
        }
        self._log = (folder / "log").open("w")
        self.process: subprocess.Popen[bytes]

    def configure(self, **sections: Any) -> None:
        document = {"camera": SCENE, "runtime": {"threads": 1}, "journal": {"path": str(self.journal), "commit_s": 0.2}}
        self.config.write_text(json.dumps({**document, **sections}))

    def start(self) -> None:
        command = [*EDGE, "run", "--service", "--config", str(self.config)]
        self.process = subprocess.Popen(command, env=self._environment, stdout=self._log, stderr=self._log)

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def asked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*EDGE, *arguments, "--journal", str(self.journal)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def status(self) -> dict[str, Any]:
        result = self.asked("status", "--json")
        assert result.returncode == 0, result.stderr
        return dict(json.loads(result.stdout))

    def rows(self, query: str) -> list[Any]:
        with closing(connect_to_read(self.journal)) as connection:
            return connection.execute(query).fetchall()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(kind, json.loads(detail)) for kind, detail in self.rows("SELECT kind, detail FROM events ORDER BY id")]

    def ends(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)

    def close(self) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()
        self.notices.close()


@contextmanager
def daemon_in(folder: Path, **environment: str) -> Iterator[Daemon]:
    with closing(Daemon(folder, environment)) as daemon:
        yield daemon


def test_it_is_ready_after_its_first_result_lives_by_its_results_and_ends_in_good_order(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure()
        daemon.start()
        daemon.notices.wait_for("READY")
        told = [name for notice in daemon.notices.all for name in notice]
        assert told == ["STATUS", "EXTEND_TIMEOUT_USEC", "READY"]
        daemon.notices.wait_for("WATCHDOG")
        assert "drawn scene" in daemon.notices.wait_for("STATUS", "cpu")["STATUS"]
        daemon.notices.wait_for("WATCHDOG")
        began_s = time.monotonic()
        assert daemon.ends() == 0
        assert time.monotonic() - began_s < 5
        daemon.notices.wait_for("STOPPING")
        assert daemon.events()[-1] == ("stopped", {"because": "asked to stop"})
        ((frames, unrecorded),) = daemon.rows("SELECT sum(frames), sum(unrecorded) FROM windows")
        assert frames > 20
        assert unrecorded == 0


def test_a_reload_changes_what_it_can_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure()
        daemon.start()
        daemon.notices.wait_for("READY")
        assert daemon.asked("truth", "set", "wall clock").returncode == 0

        daemon.configure(fps=20, model={"top": 7})
        result = daemon.asked("reload")
        assert (result.returncode, result.stdout) == (0, "reloaded: fps, model.top\n")
        daemon.notices.wait_for("RELOADING")
        daemon.notices.wait_for("READY")
        assert daemon.status()["truth"] is not None  # what somebody said outlives a reload
        run = daemon.status()["run"]
        assert daemon.asked("reload").stdout == "reloaded: nothing has changed\n"
        assert daemon.status()["run"] == run

        daemon.configure(fps="fast", modle={})
        refused = daemon.asked("reload")
        assert refused.returncode == 1
        assert "fps" in refused.stderr
        assert "modle" in refused.stderr
        daemon.config.write_text("{")
        environment = {**os.environ, "EDGE_CONFIG": str(daemon.config), "MAINPID": str(daemon.process.pid)}
        result = subprocess.run([*EDGE, "reload"], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert "no valid YAML" in result.stderr
        daemon.notices.wait_for("RELOADING")
        daemon.notices.wait_for("READY")
        before = daemon.status()["frames"]
        while daemon.status()["frames"] < before + 3:
            pass
        assert daemon.ends() == 0

        runs = daemon.rows("SELECT id, ended_because, configuration FROM runs ORDER BY id")
        assert [because for _, because, _ in runs] == ["reloaded", "asked to stop"]
        assert json.loads(runs[1][2])["fps"] == 20
        kinds = [kind for kind, _ in daemon.events()]
        assert kinds.count("reload refused") == 2
        assert ("reloaded", {"changed": ["fps", "model.top"]}) in daemon.events()
        # Between the two runs no frame is lost but those of one model's opening.
        newest, first, dropped, opened_ns = daemon.rows(
            "SELECT (SELECT max(sequence) FROM frames WHERE run_id = 1), min(sequence), dropped,"
            " (SELECT opened_ns FROM runs WHERE id = 2) FROM frames WHERE run_id = 2"
        )[0]
        assert first == newest + 1 + dropped
        assert dropped <= 30 * opened_ns / 1e9 + 15


def test_a_reload_takes_over_another_camera_and_a_replaced_model_file(tmp_path: Path, tiny: Any) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny["softmax_uint8"].read_bytes())
    bare = {"path": str(model), "bare": {"labels": str(tiny.labels)}}
    with daemon_in(tmp_path) as daemon:
        daemon.configure(model=bare)
        daemon.start()
        daemon.notices.wait_for("READY")
        model.write_bytes(tiny["softmax_float32"].read_bytes())
        daemon.configure(
            model={**bare, "bare": {**bare["bare"], "mean": [0], "std": [255]}}, camera={**SCENE, "seed": 3}
        )
        assert daemon.asked("reload").stdout == "reloaded: camera.seed, model.bare.mean, model.bare.std, model file\n"
        daemon.configure(camera={"source": str(tmp_path / "gone.mp4")})
        assert "gone.mp4" in daemon.asked("reload").stderr
        daemon.configure(journal={"path": str(tmp_path / "other.db")})
        assert "journal.path cannot change" in daemon.asked("reload").stderr
        assert daemon.ends() == 0
        assert len(daemon.rows("SELECT sha256 FROM models")) == 2


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"fps": "fast", "camera": {"widht_px": 3}}, ("fps", "widht_px")),
        ({"model": {"path": "no_such_model"}}, ("no_such_model",)),
        ({"journal": {"path": "/"}}, ("folder",)),
    ],
)
def test_what_no_restart_can_mend_ends_with_78(
    sections: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure(**sections)
        daemon.start()
        assert daemon.process.wait(20) == 78
        errors = "".join(line for line in daemon.log().splitlines() if line.startswith("<3>"))
        for word in words:
            assert word in errors
        assert "Traceback" not in daemon.log()


def test_a_file_that_may_come_yet_is_looked_for_again(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure(model={"path": str(tmp_path / "disk" / "model")})
        daemon.start()
        assert daemon.process.wait(20) == 1
        assert f"<3>No model '{tmp_path}/disk/model'" in daemon.log()


def test_closed_outputs_are_no_reason_to_end(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure()
        command = shlex.join([*EDGE, "run", "--service", "--frames", "3", "--config", str(daemon.config)])
        assert subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], check=False, timeout=20).returncode == 0
        assert daemon.events()[-1] == ("stopped", {"because": "limit"})


def test_without_a_camera_it_says_so_lives_and_gives_up_in_the_end(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure(camera={"source": "/dev/video97", "give_up_s": 6})
        daemon.start()
        daemon.notices.wait_for("STATUS", "no camera: There is no camera at /dev/video97")
        daemon.notices.wait_for("EXTEND_TIMEOUT_USEC")
        assert daemon.status()["camera_lost"].startswith("There is no camera at /dev/video97")
        assert daemon.process.wait(20) == 1
        told = [name for notice in (*daemon.notices.all, *daemon.notices.drain()) for name in notice]
        assert "WATCHDOG" in told
        assert "READY" not in told
        assert [kind for kind, _ in daemon.events()] == ["started", "camera lost", "stopped"]


def test_outside_its_hours_it_sleeps_and_a_reload_wakes_it(tmp_path: Path) -> None:
    now = datetime.now()
    later = [f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"]
    with daemon_in(tmp_path) as daemon:
        daemon.configure(schedule=later)
        daemon.start()
        assert daemon.notices.wait_for("STATUS", "asleep until ")["STATUS"].endswith(later[0][:5])
        assert {"READY": "1"} in daemon.notices.all
        daemon.notices.wait_for("WATCHDOG")
        assert daemon.status()["frames"] == 0
        daemon.configure()
        assert daemon.asked("reload").stdout == "reloaded: schedule\n"
        while daemon.status()["frames"] < 3:
            pass
        assert daemon.ends() == 0
        kinds = [kind for kind, _ in daemon.events()]
        assert kinds == ["started", "asleep", "stopped", "started", "reloaded", "awake", "stopped"]


def test_a_journal_that_another_program_holds_keeps_no_reload_and_no_end_waiting(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure()
        daemon.start()
        daemon.notices.wait_for("READY")
        while daemon.status()["frames"] < 3:
            pass
        with closing(sqlite3.connect(daemon.journal, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            daemon.configure(fps=20)
            assert daemon.asked("reload").stdout == "reloaded: fps\n"
            holder.execute("COMMIT")
            while ("reloaded", {"changed": ["fps"]}) not in daemon.events():
                time.sleep(0.1)
            assert daemon.rows("SELECT ended_because FROM runs") == [("reloaded",), (None,)]
            assert daemon.rows("SELECT sum(unrecorded) FROM windows") == [(0,)]
            holder.execute("BEGIN IMMEDIATE")
            began_s = time.monotonic()
            assert daemon.ends() == 0
            assert time.monotonic() - began_s < 5
        assert "not closed in time" in daemon.log()


STUCK = """
import sys, time
from pathlib import Path
from edge.runtimes.cpu import _Cpu
invoke, sign = _Cpu.invoke, Path(sys.argv[1], "stuck")
def stuck(self):
    while sign.exists():
        time.sleep(1)
    invoke(self)
_Cpu.invoke = stuck
sys.argv = ["edge", "run", "--service", "--config", sys.argv[2]]
from edge.cli import main
main()
"""


def test_a_stuck_inference_gives_no_sign_of_life_and_can_be_ended_without_a_loss(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure()
        daemon.process = subprocess.Popen(
            [sys.executable, "-c", STUCK, str(tmp_path), str(daemon.config)],
            env={**os.environ, "NOTIFY_SOCKET": str(daemon.notices.path), "WATCHDOG_USEC": "6000000"},
        )
        daemon.notices.wait_for("READY")
        (tmp_path / "stuck").touch()
        time.sleep(1)
        daemon.notices.drain()
        time.sleep(1.5)
        assert daemon.notices.drain() == []
        frames = daemon.status()["frames"]
        began_s = time.monotonic()
        assert daemon.ends() == 0
        assert time.monotonic() - began_s < 5
        assert daemon.events()[-1] == ("stopped", {"because": "asked to stop, and stuck"})
        assert daemon.rows("SELECT sum(frames) FROM windows") == [(frames,)]


def test_only_changed_pictures_are_classified_when_motion_is_asked_for(tmp_path: Path) -> None:
    with daemon_in(tmp_path) as daemon:
        daemon.configure(gate="motion", motion={"threshold": 1.0, "at_least_every_s": 0.5})
        daemon.start()
        daemon.notices.wait_for("READY")
        while daemon.status()["frames"] < 4:
            time.sleep(0.1)
        status = daemon.status()
        assert status["unchanged"] > status["frames"]
        assert daemon.ends() == 0
        drops: dict[str, int] = json.loads(daemon.rows("SELECT drops FROM windows")[0][0])
        assert drops["unchanged"] >= status["unchanged"]


def test_a_limit_of_time_also_ends_a_night() -> None:
    now = datetime.now()
    later = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    command = [*EDGE, "run", "--camera", "scene", "--seconds", "0.5", "--set", f'schedule=["{later}"]']
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert result.returncode == 0
    assert f"asleep until {later[:5]}" in result.stderr
    assert "0 frames" in result.stdout
