"""The outlet: takes what the service hands over, and has a thread of its own send it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import re
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Optional

from edge.errors import OutletError
from edge.extras import how_to_install
from edge.outlets import CLOSE_S, OutletStatus, Trouble, host_name
from edge.outlets.mqtt.connection import Connection
from edge.outlets.mqtt.dialing import LostError, where
from edge.outlets.mqtt.messages import Message, Topics, change, happened
from edge.outlets.mqtt.outbox import Outbox
from edge.outlets.mqtt.sender import Sender
from edge.outlets.settings import MqttSettings
from edge.overview import Overview
from edge.records import Event, Record

RETRY_S = (1.0, 60.0)
"""Before a broker is tried again: twice as long each time, from the one to the other, less up to a half by chance."""
_LEAVE_S = 0.8 * CLOSE_S
"""For what is left to be sent and acknowledged, and for the farewell."""
_FAREWELL_S = 0.25 * CLOSE_S
"""Of that, for the farewell."""
_LASTING_S = 5.0
"""A connection that ended sooner, for no reason that was told, was of no use."""
_LONGEST_ID = 23
"""That each broker must take. Source: MQTT 3.1.1, MQTT-3.1.3-5."""


class Mqtt:
    """Sends to an MQTT broker; see `edge.outlets.Outlet` and `edge.outlets.Leaving`."""

    def __init__(self, settings: MqttSettings, retry_s: tuple[float, float] = RETRY_S) -> None:
        """Begin to look for the broker.

        Args:
            settings: which broker, and what it gets.
            retry_s: see `RETRY_S`.

        Raises:
            OutletError: paho-mqtt is not installed.
        """
        try:
            import paho.mqtt.enums  # noqa: F401
        except ImportError as error:
            # Version 1 has no such module.
            what = "older than 2.0" if error.name == "paho.mqtt.enums" else "not installed"
            raise OutletError(f"paho-mqtt is {what}: {how_to_install('mqtt')}.") from None
        self._settings = settings
        self._base = f"{settings.prefix}/{settings.name or host_name()}"
        self._outbox = Outbox(settings.buffer)
        self._label: Optional[str] = None
        """Of the frame before; None: there was none in this run."""
        self._trouble = Trouble("mqtt")
        self._backoff = _Backoff(*retry_s)
        self._instance = secrets.token_hex(8)
        self._version_5 = True
        self._closing, self._until_s = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)
        self._thread.start()

    def begin(self, overview: Overview) -> None:
        self._label = None
        self._outbox.overview = overview
        self._outbox.state_wanted = True
        self._outbox.bell.ring()

    def write(self, record: Record) -> None:
        label, before = record.predictions[0].label, self._label
        if label != before:
            self._label = label
            self._outbox.put(change(record, before))
        if self._settings.every_frame:
            self._outbox.frames.put(record)
            self._outbox.bell.ring()

    def event(self, event: Event) -> None:
        overview = self._outbox.overview
        self._outbox.put(happened(event, overview.run if overview else None))

    def status(self) -> OutletStatus:
        outbox = self._outbox
        return OutletStatus(
            where(self._settings), self._trouble.sentence, outbox.delivered, outbox.dropped, outbox.waiting
        )

    def close(self) -> None:
        if not self._closing.is_set():
            self._until_s = time.monotonic() + _LEAVE_S
            self._closing.set()
            self._outbox.bell.ring()
        self._thread.join(max(0.0, self._until_s - time.monotonic()) + (CLOSE_S - _LEAVE_S) / 2)

    def left(self) -> Sequence[Message]:
        return self._outbox.messages.all()

    def take_over(self, messages: Sequence[Message]) -> None:
        self._outbox.messages.put_first(messages)
        self._outbox.bell.ring()

    def _work(self) -> None:
        """Have a connection, and another when it is lost, until it is time to close."""
        with contextlib.closing(self._outbox.bell):
            while not self._closing.is_set():
                wait_s = self._connect()
                self._closing.wait(wait_s)

    def _connect(self) -> float:
        """One connection from its beginning to its end; after how many seconds another one should be tried."""
        try:
            self._talk()
        except LostError as lost:
            if self._closing.is_set():
                return 0.0
            if lost.too_new and self._version_5:
                self._version_5 = False
                return 0.0
            self._trouble.begins(str(lost))
            return self._backoff.after(lost)
        except Exception as error:
            # A fault of ours must not end the thread.
            logging.getLogger(__name__).debug("Unexpected", exc_info=True)
            self._trouble.begins(f"It failed, which was not expected ({type(error).__name__}: {error}).")
            return self._backoff.after(None)
        return 0.0

    def _talk(self) -> None:
        settings, outbox = self._settings, self._outbox
        availability = Topics.below(self._base).availability
        connection = Connection(
            settings, client_id(self._base), availability, self._instance, outbox.bell, version_5=self._version_5
        )
        with contextlib.closing(connection):
            connection.open(lambda: not self._closing.is_set())
            began_s = time.monotonic()
            sender = Sender(connection, outbox, settings, self._base)
            try:
                if not sender.trouble:
                    self._trouble.ends(f"{where(settings)} is connected.")
                while not self._closing.is_set():
                    sender.send()
                    self._tell(sender)
                    connection.step(sender.patience_s)
                self._leave(sender, connection)
            except LostError as lost:
                raise sender.explain(lost) from None
            finally:
                sender.close()
                if sender.useful and (self._version_5 or time.monotonic() - began_s > _LASTING_S):
                    self._backoff.begin_anew()

    def _tell(self, sender: Sender) -> None:
        if sender.trouble:
            self._trouble.begins(sender.trouble)
        else:
            self._trouble.ends("The broker takes what is sent again.")

    def _leave(self, sender: Sender, connection: Connection) -> None:
        """Send what is left, as far as there is time, and say goodbye."""
        farewell_s = self._until_s - _FAREWELL_S
        sender.hurry()
        sender.send()
        while not sender.idle and time.monotonic() < farewell_s:
            connection.step(farewell_s - time.monotonic())
            sender.send()
        sender.say_offline()
        while sender.settle() and time.monotonic() < self._until_s:
            connection.step(self._until_s - time.monotonic())
        connection.hang_up()


class _Backoff:
    """When to try again. Differs by chance, so that many devices do not come back to a broker at once."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s, self._next_s = first_s, most_s, first_s

    def begin_anew(self) -> None:
        self._next_s = self._first_s

    def after(self, lost: Optional[LostError]) -> float:
        wait_s = self._most_s if lost and lost.slow else self._next_s
        self._next_s = min(self._most_s, 2 * self._next_s)
        return wait_s * random.uniform(0.5, 1.0)


def client_id(base: str) -> str:
    """By what a broker knows this device: the same after each start, so that it ends what is left of an old connection.

    Args:
        base: of its topics, PREFIX/NAME; others have another one.
    """
    digest = hashlib.sha256(base.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name = re.sub("[^0-9A-Za-z]", "", base.rpartition("/")[2])[: _LONGEST_ID - len("edge--") - len(digest)]
    return f"edge-{name}-{digest}"
