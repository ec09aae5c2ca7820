"""What the Edge TPU's runtime has to cope with, shown by the stand-in through TensorFlow Lite itself.

Each statement was read in libedgetpu's source or in reports of its users; test_edgetpu_hardware.py asks a real one.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.runtimes.cpu import LiteRt, TfliteRuntime
from tests.edgetpu import Standin, compiled

ROOT = Path(__file__).resolve().parent.parent
RUNTIMES = {"litert": LiteRt, "tflite": TfliteRuntime}
USB, PCI = "/sys/bus/usb/devices/2-1", "/dev/apex_0"


@pytest.fixture
def tflite(runtime_name: str) -> Any:
    """A runtime's own module, with Interpreter and load_delegate."""
    return RUNTIMES[runtime_name].require()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny: Any) -> Path:
    """A compiled model that takes 16 by 16 pixels."""
    path = tmp_path_factory.mktemp("small") / "small_edgetpu.tflite"
    path.write_bytes(compiled(tiny["softmax_uint8"].read_bytes()))
    return path


class Model:
    """An interpreter with a delegate, for one picture after another."""

    def __init__(self, tflite: Any, path: Path, delegate: Any = None) -> None:
        self._interpreter = tflite.Interpreter(
            model_path=str(path), experimental_delegates=[delegate] if delegate else None, num_threads=1
        )
        self._interpreter.allocate_tensors()
        (self.input,), (self.output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()

    def run(self, picture: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self.input["index"], picture)
        self._interpreter.invoke()
        return self.answer()

    def answer(self) -> np.ndarray:
        return self._interpreter.get_tensor(self.output["index"]).copy()

    def pictures(self, count: int) -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for _ in range(count):
            yield random.integers(0, 256, self.input["shape"], dtype=self.input["dtype"])


@pytest.mark.parametrize(
    ("options", "opens", "heeded"),
    [
        ({}, PCI, False),
        ({"device": ""}, PCI, False),
        ({"device": "usb"}, USB, False),
        ({"device": "pci"}, PCI, False),
        ({"device": ":0"}, USB, True),
        ({"device": "usb:0"}, USB, True),
        ({"device": "pci:0", "Performance": "Low"}, PCI, True),
        ({"device": "usb", "Performance": "Low"}, USB, False),
        ({"device": "usb", "Performance": "nonsense"}, USB, False),
        ({"device": "usb:0", "Performance": "low"}, None, False),
        ({"device": "usb:1"}, None, False),
        ({"device": "usb:x"}, None, False),
        ({"device": USB}, None, False),
    ],
)
def test_options_count_only_for_a_device_with_a_number(tflite, standin: Standin, options, opens, heeded) -> None:
    standin.set(devices="usb,pci")
    if opens is None:
        with pytest.raises(ValueError, match=f"^Failed to load delegate from {standin.library}\n$"):
            tflite.load_delegate(standin.library, options)
        assert standin.opened == []
        return
    delegate = tflite.load_delegate(standin.library, options)
    (opened,) = standin.opened
    assert opened.path == opens
    assert opened.options == (options if heeded else {})
    del delegate


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"devices": ""}, "No device of type Apex (USB) is available"),
        ({"faults": "create"}, f"Failed to open device [Apex (USB)] at [{USB}]"),
    ],
)
def test_a_refusal_has_no_reason_but_in_the_log(tflite, standin: Standin, capfd, state, reason) -> None:
    standin.set(**state)
    with pytest.raises(ValueError, match=f"^Failed to load delegate from {standin.library}\n$"):
        tflite.load_delegate(standin.library)
    assert reason not in capfd.readouterr().err

    library = ctypes.CDLL(standin.library)
    library.edgetpu_verbosity(10)
    with contextlib.suppress(ValueError):
        tflite.load_delegate(standin.library)
    library.edgetpu_verbosity(0)
    assert reason in capfd.readouterr().err


def test_what_has_no_firmware_is_found_first_and_numbers_change_when_it_is_opened(tflite, standin: Standin) -> None:
    standin.set(devices="usb,dfu")
    assert tflite.load_delegate(standin.library, {"device": "usb:0"})
    assert tflite.load_delegate(standin.library, {"device": "usb:0"})
    assert [each.path for each in standin.opened] == ["/sys/bus/usb/devices/2-2", USB]


@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Delegate.__del__")  # the runtimes' own
def test_a_missing_library_is_an_os_error(tflite) -> None:
    with pytest.raises(OSError, match=r"^libedgetpu-missing\.so\.1: cannot open shared object file"):
        tflite.load_delegate("libedgetpu-missing.so.1")


def test_a_model_that_cannot_be_prepared_is_refused_when_tensors_are_allocated(tflite, standin, small) -> None:
    standin.set(faults="prepare")
    with pytest.raises(RuntimeError, match=r"Failed to prepare for TPU\. The stand-in was asked to fail\."):
        Model(tflite, small, tflite.load_delegate(standin.library))


def test_without_the_delegate_the_operator_is_unknown(tflite, small) -> None:
    with pytest.raises(RuntimeError, match="Encountered unresolved custom op: edgetpu-custom-op"):
        Model(tflite, small)


