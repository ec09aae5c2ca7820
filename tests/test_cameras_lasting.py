"""A camera that survives its faults, on a simulated clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras import CameraSettings
from edge.cameras.lasting import LONGEST_PAUSE_S, MOST_STUCK, STEADY_S, Lasting
from edge.errors import CameraError
from edge.records import Frame
from tests.fakes.simulated import FAULTS, World

STALL_S, FROZEN_S, GIVE_UP_S = 5.0, 20.0, 300.0
POLL_S = 0.25


class Field:
    """A lasting camera in its world, and what became of it."""

    def __init__(self, world: World, wait: bool = False, **more: Any) -> None:
        self.world = world
        self.events: list[tuple[str, dict[str, Any]]] = []
        asked = {"stall_s": STALL_S, "frozen_s": FROZEN_S, "give_up_s": GIVE_UP_S, **more}
        self.camera = Lasting(
            world.open, CameraSettings(**asked), self._tell, wait, clock=world.clock, pause=world.clock.pause
        )

    def _tell(self, kind: str, detail: dict[str, Any]) -> None:
        self.events.append((kind, detail))

    def read(self) -> Optional[Frame]:
        return self.camera.read(POLL_S)

    def run(self, seconds: float) -> list[Frame]:
        """What it gives in so long."""
        end_s = self.world.clock() + seconds
        frames = []
        while self.world.clock() < end_s:
            frame = self.read()
            if frame:
                frames.append(frame)
        return frames

    def fail(self, fault: str, seconds: float) -> list[Frame]:
        """The same while it fails; then it is well again."""
        self.world.fault = fault
        frames = self.run(seconds)
        self.world.fault = None
        return frames

    def told(self, kind: str, key: str = "cause") -> list[Any]:
        return [detail.get(key) for name, detail in self.events if name == kind]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("fault", "causes"),
    [
        ("read error", ["read error"]),
        ("gone", ["gone"]),
        ("silent", ["stalled"]),
        ("frozen", ["frozen"]),
        ("refused", ["gone", "refused"]),
    ],
)
def test_each_fault_is_told_survived_and_told_again(world: World, fault: str, causes: list[str]) -> None:
    field = Field(world)
    before = field.run(100)
    field.fail(fault, 60)
    assert field.camera.lost
    after = field.run(100)
    assert field.camera.lost is None
    assert field.told("camera lost") == causes
    assert field.camera.faults == len(causes)
    assert field.told("camera found", "camera") == [world.opened[-1].name] == [field.camera.name]
    (lost_for_s,) = field.told("camera found", "after")
    assert 20 < lost_for_s < 60 + LONGEST_PAUSE_S + STALL_S
    assert before[-1].sequence < after[0].sequence
    assert [camera.closed.wait(1) for camera in world.opened[:-1]] == [True] * (len(world.opened) - 1)
    assert not field.camera.ended


def test_why_it_is_lost_is_told_in_a_sentence(world: World) -> None:
    field = Field(world)
    field.run(10)
    field.fail("gone", 2)
    assert field.events[0] == ("camera lost", {"why": "It failed: gone.", "cause": "gone"})
    assert field.camera.lost == "It is not connected."


def test_numbers_go_on_without_a_gap(world: World) -> None:
    field = Field(world)
    frames = field.run(10)
    field.fail("read error", 5)
    frames += field.run(10)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))


def test_numbers_go_on_where_another_cameras_ended(world: World) -> None:
    camera = Lasting(world.open, CameraSettings(), lambda *_: None, first_sequence=40)
    frame = camera.read()
    assert frame is not None
    assert frame.sequence == 40


def test_what_a_source_skipped_stays_a_gap(world: World) -> None:
    field = Field(world)
    first = field.read()
    world.opened[-1].sequence += 3
    second = field.read()
    assert first
    assert second
    assert second.sequence - first.sequence == 4


def test_attempts_are_made_ever_more_seldom(world: World) -> None:
    field = Field(world)
    field.run(STEADY_S)
    field.fail("gone", 120)
    rests_s = np.diff([world.clock.now_s - 120, *world.opened_s[1:]])
    assert rests_s == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=POLL_S)


def test_a_camera_that_comes_and_goes_is_not_opened_each_second(world: World) -> None:
    field = Field(world)
    for _ in range(20):
        field.fail("read error", POLL_S)
        while field.camera.lost:
            field.read()
        field.run(STEADY_S / 4)
    assert len(world.opened_s) == 21
    assert np.diff(world.opened_s)[10:] == pytest.approx(STEADY_S / 4 + LONGEST_PAUSE_S, abs=2)


def test_a_camera_that_worked_for_long_is_opened_quickly(world: World) -> None:
    field = Field(world)
    field.run(STEADY_S)
    field.fail("gone", 100)
    field.run(LONGEST_PAUSE_S + STEADY_S + 1)
    lost_s = world.clock()
    field.fail("read error", POLL_S)
    field.run(5)
    assert world.opened_s[-1] - lost_s == pytest.approx(1, abs=POLL_S)


def test_a_camera_that_is_still_frozen_gives_nothing(world: World) -> None:
    field = Field(world)
    field.run(10)
    frames = field.fail("frozen", 100)
    assert len(frames) == pytest.approx(FROZEN_S * world.fps, abs=2)
    assert len(world.opened) > 3  # it was opened, and looked at
    assert field.told("camera found") == []
    assert field.run(40)


def test_a_camera_that_froze_and_was_lost_for_another_reason_gives_nothing_old(world: World) -> None:
    field = Field(world)
    field.run(10)
    field.fail("frozen", FROZEN_S / 2)
    world.fault = "gone"
    field.run(FROZEN_S)
    assert field.fail("frozen", 2 * LONGEST_PAUSE_S) == []


def test_one_old_picture_after_opening_is_passed_over(world: World) -> None:
    field = Field(world)
    field.run(10)
    field.fail("frozen", FROZEN_S + 2)
    world.fault = "frozen"
    while field.camera.lost and len(world.opened) < 3:
        field.read()  # the last one's frozen pictures are what the new one begins with
    count = len(world.opened)
    world.fault = None
    assert field.run(3)
    assert len(world.opened) == count


@pytest.mark.parametrize("frozen_s", [None, FROZEN_S])
def test_equal_pictures_are_no_fault_where_they_may_be(world: World, frozen_s: Optional[float]) -> None:
    """Asked for, or in the dark, where an honest camera shows no noise."""
    field = Field(world, frozen_s=frozen_s)
    assert len(field.fail("frozen" if frozen_s is None else "dark", 100)) == 200
    assert field.camera.faults == 0


@pytest.mark.parametrize("light", ["dark", "saturated"])
def test_dark_and_saturated_pictures_are_told_once_and_handed_out(world: World, light: str) -> None:
    field = Field(world)
    field.run(20)
    field.fail(light, 9)
    field.run(5)
    assert field.events == []
    assert len(field.fail(light, 60)) == 120
    assert field.events == [(f"camera {light}", {})]
    field.run(9)
    field.fail(light, 2)
    field.run(60)
    assert field.events == [(f"camera {light}", {}), (f"camera {light} over", {})]


def test_it_gives_up_in_time_and_says_why(world: World) -> None:
    field = Field(world)
    field.run(10)
    began_s = world.clock()
    with pytest.raises(CameraError, match=r"^camera 0 has been lost for 300 s, last because: It is not connected\.$"):
        field.fail("gone", 2 * GIVE_UP_S)
    assert world.clock() - began_s == pytest.approx(GIVE_UP_S, abs=2 * POLL_S)
    with pytest.raises(CameraError, match="has been lost for"):
        field.read()


def test_a_camera_that_is_silent_on_opening_is_given_up_too(world: World) -> None:
    field = Field(world, give_up_s=20.0, stall_s=1000.0)
    field.run(10)
    world.fault = "read error"
    field.read()
    with pytest.raises(CameraError, match="has been lost for 20 s"):
        field.fail("silent", 60)


def test_without_patience_the_first_loss_ends_it(world: World) -> None:
    field = Field(world, give_up_s=0.0)
    field.run(10)
    for said in (r"^It failed: gone\.$", "has been lost for 0 s"):
        with pytest.raises(CameraError, match=said):
            field.fail("gone", 1)
    assert field.told("camera lost") == ["gone"]
    assert world.opened[0].closed.wait(1)
    world.fault = "refused"
    missing = Field(world, wait=True, give_up_s=0.0)
    with pytest.raises(CameraError, match=r"^It refuses its format\.$"):
        missing.read()
    assert missing.told("camera lost") == ["refused"]


def test_a_camera_that_only_a_new_process_can_open_ends_it_at_once(world: World) -> None:
    field = Field(world)
    field.run(10)
    with pytest.raises(CameraError, match="Only a new process"):
        field.fail("needs restart", 60)
    assert field.told("camera lost") == ["gone"]
    assert len(world.opened_s) == 1


@pytest.mark.parametrize("wait", [False, True])
def test_a_camera_that_is_not_there_at_the_start(world: World, wait: bool) -> None:
    world.fault = "gone"
    if not wait:
        with pytest.raises(CameraError, match="It is not connected"):
            Field(world)
        return
    field = Field(world, wait=True, source="rtsp://user:secret@camera/live")
    assert field.camera.name == "camera rtsp://user:***@camera/live"
    assert field.camera.lost
    assert not field.camera.ended
    assert field.events == []  # told to who reads
    assert field.run(20) == []
    assert field.told("camera lost") == ["gone"]
    world.fault = None
    assert [frame.sequence for frame in field.run(20)][:2] == [0, 1]
    (after_s,) = field.told("camera found", "after")
    assert 20 < after_s < 40


def test_a_camera_that_is_there_is_not_lost_at_the_start(world: World) -> None:
    field = Field(world, wait=True)
    assert (field.camera.name, field.camera.lost) == ("camera 0", None)
    assert field.read()
    assert field.events == []


def test_what_is_no_camera_passes_through(world: World) -> None:
    """A file does not come back: its errors are raised, also when it is opened, and its end is the end."""
    for wait in (False, True):
        world.fault = "gone"
        with pytest.raises(CameraError, match="It is not connected"):
            Field(world, wait=wait, source="scene")
    world.fault = None
    field = Field(world, source="scene", wait=True)
    assert len(field.fail("frozen", 100)) == 200
    world.opened[-1].ended = True
    assert field.camera.ended
    with pytest.raises(CameraError, match="It failed"):
        field.fail("read error", 1)


def test_a_name_that_no_camera_has_is_an_error_at_once(world: World) -> None:
    with pytest.raises(CameraError, match="No camera 'nope'"):
        Field(world, wait=True, source="nope")


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Lets go what a test left stuck."""
    event = threading.Event()
    yield event
    event.set()


