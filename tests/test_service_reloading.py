"""Requests for a reload that come while the service starts, or one after the other."""

from __future__ import annotations

import queue
import threading

import pytest

from edge.config import Config
from edge.errors import ConfigError, ControlError
from edge.notify import Notifier
from edge.service.pulse import Pulse
from edge.service.reloading import Reloader


class Broken:
    """A configuration that is never any good; its reading takes until it is let go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Semaphore(0)
        self.refusals: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reads = 0
        pulse = Pulse(Notifier({}), lambda: None, lambda: None)
        self.reloader = Reloader(
            self._read,
            lambda _: pytest.fail("nothing is opened"),
            lambda _: None,
            pulse,
            lambda: None,
            self.refusals.put,
        )

    def runs(self) -> None:
        self.reloader.runs(Config(), "")

    def _read(self) -> Config:
        self._reads += 1
        number = self._reads
        assert self.goes_on.acquire(timeout=5)
        raise ConfigError(f"reading {number}")


def test_a_hang_up_during_a_reload_begins_another_and_both_outcomes_can_be_asked_for() -> None:
    broken = Broken()
    broken.runs()
    assert broken.reloader.answer({}) == {"number": 1}
    assert broken.reloader.answer({"number": 1}) == {"number": 1, "outcome": None}
    for _ in range(3):
        broken.reloader.request_soon()
    with pytest.raises(ControlError, match="under way"):
        broken.reloader.request()
    broken.goes_on.release(2)
    assert [broken.refusals.get(timeout=5) for _ in range(2)] == ["reading 1", "reading 2"]
    assert broken.reloader.answer({"number": 1})["outcome"] == {"refused": "reading 1"}
    with pytest.raises(ControlError, match="no reload 3"):
        broken.reloader.answer({"number": 3})


def test_a_hang_up_during_the_start_is_heard_when_that_is_over() -> None:
    broken = Broken()
    broken.goes_on.release()
    with pytest.raises(ControlError, match="is starting"):
        broken.reloader.request()
    broken.reloader.request_soon()
    assert broken.refusals.empty()
    broken.runs()
    assert broken.refusals.get(timeout=5) == "reading 1"
