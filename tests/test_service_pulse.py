"""What systemd is told of how the service does, over a real socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge.notify import Notifier
from edge.records import Prediction, Record, Timings
from edge.service.pulse import Pulse
from tests.notices import Notices

RECORD = Record("run", 0, "", 0, Timings(1, 1, 1, 1), (Prediction(0, "cat", 1.0),), "cpu")


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[Notices]:
    listening = Notices(tmp_path / "notify")
    yield listening
    listening.close()


@pytest.mark.parametrize("absence", ["lost", "asleep"])
def test_after_an_absence_the_first_result_is_told_at_once_and_without_a_rate(notices: Notices, absence: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(notices.path), "WATCHDOG_USEC": "100000"})
    pulse = Pulse(notifier, lambda: None, lambda: None)
    pulse.camera = "camera"
    pulse.classified(RECORD)
    notices.wait_for("STATUS", "camera: cpu")
    time.sleep(0.05)
    if absence == "lost":
        pulse.waits("it is gone")
        notices.wait_for("STATUS", "no camera: it is gone")
    else:
        pulse.asleep("asleep until 06:00")
        notices.wait_for("STATUS", "asleep")
    pulse.classified(RECORD)
    assert "fps" not in notices.wait_for("STATUS", "camera: cpu")["STATUS"]


def test_what_answers_instead_is_told_at_once(notices: Notices) -> None:
    pulse = Pulse(Notifier({"NOTIFY_SOCKET": str(notices.path)}), lambda: None, lambda: None)
    for backend in ("edgetpu", "cpu"):
        pulse.classified(msgspec.structs.replace(RECORD, backend=backend))
        notices.wait_for("STATUS", backend, within_s=2)
