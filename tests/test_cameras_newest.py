"""The newest-frame slot, driven by a source that the test paces."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Optional, Union

import numpy as np
import pytest

from edge.cameras.newest import NewestFrame, Shot, patience_s
from edge.errors import CameraError

LONG_S = 5.0


class Puppet:
    """A source that gives what is put."""

    def __init__(self) -> None:
        self.script: queue.Queue[Union[Shot, Exception, None]] = queue.Queue()
        self.taken = threading.Semaphore(0)
        self.released = threading.Event()
        self.decoded = 0

    def put(self, step: int = 1) -> None:
        self.script.put(Shot(np.zeros((4, 4, 3), np.uint8), time.monotonic_ns(), step))

    def put_coded(self, broken: bool = False) -> None:
        """A frame that is decoded when it is wanted."""

        def decode() -> Optional[np.ndarray]:
            self.decoded += 1
            return None if broken else np.zeros((4, 4, 3), np.uint8)

        self.script.put(Shot(decode, time.monotonic_ns()))

    def grab(self, closing: threading.Event) -> Optional[Shot]:
        self.taken.release()
        while not closing.is_set():
            try:
                given = self.script.get(timeout=0.02)
            except queue.Empty:
                continue
            if isinstance(given, Exception):
                raise given
            return given
        return None

    def release(self) -> None:
        self.released.set()

    def wait_taken(self, count: int) -> None:
        """Until the slot has asked so many times, and so has stored all that came before."""
        for _ in range(count):
            assert self.taken.acquire(timeout=LONG_S)


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
def slot(puppet: Puppet) -> Iterator[NewestFrame]:
    opened = NewestFrame(puppet, "puppet", stall_s=LONG_S)
    yield opened
    opened.close()


def test_only_the_newest_is_kept_and_the_numbers_tell(puppet: Puppet, slot: NewestFrame) -> None:
    for step in (1, 1, 3):
        puppet.put(step)
    puppet.wait_taken(4)
    frame = slot.read(LONG_S)
    assert frame is not None
    assert frame.sequence == 4  # 0, 1, and two that the source itself skipped
    assert slot.read(0.0) is None


def test_a_read_waits_for_its_frame_and_no_longer(puppet: Puppet, slot: NewestFrame) -> None:
    assert slot.read(0.05) is None
    threading.Timer(0.05, puppet.put).start()
    assert slot.read(LONG_S) is not None


def test_the_last_frame_is_given_before_the_end(puppet: Puppet, slot: NewestFrame) -> None:
    puppet.put()
    puppet.script.put(None)
    puppet.wait_taken(2)
    assert puppet.released.wait(LONG_S)
    assert not slot.ended
    assert slot.read(LONG_S) is not None
    assert slot.ended
    assert slot.read(LONG_S) is None


def test_an_exception_of_the_thread_is_raised_in_read(puppet: Puppet, slot: NewestFrame) -> None:
    puppet.script.put(ZeroDivisionError("division\nby zero"))
    for _ in range(2):
        with pytest.raises(CameraError, match=r"^puppet failed: ZeroDivisionError: division by zero\.$") as caught:
            slot.read(LONG_S)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert puppet.released.wait(LONG_S)
    assert not slot.ended  # it failed, which is not the same


def test_an_error_of_the_source_stays_as_it_is(puppet: Puppet, slot: NewestFrame) -> None:
    puppet.script.put(CameraError("It was unplugged."))
    with pytest.raises(CameraError, match=r"^It was unplugged\.$"):
        slot.read(LONG_S)


def test_nothing_for_too_long_is_an_error_and_a_frame_mends_it(puppet: Puppet) -> None:
    slot = NewestFrame(puppet, "puppet", stall_s=0.1)
    with pytest.raises(CameraError, match="puppet gave no frame for"):
        slot.read(LONG_S)
    puppet.put()
    puppet.wait_taken(2)
    assert slot.read(0.0) is not None
    slot.close()


def test_a_frame_that_nobody_took_in_time_is_not_given(puppet: Puppet) -> None:
    """It tells what was: a camera that has been silent since is lost."""
    slot = NewestFrame(puppet, "puppet", stall_s=0.1)
    puppet.put()
    puppet.wait_taken(2)
    time.sleep(0.12)
    with pytest.raises(CameraError, match="puppet gave no frame for") as caught:
        slot.read(0.0)
    assert caught.value.cause == "stalled"
    slot.close()


def test_a_frame_from_before_an_error_is_not_given(puppet: Puppet, slot: NewestFrame) -> None:
    puppet.put()
    puppet.script.put(CameraError("It was unplugged.", "gone"))
    puppet.wait_taken(2)
    assert puppet.released.wait(LONG_S)
    with pytest.raises(CameraError, match=r"^It was unplugged\.$") as caught:
        slot.read(LONG_S)
    assert caught.value.cause == "gone"


def test_what_a_quick_reader_wants_is_decoded_at_once(puppet: Puppet, slot: NewestFrame) -> None:
    for _ in range(5):
        puppet.put_coded()
    puppet.wait_taken(6)
    frame = slot.read(0.0)
    assert frame is not None
    assert (frame.sequence, puppet.decoded) == (4, 5)


def test_for_a_slow_reader_only_what_it_asks_for_is_decoded(puppet: Puppet, slot: NewestFrame) -> None:
    for _ in range(20):
        puppet.put_coded()
    puppet.wait_taken(21)
    assert slot.read(0.0) is not None
    assert puppet.decoded == 20  # it is not yet known to be slow
    for _ in range(20):
        puppet.put_coded()
    puppet.wait_taken(20)
    assert slot.read(0.0) is None  # what came while it was away is older than what comes next
    assert puppet.decoded == 20
    asked_ns = time.monotonic_ns()
    threading.Timer(0.02, puppet.put_coded).start()
    frame = slot.read(LONG_S)
    assert frame is not None
    assert (frame.sequence, puppet.decoded) == (40, 21)
    assert frame.captured_ns > asked_ns


def test_a_broken_picture_is_passed_over(puppet: Puppet, slot: NewestFrame) -> None:
    puppet.put_coded(broken=True)
    puppet.put_coded()
    frame = slot.read(LONG_S)
    assert frame is not None
    assert frame.sequence == 1


def test_the_first_frame_is_waited_for_and_kept(puppet: Puppet, slot: NewestFrame) -> None:
    puppet.put()
    slot.wait_first()
    assert slot.read(0.0) is not None


@pytest.mark.parametrize("given", [None, CameraError("no")])
def test_without_a_first_frame_all_is_closed(puppet: Puppet, slot: NewestFrame, given: Optional[Exception]) -> None:
    puppet.script.put(given)
    with pytest.raises(CameraError):
        slot.wait_first()
    assert puppet.released.wait(LONG_S)
    assert slot.ended


def test_a_release_that_fails_is_logged(puppet: Puppet, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise RuntimeError("lost")

    puppet.release = refuse  # type: ignore[method-assign]
    slot = NewestFrame(puppet, "puppet", stall_s=LONG_S)
    slot.close()
    assert "puppet could not be closed: RuntimeError: lost" in caplog.text


def test_a_rate_slower_than_the_patience_is_no_stall() -> None:
    assert patience_s(5.0, 30.0) == 5.0
    assert patience_s(5.0, 0.1) == 30.0
    assert patience_s(5.0, 0.0) == 5.0