def test_cameras_that_cannot_be_closed_are_left_behind_until_they_are_too_many(
    world: World, released: threading.Event
) -> None:
    world.on_close = released.wait
    field = Field(world)
    for count in range(1, MOST_STUCK + 1):
        field.run(STEADY_S)
        field.world.fault = "read error"
        started_s = time.monotonic()
        field.camera.read(0.01)
        assert time.monotonic() - started_s < 0.5
        world.fault = None
        if count < MOST_STUCK:
            assert field.run(20)  # it is found again all the same
            assert field.camera.stuck == count
    with pytest.raises(CameraError, match=f"camera {count - 1} is lost, and 4 times .* restart the program"):
        field.run(20)
    released.set()


def test_a_camera_that_is_stuck_in_opening_is_left_behind(world: World, released: threading.Event) -> None:
    field = Field(world)
    world.on_open = released.wait
    world.fault = "read error"
    field.read()
    world.fault = None
    world.clock.pause(1)
    for _ in range(3):
        assert field.camera.read(0.001) is None
        assert field.camera.stuck == 0
        world.clock.pause(25)
    field.camera.read(0.001)
    assert field.camera.stuck == 1
    assert "could not be opened in 75 s" in (field.camera.lost or "")
    world.on_open = lambda: None
    assert field.run(40)
    released.set()
    while len(world.opened) < 3:
        time.sleep(0.001)
    assert world.opened[-1].closed.wait(1)  # what was opened too late is closed


