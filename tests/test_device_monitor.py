"""A thread that reads a board whose files change, vanish and hang."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge import device
from tests.test_device import TREES, ZONE, copy_of, with_vcgencmd

PERIOD_S = 0.01
PATIENCE_S = 20.0


def monitors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "device monitor"]


@contextmanager
def watched(tree: Path) -> Iterator[Callable[[Callable[[device.Live], bool]], device.Live]]:
    """A running monitor; gives a function that waits for a reading such as its argument wants."""
    readings: queue.Queue[device.Live] = queue.Queue()

    def wait_for(wanted: Callable[[device.Live], bool]) -> device.Live:
        while True:
            live = readings.get(timeout=PATIENCE_S)
            if wanted(live):
                return live

    with closing(device.Monitor(tree, PERIOD_S, on_reading=readings.put)):
        yield wait_for


def test_there_is_a_reading_from_the_start():
    with closing(device.Monitor(TREES / "raspberry_pi_3", 3600.0, on_reading=lambda live: None)) as monitor:
        assert monitor.latest.temperature_c == 42.932


def test_the_first_reading_is_handed_on_like_all_others():
    readings: queue.Queue[tuple[device.Live, str]] = queue.Queue()
    monitor = device.Monitor(
        TREES / "raspberry_pi_3", 3600.0, on_reading=lambda live: readings.put((live, threading.current_thread().name))
    )
    with closing(monitor):
        assert readings.get(timeout=PATIENCE_S) == (monitor.latest, "device monitor")


def test_readings_follow_the_files(tmp_path):
    tree = copy_of("raspberry_pi_3", tmp_path)
    bits = tree / "sys/devices/platform/soc/soc:firmware/get_throttled"
    with watched(tree) as wait_for:
        first = wait_for(lambda live: live.temperature_c == 42.932)
        (tree / ZONE / "temp").write_text("81200\n")
        bits.write_text("e0008\n")
        hot = wait_for(lambda live: live.temperature_c == 81.2 and live.throttled == 0xE0008)
        (tree / ZONE / "temp").unlink()
        bits.unlink()
        gone = wait_for(lambda live: live.temperature_c is None and live.throttled is None)
        assert gone.clock_mhz == 1400.0  # the others are still read
        (tree / ZONE / "temp").write_text("40000\n")
        back = wait_for(lambda live: live.temperature_c == 40.0)
        assert first.monotonic_ns < hot.monotonic_ns < gone.monotonic_ns < back.monotonic_ns


def test_readings_follow_vcgencmd(tmp_path):
    tree = copy_of("raspberry_pi_5", tmp_path)
    with watched(tree) as wait_for:
        wait_for(lambda live: live.throttled == 0)
        with_vcgencmd(tree / "new", "echo throttled=0x50005")
        (tree / "new/usr/bin/vcgencmd").rename(tree / "usr/bin/vcgencmd")
        wait_for(lambda live: live.throttled == 0x50005)


def test_a_vcgencmd_that_hangs_holds_up_neither_the_readings_nor_the_end(tmp_path):
    tree = copy_of("raspberry_pi_5", tmp_path)
    with_vcgencmd(tree, f"[ -e {tmp_path}/hang ] && exec sleep 600; echo throttled=0x0")
    with watched(tree) as wait_for:
        wait_for(lambda live: live.throttled == 0)
        (tmp_path / "hang").touch()
        assert wait_for(lambda live: live.throttled is None).temperature_c == 52.1
        (tmp_path / "hang").unlink()
        wait_for(lambda live: live.throttled == 0)
        (tmp_path / "hang").touch()
    for thread in monitors():
        thread.join(PATIENCE_S)
    assert not monitors()


def test_whoever_takes_no_readings_does_not_end_them(tmp_path, caplog):
    taken: queue.Queue[int] = queue.Queue()

    def refuse(live: device.Live) -> None:
        taken.put(live.monotonic_ns)
        raise RuntimeError("the journal is closed")

    monitor = device.Monitor(TREES / "x86_64", PERIOD_S, on_reading=refuse)
    with caplog.at_level(logging.WARNING), closing(monitor):
        assert len({taken.get(timeout=PATIENCE_S) for _ in range(5)}) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "A reading of the board was not taken: RuntimeError: the journal is closed"
    ]


def test_close_ends_the_thread_and_may_be_called_twice():
    monitor = device.Monitor(TREES / "x86_64", 3600.0, on_reading=lambda live: None)
    monitor.close()
    monitor.close()
    assert not monitors()


def test_close_from_within_a_reading():
    closed = threading.Event()
    holder: queue.Queue[device.Monitor] = queue.Queue()

    def close(live: device.Live) -> None:
        holder.get(timeout=PATIENCE_S).close()
        closed.set()

    holder.put(device.Monitor(TREES / "x86_64", PERIOD_S, on_reading=close))
    assert closed.wait(PATIENCE_S)
    for thread in monitors():
        thread.join(PATIENCE_S)
    assert not monitors()


@pytest.mark.parametrize(
    ("name", "period_s"), [("raspberry_pi_3", 1.0), ("raspberry_pi_4", 5.0), ("raspberry_pi_5", 5.0), ("x86_64", 1.0)]
)
def test_starting_a_process_is_done_less_often(name, period_s):
    with closing(device.Monitor(TREES / name, on_reading=lambda live: None)) as monitor:
        assert monitor.period_s == period_s


def test_a_monitor_that_nobody_closed_keeps_no_program_alive():
    code = "from edge import device; device.Monitor(period_s=0.001, on_reading=lambda live: None)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=TREES.parent.parent.parent,
    )
    assert (result.returncode, result.stderr) == (0, "")
