"""How what is to be sent is sent over one connection."""

from __future__ import annotations

import time
from collections import deque
from typing import Callable, Optional

from edge import __version__
from edge.outlets.mqtt.connection import Connection, namesake
from edge.outlets.mqtt.dialing import LostError, where
from edge.outlets.mqtt.discovery import announcements
from edge.outlets.mqtt.messages import OFFLINE, ONLINE, Change, Message, Topics, encode, state
from edge.outlets.mqtt.outbox import DEATHS, Outbox
from edge.outlets.settings import MqttSettings

_STATE_GAP_S = 0.2
"""Between two states, however often the label changes."""
_HEAD_BYTES = 16
"""Of a packet, beside topic and payload, at most."""
_CONTEST_S = 120.0
"""After which another program of this one's name has been gone for good."""
_INSIST_S = 5.0
"""Between two times that we say that we are there."""
_LASTING_S = 180.0
"""After which a connection was of use, whatever ended it."""
_HOME_ASSISTANT_IS_BACK = b"online"


class Sender:
    """Sends what is in an outbox over one connection; what that leaves undone comes back with `close`."""

    def __init__(self, connection: Connection, outbox: Outbox, settings: MqttSettings, base: str) -> None:
        """Begin with what a new connection needs: that we are there, and what there is.

        Args:
            connection: that has just been accepted.
            outbox: what is to be sent.
            settings: how.
            base: of all topics, PREFIX/NAME.
        """
        self._connection, self._outbox, self._settings, self._base = connection, outbox, settings, base
        self._topics = Topics.below(base)
        self._first: deque[tuple[str, bytes]] = deque([(self._topics.availability, ONLINE)])
        """Retained, and sent before all else."""
        self._introduced = False
        """Whether the broker has answered the first of them. Where it hangs up at what it does not take, its answer to
        that comes for sure only if none before it was still under way."""
        self._on_their_way: dict[int, tuple[str, Optional[int]]] = {}
        """By the connection's number: the topic, and the buffer's number where it is from there."""
        self._frame: Optional[tuple[int, Callable[[], bool]]] = None
        """That the network has not taken whole."""
        self._state_s = -float("inf")
        """When the last state was sent."""
        self._announces = settings.discovery is not None
        self._began_s, self._comes_back = time.monotonic(), outbox.was_online
        self._insisted_s = self._began_s
        """When it was last said that we are there."""
        self._acknowledgements = self._taken = self._told = self._refused = 0
        """Of these, `_taken` are changes and events, and `_told` states."""
        outbox.frames.open()
        connection.subscribe(self._topics.availability)
        if settings.discovery is not None:
            connection.subscribe(f"{settings.discovery}/status")

    @property
    def idle(self) -> bool:
        """Whether all changes and events have been acknowledged, and all else that was sent."""
        return not (self._on_their_way or self._first or len(self._outbox.messages))

    @property
    def trouble(self) -> Optional[str]:
        """What is wrong although there is a connection."""
        if self._contested:
            return namesake(where(self._settings))
        for topic, why in self._outbox.refusals.items():
            return f"The broker does not take what is sent to {topic} ({why}): allow it there."
        return None

    @property
    def useful(self) -> bool:
        """Whether the next connection may be expected to get further than this one did."""
        stuck = self._on_their_way and not (self._taken or self._told)
        lasted = time.monotonic() - self._began_s > _LASTING_S
        return bool(self._acknowledgements) and (lasted or not (self._refused or stuck))

    def explain(self, lost: LostError) -> LostError:
        """Take note of the end of the connection; the reason for it, where this knows better."""
        self.settle()
        if lost.unexplained:
            self._suspect()
        if self._contested:
            return LostError(namesake(where(self._settings)), slow=True)
        return LostError(self.trouble or str(lost)) if self._refused else lost

    @property
    def _contested(self) -> bool:
        # In its first connection a program finds what it said before it was started again.
        lasts = time.monotonic() - self._began_s < _CONTEST_S
        return lasts and self._comes_back and self._connection.namesake

    @property
    def patience_s(self) -> float:
        """How long there is nothing to do, unless something comes."""
        if not self._may_send_state():
            return float("inf")
        due_s = _STATE_GAP_S if self._outbox.state_wanted else self._settings.state_s
        return max(0.0, self._state_s + due_s - time.monotonic())

    def send(self) -> None:
        """Take note of what has been acknowledged, and send as much as may be on its way."""
        self.settle()
        self._announce()
        self._insist()
        while self._first and self._room() > 0:
            self._publish(*self._first.popleft(), retain=True)
        if not self._introduced:
            return
        # Room is left for the state, which must not wait for the end of a long queue; or it takes its turn.
        if self._connection.window == 1:
            self._send_state()
        while not self._first and self._room() > (self._connection.window > 1):
            taken = self._outbox.messages.take()
            if taken is None:
                break
            self._send(*taken)
        self._send_state()
        self._send_frames()

    def settle(self) -> bool:
        """Take note of what has been acknowledged; whether more is still to be."""
        while self._connection.acknowledged:
            self._acknowledged(*self._connection.acknowledged.popleft())
        while self._connection.heard:
            self._announces |= self._connection.heard.popleft() == _HOME_ASSISTANT_IS_BACK
        if self._frame and self._frame[1]():
            self._frame_taken(self._frame[0])
        return bool(self._on_their_way)

    def hurry(self) -> None:
        """Let the next `send` send the state too, where it has changed."""
        if self._outbox.state_wanted:
            self._state_s = -float("inf")

    def say_offline(self) -> None:
        """The last that is sent."""
        self._publish(self._topics.availability, OFFLINE, retain=True)

    def close(self) -> None:
        """The connection is over: what it did not deliver waits for the next one, but frames do not."""
        self.settle()
        self._outbox.frames.shut()
        self._outbox.messages.come_back()

    def _room(self) -> int:
        return self._connection.window - len(self._on_their_way)

    def _acknowledged(self, way: int, refusal: Optional[str]) -> None:
        if way not in self._on_their_way:
            return  # a frame, which is not acknowledged but told of in the same way
        topic, number = self._on_their_way.pop(way)
        self._introduced = True
        outbox = self._outbox
        if refusal is None:
            self._acknowledgements += 1
            self._taken += number is not None
            self._told += topic == self._topics.state
            outbox.was_online |= topic == self._topics.availability
            outbox.refusals.pop(topic, None)
            outbox.delivered += number is not None or topic == self._topics.state
            if number is not None:
                outbox.messages.arrived(number)
        else:
            self._refuse(topic, refusal, number)

    def _refuse(self, topic: str, why: str, number: Optional[int]) -> None:
        self._refused += 1
        self._outbox.refusals[topic] = why
        if number is None:
            self._outbox.refused += 1
        else:
            self._outbox.messages.refused(number)

    def _suspect(self) -> None:
        """Give up the message that the broker was to take first, where it has ended some connections there."""
        for topic, number in self._on_their_way.values():
            if number is not None:
                message = self._outbox.messages.taken(number)
                if self._outbox.is_deadly(message, others_pass=self._taken > 0):
                    self._refuse(topic, f"{len(encode(message))} bytes, at which it ended {DEATHS} connections", number)
                return

    def _insist(self) -> None:
        """Say again that we are there, where somebody else, or what we left in the past, says that we are not."""
        topic, now_s = self._topics.availability, time.monotonic()
        if not self._connection.denied or now_s < self._insisted_s + _INSIST_S or topic in self._outbox.refusals:
            return
        if all(each != topic for each, _ in (*self._on_their_way.values(), *self._first)):
            self._insisted_s = now_s
            self._first.append((topic, ONLINE))

    def _announce(self) -> None:
        overview, settings = self._outbox.overview, self._settings
        if self._announces and overview and settings.discovery is not None and not self._first:
            self._announces = False
            name, model = self._base[len(settings.prefix) + 1 :], overview.board.model
            self._first.extend(
                announcements(settings.discovery, self._base, name, __version__, model, settings.state_s)
            )

    def _send(self, number: int, message: Message) -> None:
        topic = self._topics.change if isinstance(message, Change) else self._topics.event
        self._publish(topic, encode(message), number)

    def _may_send_state(self) -> bool:
        if self._outbox.overview is None or not self._introduced or self._room() < 1:
            return False
        # Of those that wait only the newest is of use, and it is not known before the last one has arrived.
        return all(topic != self._topics.state for topic, _ in self._on_their_way.values())

    def _send_state(self) -> None:
        overview = self._outbox.overview
        if overview and self.patience_s == 0:
            self._outbox.state_wanted = False
            self._state_s = time.monotonic()
            self._publish(self._topics.state, encode(state(overview)), retain=True)

    def _send_frames(self) -> None:
        frames = self._outbox.frames
        while (taken := frames.take()) is not None:
            number, record = taken
            payload = encode(record)
            if self._connection.busy or self._is_too_long(self._topics.frame, payload):
                frames.refused(number)
                continue
            self._frame = (number, self._connection.publish_once(self._topics.frame, payload))
            if self._frame[1]():
                self._frame_taken(number)

    def _frame_taken(self, number: int) -> None:
        self._frame = None
        self._outbox.frames.arrived(number)
        self._outbox.delivered += 1

    def _publish(self, topic: str, payload: bytes, number: Optional[int] = None, *, retain: bool = False) -> None:
        if self._is_too_long(topic, payload):
            # Sent all the same, it would end the connection, again and again.
            self._refuse(topic, f"{len(payload)} bytes, and {self._connection.most_bytes} are the limit", number)
            return
        self._on_their_way[self._connection.publish(topic, payload, retain=retain)] = (topic, number)

    def _is_too_long(self, topic: str, payload: bytes) -> bool:
        most_bytes = self._connection.most_bytes
        return most_bytes is not None and len(topic.encode()) + len(payload) + _HEAD_BYTES > most_bytes