def test_whatever_opening_raises_is_a_fault_and_no_end(world: World) -> None:
    field = Field(world)
    field.run(10)
    world.fault = "read error"
    field.read()
    world.on_open = lambda: 1 / 0
    field.run(10)
    assert field.camera.lost == "The camera cannot be opened: ZeroDivisionError: division by zero."
    assert field.told("camera lost") == ["read error", "refused"]


def test_a_close_that_raises_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.on_close = lambda: 1 / 0
    field = Field(world)
    field.fail("read error", 1)
    field.run(5)
    assert "camera 0 could not be closed: ZeroDivisionError" in caplog.text


class TestClosing:
    """At any time, from another thread, in less than a second."""

    def closed_in_time(self, camera: Lasting, reads: Callable[[], object]) -> None:
        reader = threading.Thread(target=reads, daemon=True)
        reader.start()
        time.sleep(0.02)
        started_s = time.monotonic()
        camera.close()
        camera.close()
        assert time.monotonic() - started_s < 1.0
        reader.join(2.0)
        assert not reader.is_alive()
        assert camera.ended
        assert camera.read() is None

    def test_while_it_rests(self, world: World) -> None:
        camera = Lasting(world.open, CameraSettings(), lambda *_: None)  # with the real clock
        world.fault = "gone"
        self.closed_in_time(camera, lambda: [camera.read(0.01), camera.read(60)])

    def test_while_it_is_opened(self, world: World, released: threading.Event) -> None:
        world.fault = "gone"
        field = Field(world, wait=True)
        field.read()
        world.on_open = released.wait
        world.clock.pause(60)
        self.closed_in_time(field.camera, lambda: field.camera.read(60))

    def test_while_it_cannot_be_closed(self, world: World, released: threading.Event) -> None:
        world.on_close = released.wait
        camera = Field(world).camera
        self.closed_in_time(camera, lambda: None)