def test_after_an_error_the_output_is_that_of_the_invoke_before(tflite, standin: Standin, small, tiny) -> None:
    standin.set(faults="invoke@2")
    model, twin = Model(tflite, small, tflite.load_delegate(standin.library)), Model(tflite, tiny["softmax_uint8"])
    red, green = (np.broadcast_to(np.uint8(colour), model.input["shape"]) for colour in ((255, 0, 0), (0, 255, 0)))
    first = model.run(red)
    with pytest.raises(RuntimeError, match=r"Failed to execute request\. The stand-in was asked to fail\."):
        model.run(green)
    np.testing.assert_array_equal(model.answer(), first)
    np.testing.assert_array_equal(model.run(green), twin.run(green))
    assert twin.run(green).argmax() != first.argmax()


def test_opening_stops_all_threads_and_invoking_none(tflite, standin: Standin, small) -> None:
    standin.set(create_ms=200, first_ms=200)
    ticks: list[float] = []
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.002):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    started = time.monotonic()
    delegate = tflite.load_delegate(standin.library)
    opened = time.monotonic()
    model = Model(tflite, small, delegate)
    invoking = time.monotonic()
    model.run(next(model.pictures(1)))
    invoked = time.monotonic()
    over.set()
    thread.join()
    while_opening = [each for each in ticks if started <= each <= opened]
    assert max(np.diff([started, *while_opening, opened])) >= 0.2
    assert len([each for each in ticks if invoking <= each <= invoked]) > 5


RUN = """
import sys
from edge.runtimes.cpu import LiteRt, TfliteRuntime
runtime, library, model, device = sys.argv[1:]
tflite = {"litert": LiteRt, "tflite": TfliteRuntime}[runtime].require()
try:
    delegate = tflite.load_delegate(library, {"device": device})
    print("opened", flush=True)
    interpreter = tflite.Interpreter(model_path=model, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    interpreter.invoke()
    print("invoked", flush=True)
    while sys.stdin.readline():
        interpreter.invoke()
        print("invoked", flush=True)
except BaseException as error:
    print("caught", error)
"""


class Process(subprocess.Popen):
    """Opens a device and runs a model on it once, and once more for each line that it is given."""

    def __init__(self, runtime: str, library: str, model: Path, device: str) -> None:
        command = [sys.executable, "-c", RUN, runtime, library, str(model), device]
        pipe = subprocess.PIPE
        super().__init__(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT)

    def go_on(self) -> None:
        self.stdin.write("\n")
        self.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        """How it ended, and what it wrote."""
        said, log = self.communicate(timeout=60)
        return self.returncode, said, log


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_process_cannot_catch_what_happens_to_its_device(tflite, runtime_name, standin: Standin, small) -> None:
    standin.set(devices="usb,usb,usb,pci", faults="abort@5,segv@6,hang@7")
    devices = ("usb:0", "usb:1", "usb:2", "pci:0")
    with contextlib.ExitStack() as stack:
        each = [stack.enter_context(Process(runtime_name, standin.library, small, device)) for device in devices]
        for process in each:
            stack.callback(process.kill)
        for process in each:
            assert [process.stdout.readline(), process.stdout.readline()] == ["opened\n", "invoked\n"]
        aborted, crashed, hung, unplugged = each

        aborted.go_on()
        status, said, log = aborted.end()
        assert (status, said) == (-signal.SIGABRT, "")
        assert "transfer on tag 2 failed. Abort." in log

        crashed.go_on()
        assert crashed.end()[:2] == (-signal.SIGSEGV, "")

        hung.go_on()
        until(lambda: len(standin.invokes) == 7)
        with pytest.raises(ValueError, match="Failed to load delegate"):  # it has the device
            tflite.load_delegate(standin.library, {"device": "usb:2"})
        hung.kill()
        assert hung.end()[:2] == (-signal.SIGKILL, "")
        assert tflite.load_delegate(standin.library, {"device": "usb:2"})

        standin.set(devices="usb,usb,usb,-")
        unplugged.go_on()
        status, said, log = unplugged.end()
        assert (status, said) == (-signal.SIGABRT, "")
        assert f"{PCI} is unplugged" in log


def test_the_old_abi_crashes_after_loading(runtime_name, standin: Standin, small) -> None:
    with Process(runtime_name, standin.old_abi, small, "usb:0") as process:
        assert process.end()[:2] == (-signal.SIGSEGV, "opened\n")


def test_what_coral_compiled_answers_as_on_the_cpu(tflite, standin: Standin, data: Path) -> None:
    """Google's compiler made this file; its program is for the chip, so the stand-in runs the model it came from."""
    whole = data / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
    if not whole.is_file():
        pytest.skip(f"no {whole}")
    standin.set(twin=whole)
    model = Model(
        tflite, whole.with_name("mobilenet_v1_0.25_128_quant_edgetpu.tflite"), tflite.load_delegate(standin.library)
    )
    twin = Model(tflite, whole)
    answers = []
    for picture in model.pictures(3):
        answers.append(model.run(picture))
        np.testing.assert_array_equal(answers[-1], twin.run(picture))
    assert not np.array_equal(*answers[:2])
    assert standin.invokes == [USB] * 3
