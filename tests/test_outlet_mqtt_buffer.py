from __future__ import annotations

import select

from hypothesis import given
from hypothesis import strategies as st

from edge.outlets.mqtt.buffer import Bell, Buffer

STEPS = st.lists(st.sampled_from(["put", "take", "arrived", "refused", "lost", "moved"]), max_size=60)


@given(STEPS, st.integers(1, 5))
def test_the_newest_are_kept_in_order_whatever_happens(steps: list[str], most: int) -> None:
    buffer: Buffer[int] = Buffer(most)
    put = dropped = 0
    waiting: list[int] = []
    way: list[tuple[int, int]] = []
    for step in steps:
        if step == "put":
            buffer.put(put)
            waiting.append(put)
            put += 1
        elif step == "take":
            taken = buffer.take()
            assert (taken and taken[1]) == (waiting.pop(0) if waiting else None)
            way += [taken] if taken else []
        elif step == "lost":
            buffer.come_back()
            waiting = [thing for _, thing in way] + waiting
            way.clear()
        elif step == "moved":
            left, before = buffer.all(), buffer.dropped
            assert left == [thing for _, thing in way] + waiting
            buffer = Buffer(most)
            buffer.dropped = before
            buffer.put_first(left)
            waiting = left
            way.clear()
        elif way:
            getattr(buffer, step)(way.pop(0)[0])
            dropped += step == "refused"
        dropped += max(0, len(waiting) - most)
        waiting = waiting[-most:]
        assert waiting == sorted(waiting)
        assert (len(buffer), buffer.dropped) == (len(waiting) + len(way), dropped)


def test_what_is_shut_drops_all_and_counts_it() -> None:
    buffer: Buffer[str] = Buffer(3)
    for thing in "abc":
        buffer.put(thing)
    buffer.take()
    buffer.shut()
    buffer.put("d")
    assert (len(buffer), buffer.dropped, buffer.take()) == (0, 4, None)
    buffer.open()
    buffer.put("e")
    assert buffer.take() == (2, "e")


def test_a_bell_wakes_once_until_it_was_heard() -> None:
    bell = Bell()
    waits = select.poll()
    waits.register(bell, select.POLLIN)
    assert not waits.poll(0)
    for _ in range(100_000):  # more than a socket holds
        bell.ring()
    assert waits.poll(0)
    bell.heard()
    assert not waits.poll(0)
    bell.ring()
    assert waits.poll(0)
    bell.close()
    bell.ring()
    bell.ring()
