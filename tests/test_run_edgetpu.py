"""`edge run` with an Edge TPU that is unplugged, crashes and hangs: real processes, on the stand-in."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MODEL, ROOT
from tests.edgetpu import Standin, compiled
from tests.test_service import EDGE, Daemon, daemon_in

STANDIN = "edgetpu-standin"


class Model:
    """A compiled model with its twin, as options and as a configuration."""

    def __init__(self, path: Path, labels: Path, library: str) -> None:
        self._path, self._labels, self._library = path, labels, library

    def options(self, *more: str) -> list[str]:
        runtime = ["--runtime", "edgetpu", "--set", f"runtime.library={self._library}"]
        return ["--model", str(self._path), "--labels", str(self._labels), "--threads", "1", *runtime, *more]

    def sections(self, top: int = 5, **runtime: Any) -> dict[str, Any]:
        return {
            "model": {"path": str(self._path), "top": top, "bare": {"labels": str(self._labels)}},
            "runtime": {"name": "edgetpu", "threads": 1, "library": self._library, **runtime},
        }


@pytest.fixture
def model(tiny: Any, tmp_path: Path, standin: Standin) -> Model:
    content = tiny["softmax_uint8"].read_bytes()
    (tmp_path / "colours.tflite").write_bytes(content)
    path = tmp_path / "colours_edgetpu.tflite"
    path.write_bytes(compiled(content))
    return Model(path, tiny.labels, standin.library)


@pytest.fixture
def daemon(tmp_path: Path, standin: Standin) -> Iterator[Daemon]:
    with daemon_in(tmp_path, **standin.environment) as made:
        yield made


def until(happens: Callable[[], object], within_s: float = 20.0) -> None:
    until_s = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < until_s, "it has not happened"
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_with_a_twin_every_frame_is_answered_and_each_change_is_told(
    daemon: Daemon, model: Model, standin: Standin, photo_files: dict[str, Path]
) -> None:
    camera = {"source": str(photo_files["cat"].parent), "loop": True}
    daemon.configure(camera=camera, fps=40, **model.sections(fallback="cpu"))
    log = daemon.folder / "records"
    with log.open("w") as stream:
        command = [*EDGE, "run", "--json", "--config", str(daemon.config)]
        daemon.process = subprocess.Popen(command, stdout=stream, stderr=stream)
        until(lambda: log.read_text().count(STANDIN) > 10)
        standin.set(devices="")
        until(lambda: '"cpu"' in log.read_text())
        status = daemon.status()
        assert (status["backend"], status["backend_faults"] >= 1) == ("cpu", True)
        assert "Edge TPU" in status["backend_lost"]
        standin.set(devices="usb")
        until(lambda: log.read_text().rpartition('"cpu"')[2].count(STANDIN) > 10)
        assert daemon.status()["backend_lost"] is None
        assert daemon.ends(signal.SIGINT) == 0
    records = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [record["sequence"] for record in records] == list(range(len(records)))
    assert [name for name, _ in itertools.groupby(record["backend"] for record in records)] == [STANDIN, "cpu", STANDIN]
    lost, *_, found = [event for event in daemon.events() if event[0].startswith("backend")]
    assert (lost[0], lost[1]["cause"], lost[1]["backend"]) == ("backend lost", "died", STANDIN)
    assert (found[0], found[1]["backend"], found[1]["device"]) == ("backend found", STANDIN, "any")
    assert found[1]["after"] > 0


def test_without_a_twin_the_service_says_what_it_lacks_goes_on_when_that_is_back_and_ends_at_once(
    daemon: Daemon, model: Model, standin: Standin
) -> None:
    daemon.configure(**model.sections())
    daemon.start()
    daemon.notices.wait_for("READY")
    standin.set(devices="")
    assert "Edge TPU" in daemon.notices.wait_for("STATUS", "no accelerator: ")["STATUS"]
    daemon.notices.wait_for("WATCHDOG")
    status = daemon.status()
    assert "Edge TPU" in status["backend_lost"]
    standin.set(devices="usb")
    daemon.notices.wait_for("STATUS", STANDIN)
    until(lambda: daemon.status()["frames"] > status["frames"] + 3)
    assert "backend lost" in daemon.status()["last_fault"]
    assert [kind for kind, _ in daemon.events()] == ["started", "backend lost", "backend lost", "backend found"]
    standin.set(faults="hang")
    time.sleep(0.5)
    began_s = time.monotonic()
    assert daemon.ends() == 0
    assert time.monotonic() - began_s < 5
    assert sum(json.loads(drops).get("no backend", 0) for (drops,) in daemon.rows("SELECT drops FROM windows")) > 5
    until(lambda: not any(lives(opened.pid) for opened in standin.opened), 2)


@pytest.mark.parametrize("service", [False, True])
def test_an_edge_tpu_that_is_not_there_at_the_start_may_come_yet(
    daemon: Daemon, model: Model, standin: Standin, service: bool
) -> None:
    standin.set(devices="")
    daemon.configure(**model.sections())
    command = [*EDGE, "run", *(["--service"] if service else []), "--config", str(daemon.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("<3>" if service else "Error: ")
    assert "Edge TPU" in line


def test_a_killed_run_leaves_no_process_that_holds_the_edge_tpu(model: Model, standin: Standin, tmp_path: Path) -> None:
    standin.set(devices="usb,usb")
    command = [*EDGE, "run", "--camera", "scene", *model.options("--device", "usb:0", "--device", "usb:1")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until(lambda: len(standin.invokes) > 5)
    standin.set(faults="hang")
    pids = {opened.pid for opened in standin.opened}
    assert len(pids) == 2
    process.kill()
    process.wait()
    until(lambda: not any(map(lives, pids)), 2)


@pytest.mark.parametrize("fallback", [None, "cpu"])
def test_a_reload_that_needs_the_edge_tpu_of_the_running_model(
    daemon: Daemon, model: Model, standin: Standin, fallback: str
) -> None:
    daemon.configure(**model.sections(fallback=fallback))
    daemon.start()
    daemon.notices.wait_for("READY")
    daemon.configure(**model.sections(fallback=fallback, top=3))
    result = daemon.asked("reload")
    if fallback is None:
        assert result.returncode == 1
        assert "The model that runs now may hold it" in result.stderr
    else:
        assert result.stdout == "reloaded: model.top\n"
    until(lambda: daemon.status()["backend"] == STANDIN and daemon.status()["frames"] > 3)
    assert daemon.ends() == 0
    kinds = [kind for kind, _ in daemon.events()]
    assert ("backend found" in kinds) == (fallback is not None)


def test_a_reload_takes_a_model_to_the_edge_tpu_that_it_has_been_compiled_for(
    daemon: Daemon, standin: Standin, compiled_bundle: Path
) -> None:
    contract = compiled_bundle / "model.yaml"
    compiled_since = contract.read_text()
    contract.write_text((ROOT / "models" / MODEL / "model.yaml").read_text())
    daemon.configure(model={"path": str(compiled_bundle)}, runtime={"threads": 1, "library": standin.library})
    daemon.start()
    daemon.notices.wait_for("STATUS", "cpu")
    contract.write_text(compiled_since)
    assert daemon.asked("reload").stdout == "reloaded: model file\n"
    daemon.notices.wait_for("STATUS", STANDIN)
    assert daemon.ends() == 0
    assert "auto chose an Edge TPU" in daemon.log()


def test_an_edge_tpu_that_fails_again_and_again_ends_a_run_without_a_twin(model: Model, standin: Standin) -> None:
    standin.set(faults="abort@4+")
    command = [*EDGE, "run", "--camera", "scene", *model.options("--set", "runtime.restarts=1")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    *warnings, line = done.stderr.splitlines()
    assert all(warning.startswith("Warning: The Edge TPU (any) ") for warning in warnings)
    assert line.startswith("Error: The Edge TPU")
