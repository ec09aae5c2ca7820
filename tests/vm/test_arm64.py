"""`make test-arm64`: the wheels that `edge-deploy wheelhouse` gathers, installed and run as on a 64-bit Raspberry Pi.

pip and Python are those of arm64 Debian Bookworm and Trixie, run by qemu; Raspberry Pi OS is built on both. In each
system once with a numpy of its own, and once with apt's numpy kept, as picamera2 from apt demands. What is told here is
what comes out, and never how long it takes: an emulator's latency says nothing about a Pi's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT
from tests.test_deploy_verify import LABELS, write_bundle
from tests.vm import arm64
from tests.vm.arm64 import PYTHON, Device
from tests.vm.delivery import OUTLETS

pytestmark = pytest.mark.arm64

SUITES = os.environ.get("EDGE_ARM64", "bookworm,trixie").split(",")
FRAMES = 20
EXTRAS = ",".join(OUTLETS)
NUMPYS = ("its own", "apt's")
_FACTS = """
import importlib.metadata as m, json, numpy, platform
import aiohttp.web, aiohttp._http_parser, paho.mqtt.client, prometheus_client
names = "numpy opencv-python-headless ai-edge-litert edge-runner aiohttp paho-mqtt prometheus-client".split()
print(json.dumps({"machine": platform.machine(), "python": platform.python_version(), "numpy file": numpy.__file__,
    **{name: m.version(name) for name in names}}))
"""


class Installed(NamedTuple):
    """What was seen of one installation."""

    facts: dict[str, str]
    photos: dict[str, dict[str, Any]]
    """By what they show, the best prediction of each."""
    bench: dict[str, Any]
    scene: list[dict[str, Any]]
    windows: list[dict[str, Any]]
    integrity: str
    config: str


@pytest.fixture(scope="module")
def here(photo_files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """The best prediction for each photograph on this machine."""
    return best(
        subprocess.run(
            [sys.executable, "-m", "edge", "classify", "--json", *map(str, photo_files.values())],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )


def best(lines: str) -> dict[str, dict[str, Any]]:
    records = map(json.loads, lines.splitlines())
    return {Path(record["path"]).stem: record["predictions"][0] for record in records}


@pytest.fixture(scope="module")
def tiny_bundle(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that does not take minutes to be timed under emulation."""
    return write_bundle(tmp_path_factory.mktemp("tiny") / "tiny", tiny["softmax_uint8"], LABELS)