def taken_by_picture(frames: list[Frame]) -> dict[bytes, list[int]]:
    """When each picture was handed out, in nanoseconds; dark and saturated ones may be all the same."""
    found: dict[bytes, list[int]] = {}
    for frame in frames:
        if 0 < frame.pixels[-1, -1, -1] < 255:
            found.setdefault(frame.pixels.tobytes(), []).append(frame.captured_ns)
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*FAULTS, None]), st.integers(1, 60)), max_size=8))
def test_whatever_happens_nothing_old_is_handed_out_and_it_comes_back(story: list[tuple[Optional[str], int]]) -> None:
    world = World(fps=1.0)
    field = Field(world, give_up_s=10_000.0)
    threads = threading.active_count()
    frames: list[Frame] = []
    for fault, seconds in story:
        world.fault = fault
        handed_out = field.run(seconds)
        assert fault not in ("read error", "gone", "refused", "silent") or not handed_out
        frames += handed_out
    world.fault = None
    frames += field.run(LONGEST_PAUSE_S + STALL_S + 5)
    assert field.camera.lost is None
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    assert [frame.captured_ns for frame in frames] == sorted({frame.captured_ns for frame in frames})
    for taken_ns in taken_by_picture(frames).values():
        assert taken_ns[-1] - taken_ns[0] < FROZEN_S * 1e9
    kinds = [kind for kind, _ in field.events if kind in ("camera lost", "camera found")]
    assert len(field.told("camera lost")) == field.camera.faults
    assert all(one != "camera found" or before == "camera lost" for before, one in zip(["camera found", *kinds], kinds))
    assert not kinds or kinds[-1] == "camera found"
    assert all(rest_s >= 1.0 for rest_s in np.diff(world.opened_s))
    assert all(camera.closed.wait(1) for camera in world.opened[:-1])
    assert threading.active_count() <= threads + 1
