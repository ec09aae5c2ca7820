"""`pytest -m hardware`: what tests/test_runtimes_edgetpu.py asks the stand-in, asked of an Edge TPU and its libedgetpu.

The model is Coral's MobileNetV1 in $EDGE_TEST_DATA/coral, or $EDGE_TPU_MODEL: a path x_edgetpu.tflite with x.tflite
beside it; where that is set, nothing is skipped. $EDGE_TPU_DEVICE is usb:N or pci:N where several are plugged in,
$EDGE_TPU_LIBRARY another libedgetpu.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge.errors import AcceleratorError
from edge.runtimes import Runtime, TensorDetails, open_runtime
from edge.runtimes.edgetpu.library import NAME, list_devices
from edge.runtimes.edgetpu.pool import EdgeTpu
from edge.runtimes.settings import RuntimeSettings
from tests.conftest import DATA

pytestmark = pytest.mark.hardware

ROOT = Path(__file__).resolve().parent.parent
MODEL = Path(os.environ.get("EDGE_TPU_MODEL", DATA / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"))
TWIN = MODEL.with_name(MODEL.name.replace("_edgetpu.tflite", ".tflite"))
SETTINGS = RuntimeSettings(
    "edgetpu", device=os.environ.get("EDGE_TPU_DEVICE", "any"), library=os.environ.get("EDGE_TPU_LIBRARY", NAME)
)
DOCTOR = "`edge doctor --runtime edgetpu` tells what to install"
MOST_STEPS_APART = 3
"""Between scores of the Edge TPU and of the CPU, which round differently, in steps of the output's scale."""
BACK_S = 90.0
"""For an Edge TPU to be open again; its firmware is loaded anew where it was reset."""


@pytest.fixture(scope="module", autouse=True)
def _edge_tpu() -> None:
    """Skips without libedgetpu, an Edge TPU or a model; fails where EDGE_TPU_MODEL says that they are meant to be."""
    without = pytest.fail if "EDGE_TPU_MODEL" in os.environ else pytest.skip
    listed = list_devices(SETTINGS.library)
    if listed.problem:
        without(f"{SETTINGS.library} cannot be asked for Edge TPUs: {listed.problem}; {DOCTOR}")
    if not listed.devices:
        without(f"{SETTINGS.library} ({listed.version}) finds no Edge TPU: plug one in; {DOCTOR}")
    for path in (MODEL, TWIN):
        if not path.is_file():
            without(f"no model at {path} (set EDGE_TPU_MODEL or EDGE_TEST_DATA)")


@pytest.fixture
def alone() -> Iterator[EdgeTpu]:
    runtime = EdgeTpu(MODEL, 1, SETTINGS)
    yield runtime
    runtime.close()


@pytest.fixture
def with_twin() -> Iterator[EdgeTpu]:
    runtime = EdgeTpu(MODEL, 1, SETTINGS, open_runtime("auto", TWIN, 1))
    yield runtime
    runtime.close()


def tensors(photos: dict[str, np.ndarray], details: TensorDetails) -> Iterator[np.ndarray]:
    """The photographs, whole and their quarters, as the model's input."""
    _, height, width, _ = details.shape
    for whole in photos.values():
        half = [side // 2 for side in whole.shape[:2]]
        parts = [whole[top:, left:][: half[0], : half[1]] for top in (0, half[0]) for left in (0, half[1])]
        for part in (whole, *parts):
            pixels = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
            yield (pixels if details.dtype == "uint8" else pixels.astype(np.int16) - 128).astype(details.dtype)[None]


def run(runtime: Runtime, tensor: np.ndarray) -> np.ndarray:
    runtime.input()[...] = tensor
    runtime.invoke()
    return runtime.output().astype(np.int32).ravel()


def test_it_is_an_edge_tpu_and_agrees_with_the_cpu(alone: EdgeTpu, photos) -> None:
    assert alone.backend == "edgetpu", f"{alone.library_version} is no libedgetpu"
    twin = open_runtime("auto", TWIN, 1)
    for tensor in tensors(photos, alone.input_details[0]):
        ours, theirs = run(alone, tensor), run(twin, tensor)
        assert alone.answered_by == "edgetpu"
        assert np.abs(ours - theirs).max() <= MOST_STEPS_APART
        first, second = np.sort(theirs)[[-1, -2]]
        if first - second > 2 * MOST_STEPS_APART:
            assert ours.argmax() == theirs.argmax()


def test_a_second_process_cannot_have_it_too(alone: EdgeTpu) -> None:
    """Where several are plugged in, of a numbered one."""
    if SETTINGS.device == "any" and len(list_devices(SETTINGS.library).devices) > 1:
        pytest.skip("several Edge TPUs are plugged in: set EDGE_TPU_DEVICE to usb:N or pci:N")
    with pytest.raises(AcceleratorError):
        EdgeTpu(MODEL, 1, SETTINGS)
    alone.invoke()


def test_it_can_be_opened_again_and_again(photos) -> None:
    answers = []
    for _ in range(3):
        runtime = EdgeTpu(MODEL, 1, SETTINGS)
        answers.append(run(runtime, next(tensors(photos, runtime.input_details[0]))))
        runtime.close()
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_a_killed_process_costs_no_frame(with_twin: EdgeTpu, photos) -> None:
    told: list[str] = []
    with_twin.listen(lambda kind, detail: told.append(f"{kind}: {detail}"))
    deadline_s = time.monotonic() + BACK_S
    while with_twin.lost:  # a first start may take longer than its constructor waits for
        with_twin.invoke()
        assert time.monotonic() < deadline_s, told
    tensor = next(tensors(photos, with_twin.input_details[0]))
    before = run(with_twin, tensor)
    os.kill(child_of(os.getpid()), signal.SIGKILL)
    answered = []
    deadline_s = time.monotonic() + BACK_S
    while with_twin.lost or "cpu" not in answered:
        assert np.abs(run(with_twin, tensor) - before).max() <= MOST_STEPS_APART
        answered.append(with_twin.answered_by)
        assert time.monotonic() < deadline_s, told
    np.testing.assert_array_equal(run(with_twin, tensor), before)
    assert with_twin.answered_by == with_twin.backend
    print("\n".join(told))


PARENT = """
import sys
from pathlib import Path
import msgspec
from edge.runtimes.edgetpu.pool import EdgeTpu
from edge.runtimes.settings import RuntimeSettings
runtime = EdgeTpu(Path(sys.argv[1]), 1, msgspec.json.decode(sys.argv[2], type=RuntimeSettings))
while True:
    runtime.invoke()
    print("answered", flush=True)
"""


def test_it_is_free_again_after_its_user_was_killed() -> None:
    command = [sys.executable, "-c", PARENT, str(MODEL), msgspec.json.encode(SETTINGS).decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        try:
            assert parent.stdout.readline() == "answered\n"
            child = child_of(parent.pid)
        finally:
            parent.kill()
    deadline_s = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    EdgeTpu(MODEL, 1, SETTINGS).close()


def child_of(pid: int) -> int:
    """The process that holds the Edge TPU for another."""
    pids = [word for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()]
    (found,) = (each for each in pids if b"edgetpu.child" in Path(f"/proc/{each}/cmdline").read_bytes())
    return int(found)