@pytest.fixture(scope="module")
def seen(
    photo_files: dict[str, Path], tiny_bundle: Path, here: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Future[dict[str, Installed]]]]:
    """What each system showed; they are worked side by side."""
    reason = arm64.why_not()
    if reason:
        pytest.skip(reason)
    print()
    with ThreadPoolExecutor(2) as pool:
        futures = {suite: pool.submit(examine, suite, photo_files, tiny_bundle) for suite in SUITES}
        yield futures
    done = {suite: future.result() for suite, future in futures.items() if not future.exception()}
    rows = [row(suite, numpy, found, here) for suite, both in done.items() for numpy, found in both.items()]
    head = (
        "system",
        "numpy",
        "OpenCV",
        "LiteRT",
        "photographs as here",
        "largest difference of a score",
        "scene, right",
    )
    print(f"\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for each in rows:
        print(f"| {' | '.join(each)} |")


def row(suite: str, numpy: str, found: Installed, here: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    facts = found.facts
    same = sum(found.photos[name]["class_id"] == here[name]["class_id"] for name in here)
    most = max(abs(found.photos[name]["score"] - here[name]["score"]) for name in here)
    right = sum(record["predictions"][0]["label"] == record["truth"] for record in found.scene)
    return (
        f"{suite}, Python {facts['python']}, {facts['machine']}",
        f"{facts['numpy']}, {numpy}",
        facts["opencv-python-headless"],
        facts["ai-edge-litert"],
        f"{same} of {len(here)}",
        f"{most:.3f}",
        f"{right} of {len(found.scene)}",
    )


def examine(suite: str, photo_files: dict[str, Path], tiny_bundle: Path) -> dict[str, Installed]:
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {suite}: {text}", flush=True)

    device = Device(suite)
    try:
        gathered = gather(suite, device.folder / "wheels")
        say(f"gathered {len(gathered['wheels'])} wheels, {gathered['bytes'] / 1e6:.0f} MB")
        for path in photo_files.values():
            shutil.copy(path, device.folder)
        shutil.copytree(tiny_bundle, device.folder / "tiny")
        found = {}
        for numpy in NUMPYS:
            python = install(device, numpy)
            facts = json.loads(device.run(python, "-c", _FACTS))
            say(
                f"installed with {numpy} numpy: " + ", ".join(f"{k} {v}" for k, v in facts.items() if k != "numpy file")
            )
            found[numpy] = work(
                device, python, [device.inside + "/" + path.name for path in photo_files.values()], facts
            )
            say("classified, timed, recorded: " + ", ".join(each["label"] for each in found[numpy].photos.values()))
        return found
    finally:
        device.close()


def gather(suite: str, out: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "deploy.cli", "wheelhouse", "--python", PYTHON[suite], "--out", str(out), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def install(device: Device, numpy: str) -> str:
    """Do what systemd/venv.sh does, which cannot run here as it starts programs; gives the environment's Python."""
    folder = f"{device.inside}/{'own' if numpy == 'its own' else 'system'}"
    options, constraint = [], ""
    if numpy == "apt's":
        options = ["--system-site-packages"]
        constraint = "numpy==" + device.run("/usr/bin/python3", "-c", "import numpy; print(numpy.__version__)")
    (device.folder / "constraints.txt").write_text(constraint)
    device.run("/usr/bin/python3", "-m", "venv", "--without-pip", *options, folder)
    wheels = [
        "--no-index",
        "--find-links",
        f"{device.inside}/wheels",
        "--constraint",
        f"{device.inside}/constraints.txt",
    ]
    arguments = ["install", "--no-compile", "--disable-pip-version-check", *wheels, f"edge-runner[{EXTRAS}]"]
    device.run(f"{folder}/bin/python", "-m", "pip", *arguments, PYTHONPATH="/opt/pip", PIP_CONFIG_FILE="/dev/null")
    return f"{folder}/bin/python"


def work(device: Device, python: str, photos: list[str], facts: dict[str, str]) -> Installed:
    def edge(*arguments: object) -> str:
        return device.run(python, "-m", "edge", *arguments)

    one_thread = ("--threads", 1)  # two would wait for each other actively, at the other system's expense
    journal = Path(python).parents[1] / "field.db"
    configuration = edge_file(device, python, "systemd/config.yaml")
    classified = edge("classify", "--json", *one_thread, *photos)
    timed = edge("bench", "--json", "--seconds", 1, *one_thread, "--model", f"{device.inside}/tiny")
    ran = edge("run", "--camera", "scene", "--frames", FRAMES, "--journal", journal, "--json", *one_thread)
    on_host = device.root / str(journal)[1:]
    return Installed(
        facts=facts,
        photos=best(classified),
        bench=json.loads(timed),
        scene=[json.loads(line) for line in ran.splitlines()],
        windows=exported(on_host),
        integrity=integrity(on_host),
        config=edge("config", "check", configuration),
    )


def edge_file(device: Device, python: str, name: str) -> str:
    (path,) = (device.root / python[1:]).parents[1].glob(f"lib/python3.*/site-packages/edge/{name}")
    return f"/{path.relative_to(device.root)}"


def exported(journal: Path) -> list[dict[str, Any]]:
    """The windows of a journal as this machine reads them."""
    command = [sys.executable, "-m", "edge", "export", str(journal), "--table", "windows", "--format", "jsonl"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def integrity(journal: Path) -> str:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(journal)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


@pytest.fixture(params=SUITES)
def systems(request: pytest.FixtureRequest, seen: dict[str, Future[dict[str, Installed]]]) -> dict[str, Installed]:
    return seen[request.param].result()


@pytest.fixture(params=NUMPYS)
def found(request: pytest.FixtureRequest, systems: dict[str, Installed]) -> Installed:
    return systems[request.param]


def test_the_best_prediction_is_the_same_as_here(found: Installed, here: dict[str, dict[str, Any]]) -> None:
    assert found.facts["machine"] == "aarch64"
    assert {name: each["label"] for name, each in found.photos.items()} == {
        name: each["label"] for name, each in here.items()
    }


def test_a_benchmark_is_told_by_its_rules(found: Installed) -> None:
    assert found.bench["samples"] >= 64
    assert found.bench["invoke_ms"]["p90"] > 0
    assert found.bench["device"]["machine"] == "aarch64"


def test_a_run_knows_its_scene_and_records_every_frame(found: Installed) -> None:
    assert [record["predictions"][0]["label"] for record in found.scene] == [record["truth"] for record in found.scene]
    assert len(found.scene) == FRAMES
    assert sum(window["frames"] for window in found.windows) == FRAMES
    assert found.integrity == "ok"


def test_the_services_configuration_is_accepted(found: Installed) -> None:
    assert "config.yaml" in found.config


def test_apts_numpy_is_kept_where_picamera2_needs_it(systems: dict[str, Installed]) -> None:
    own, kept = systems["its own"].facts, systems["apt's"].facts
    assert kept["numpy file"].startswith("/usr/lib/python3/dist-packages/")
    assert own["numpy file"].startswith("/opt/")
    assert kept["edge-runner"] == own["edge-runner"]
