"""Work in processes of its own, without TensorFlow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.comparison import apart
from deploy.conversion import keras_files
from edge.errors import ModelError
from tests.conftest import ROOT

WAITING = """
import signal, time
from deploy.comparison import apart
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    try:
        print("started", flush=True)
        apart.run(time.sleep, 600)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that waits for a process of its own, in a process group of both; it has begun."""
    script = tmp_path / "waiting.py"
    script.write_text(WAITING)
    with subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process


def test_it_is_another_process_and_what_it_gives_comes_back() -> None:
    assert apart.run(os.getpid) != os.getpid()
    assert apart.run(divmod, 17, 5) == (3, 2)


def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Cannot read the model"):
        apart.run(keras_files.read_card, tmp_path / "none.keras")
    with pytest.raises(FileNotFoundError, match="none"):
        apart.run(os.stat, tmp_path / "none")


@pytest.mark.parametrize(
    ("function", "argument", "sentence"),
    [(os._exit, 3, "ended with code 3"), (signal.raise_signal, signal.SIGKILL, "was ended by signal 9")],
)
def test_a_process_that_dies_is_one_sentence(function: object, argument: int, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        apart.run(function, argument)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_there_is_an_interrupt_here() -> None:
    with pytest.raises(KeyboardInterrupt):
        apart.run(signal.raise_signal, signal.SIGINT)


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3, 1.0])
def test_ctrl_c_ends_both_without_a_traceback(delay_s: float, waiting: subprocess.Popen[str]) -> None:
    time.sleep(delay_s)  # starting, importing, or at work
    os.killpg(waiting.pid, signal.SIGINT)
    assert waiting.communicate(timeout=60) == ("interrupted\n", "")


def test_an_interrupt_of_the_parent_alone_ends_both(waiting: subprocess.Popen[str]) -> None:
    time.sleep(0.5)
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate(timeout=60) == ("interrupted\n", "")


def test_nothing_goes_on_when_the_parent_is_killed(waiting: subprocess.Popen[str]) -> None:
    time.sleep(1)
    waiting.kill()
    waiting.communicate(timeout=60)  # the other process holds stdout open as long as it lives
