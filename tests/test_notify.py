"""What systemd is told, over a real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.notify import Notifier
from tests.notices import Notices


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[Notices]:
    listening = Notices(tmp_path / "notify")
    yield listening
    listening.close()


def test_what_is_told_arrives_in_systemds_words(notices: Notices) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "6000000"})
    notifier.extend(1.5)
    notifier.status("two\nlines, and \udce9")
    notifier.ready()
    notifier.alive()
    notifier.reloading()
    notifier.stopping()
    told = notices.drain()
    assert told[:4] == [
        {"EXTEND_TIMEOUT_USEC": "1500000"},
        {"STATUS": "two lines, and ?"},
        {"READY": "1"},
        {"WATCHDOG": "1"},
    ]
    assert told[4]["RELOADING"] == "1"
    assert int(told[4]["MONOTONIC_USEC"]) > 0
    assert told[5] == {"STOPPING": "1"}


def test_the_watchdog_is_patient_at_a_slow_rate_and_never_less_than_the_unit_says(notices: Notices) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "6000000"})
    notifier.watch_for(0.1)
    notifier.watch_for(90)
    notifier.watch_for(90)
    notifier.watch_for(1)
    assert [each["WATCHDOG_USEC"] for each in notices.drain()] == ["90000000", "6000000"]


def test_a_busy_systemd_is_waited_for_with_what_is_told_once_only(notices: Notices) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "6000000"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"OTHER=1", str(notices.path))
    notifier.alive()
    relief = threading.Timer(0.2, notices.drain)
    relief.start()
    notifier.ready()
    relief.join()
    notices.drain()
    assert {"READY": "1"} in notices.all
    assert {"WATCHDOG": "1"} not in notices.all


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "6000000"}, {"NOTIFY_SOCKET": "/nonexistent/socket", "WATCHDOG_USEC": "soon"}]
)
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready()
    notifier.alive()
    notifier.watch_for(1000)
    assert notifier.watchdog_s is None


def test_another_process_s_watchdog_is_not_ours(notices: Notices) -> None:
    environment = {"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "6000000"}
    assert Notifier({**environment, "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 6
    assert Notifier({**environment, "WATCHDOG_PID": "1"}).watchdog_s is None
    assert notices.drain() == []
