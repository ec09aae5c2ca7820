from __future__ import annotations

import select
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from edge.outlets.mqtt.buffer import Bell, Buffer

STEPS = st.lists(st.sampled_from(["put", "take", "arrived", "refused", "lost"]), max_size=60)


@given(STEPS, st.integers(1, 5))
def test_the_newest_are_kept_in_order_whatever_happens(steps: list[str], most: int) -> None:
    buffer: Buffer[int] = Buffer(most)
    put, gone, dropped = 0, set(), 0
    way: deque[tuple[int, int]] = deque()
    for step in steps:
        if step == "put":
            buffer.put(put)
            put += 1
        elif step == "take":
            taken = buffer.take()
            if taken:
                assert not way or taken[1] > way[-1][1]
                way.append(taken)
        elif step == "lost":
            buffer.come_back()
            way.clear()
        elif way:
            number, thing = way.popleft()
            gone.add(thing)
            getattr(buffer, step)(number)
            dropped += step == "refused"
    on_their_way = [thing for _, thing in way]
    waiting = []
    while (taken := buffer.take()) is not None:
        waiting.append(taken[1])
    assert on_their_way + waiting == sorted(on_their_way + waiting)
    # Of all that was put and has not gone, the newest are there, and the others are counted.
    left = [thing for thing in range(put) if thing not in gone]
    assert set(left[-most:]) <= set(on_their_way + waiting)
    assert buffer.dropped == dropped + len(left) - len(on_their_way) - len(waiting)
    assert len(waiting) <= most


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
