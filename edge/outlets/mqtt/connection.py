"""One connection to a broker, from its first byte to its last; it is not used again.

Each has a client of paho's of its own, so that paho resends nothing by itself: what a broker has not acknowledged is
sent again from our own buffer, in order. One thread calls all that is here.
"""

from __future__ import annotations

import select
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional

from edge.errors import OutletError
from edge.outlets.mqtt.buffer import Bell
from edge.outlets.mqtt.client import Patient, paho, unfit
from edge.outlets.mqtt.dialing import LostError, dial, where
from edge.outlets.mqtt.messages import OFFLINE, ONLINE
from edge.outlets.secret import read_secret
from edge.outlets.settings import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

ANSWER_S = 10.0
"""For a broker to be reached and to let us in."""
_WINDOW = 20
"""Messages on their way at most; brokers keep so many of a client by default."""
_MOST_HEARD_BYTES = 65_536
"""In one packet: what a broker sends to us is short."""
_SILENT = 1.5
"""Times the keepalive, as brokers reckon too."""
_TICK_S = 0.5
"""Between looks at the clock: whether it is time to ask the broker for a sign of life, and whether it gave one."""
_INSTANCE = "instance"
_PROTOCOL_ERROR = 2
"""Of paho's `MQTTErrorCode`."""
_UNSUPPORTED, _WRONG_ID, _WRONG_PASSWORD, _NOT_ALLOWED, _BANNED, _TAKEN_OVER = 132, 133, 134, 135, 138, 142


class Connection:
    """A connection to a broker."""

    def __init__(
        self, settings: MqttSettings, client_id: str, availability: str, instance: str, bell: Bell, *, version_5: bool
    ) -> None:
        """Nothing is sent or read yet.

        Args:
            settings: which broker.
            client_id: by which it knows us, and hangs up on another connection of the same.
            availability: the topic on which it says that we are offline, when we go without a word.
            instance: goes with each message there, as those of another program of the same name look the same.
            bell: wakes `step`.
            version_5: speak MQTT 5, else 3.1.1.

        Raises:
            LostError: see `paho`.
        """
        self.acknowledged: deque[tuple[int, Optional[str]]] = deque()
        """What `publish` returned, and why the broker refuses the message, None when it has it; to be taken out."""
        self.heard: deque[bytes] = deque()
        """Messages that were subscribed to and are not retained; to be taken out."""
        self.namesake = False
        """Whether somebody else has said whether we are there. MQTT 3.1.1 cannot tell."""
        self.denied = False
        """Whether the last that was said of us is that we are not there."""
        self.window = _WINDOW
        self.most_bytes: Optional[int] = None
        """What the broker takes in one packet; None: it told no limit."""
        self.accepted = False
        self._settings, self._bell, self._version_5 = settings, bell, version_5
        self._availability, self._instance = availability, instance
        self._why: Optional[LostError] = None
        self._place = where(settings)
        self._heard_s = time.monotonic()
        self._made: Optional[Patient] = None
        self._client = client = paho(client_id, version_5, lambda: self._made)
        client.will_set(availability, OFFLINE, qos=1, retain=True, properties=self._signed("WILLMESSAGE"))
        client.max_inflight_messages_set(0)  # without a limit: there is one of our own
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_publish, client.on_message = self._published, self._message

    def open(self, wanted: Callable[[], bool]) -> None:
        """Reach the broker, and be let in.

        Args:
            wanted: whether there is still somebody who wants that.

        Raises:
            LostError: that could not be, within `ANSWER_S` after the look-up of the name.
        """
        settings, until_s = self._settings, time.monotonic() + ANSWER_S
        if settings.user is not None:
            # As bytes, which paho takes too: a password is what is in its file, in whatever encoding.
            self._client.username_pw_set(settings.user, self._password())  # type: ignore[arg-type]
        self._made = Patient(dial(settings, until_s))
        if not wanted():  # another connection of the same name may be open by now
            raise LostError("It is not wanted any more.")
        properties = self._properties("CONNECT")
        if properties:
            properties.MaximumPacketSize = _MOST_HEARD_BYTES
        # A name that nobody has: should paho ever connect by itself, it says nothing to anybody without TLS.
        self._client.connect("made.invalid", keepalive=settings.keepalive_s, properties=properties)
        self._heard_s = time.monotonic()
        while not self.accepted:
            self.step(until_s - time.monotonic())
            if not wanted():
                raise LostError("It is not wanted any more.")
            if not self.accepted and time.monotonic() > until_s:
                raise LostError(
                    f"A program at {self._place} takes connections and does not answer: expected an MQTT broker, "
                    "which may hang."
                )

    @property
    def busy(self) -> bool:
        """Whether the network has not yet taken all that was published."""
        return self._client.want_write()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send, to be acknowledged; the number by which that is told."""
        properties = self._signed("PUBLISH") if topic == self._availability else None
        return self._client.publish(topic, payload, qos=1, retain=retain, properties=properties).mid

    def publish_once(self, topic: str, payload: bytes) -> Callable[[], bool]:
        """Send without an acknowledgement; the answer tells whether the network has taken it."""
        info = self._client.publish(topic, payload)
        return lambda: info.rc == 0 and info.is_published()

    def subscribe(self, topic: str) -> None:
        """Have messages put into `heard`; those to our own availability into `namesake`."""
        self._client.subscribe(topic)

    def step(self, timeout_s: float) -> None:
        """Wait until the network, the bell or the clock wants something, and do it.

        Raises:
            LostError: the connection is over.
        """
        client, connection = self._client, self._require()
        pending = getattr(connection, "pending", int)()  # what TLS has read already
        timeout_s = 0.0 if pending else min(_TICK_S, max(0.0, timeout_s))
        waits = select.poll()
        waits.register(connection, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        waits.register(self._bell, select.POLLIN)
        # Not rounded down: a millisecond too early would be a turn too many.
        ready = dict(waits.poll(int(timeout_s * 1000) + 1 if timeout_s else 0))
        self._bell.heard()
        if pending or ready.get(connection.fileno(), 0) & ~select.POLLOUT:
            self._read()
        client.loop_write()
        silent_s = self._settings.keepalive_s * _SILENT
        if time.monotonic() - self._heard_s > silent_s:
            raise LostError(
                f"Nothing came from {self._place} for {silent_s:.1f} s: the broker hangs, or the network is gone."
            )
        client.loop_misc()
        self._require()

    def hang_up(self) -> None:
        """Say goodbye, so that there is no last will, as far as the network takes it at once."""
        self._client.disconnect()

    def close(self) -> None:
        """Let go of it, in whatever state it is."""
        if self._made:
            self._made.close()

    def _read(self) -> None:
        self._heard_s = time.monotonic()
        try:
            code = self._client.loop_read()
        except Exception as error:  # paho's, at what it does not expect
            raise LostError(
                f"What {self._place} sends is no MQTT ({type(error).__name__}): expected an MQTT broker."
            ) from error
        if code == _PROTOCOL_ERROR and not (self.accepted or self._why):
            raise LostError(f"What {self._place} sends is no MQTT: expected an MQTT broker.")
        try:
            packet_bytes = self._client._in_packet["remaining_length"]
        except (AttributeError, LookupError, TypeError):
            raise unfit() from None
        if packet_bytes > _MOST_HEARD_BYTES:
            raise LostError(f"What {self._place} sends is too long: expected an MQTT broker.")

    def _require(self) -> Any:
        connection = self._client.socket()
        if connection is None:
            raise self._why or LostError(
                f"{self._place} ended the connection before it answered: check mqtt.port and mqtt.tls."
            )
        return connection

    def _password(self) -> Optional[bytes]:
        path = self._settings.password_file
        try:
            return read_secret("mqtt.password_file", path) if path is not None else None
        except OutletError as error:
            raise LostError(str(error)) from None

    def _connected(self, _: Client, __: Any, ___: ConnectFlags, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._why = self._refusal(reason)
            return
        self.accepted = True
        self.window = min(_WINDOW, getattr(properties, "ReceiveMaximum", _WINDOW))
        self.most_bytes = getattr(properties, "MaximumPacketSize", None)

    def _refusal(self, reason: ReasonCode) -> LostError:
        place = self._place
        if reason.value == _UNSUPPORTED:
            return LostError(f"{place} knows another version of MQTT: expected 5 or 3.1.1.", slow=True, too_new=True)
        if reason.value in (_WRONG_PASSWORD, _NOT_ALLOWED) and self._settings.user is None:
            return LostError(
                f"{place} lets nobody in without a name: give mqtt.user and mqtt.password_file.", slow=True
            )
        if reason.value in (_WRONG_PASSWORD, _NOT_ALLOWED):
            return LostError(
                f"{place} does not let {self._settings.user!r} in: check mqtt.user and the password in "
                "mqtt.password_file.",
                slow=True,
            )
        return LostError(f"{place} refuses the connection: {reason}.", slow=reason.value in (_WRONG_ID, _BANNED))

    def _disconnected(self, _: Client, __: Any, flags: DisconnectFlags, reason: ReasonCode, ___: Any) -> None:
        place = self._place
        if self._why or not self.accepted:
            return
        if reason.value == _TAKEN_OVER:
            self._why = LostError(namesake(self._place), slow=True)
        elif flags.is_disconnect_packet_from_server:
            self._why = LostError(f"{place} ended the connection: {reason}.")
        else:
            sentence = f"The connection to {place} broke: the broker has ended, or the network is gone."
            self._why = LostError(sentence, unexplained=not self._version_5)

    def _published(self, _: Client, __: Any, number: int, reason: ReasonCode, ___: Any) -> None:
        self.acknowledged.append((number, str(reason) if reason.is_failure else None))

    def _message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        if message.topic == self._availability:
            said_by = dict(getattr(message.properties, "UserProperty", ())).get(_INSTANCE, self._instance)
            self.namesake |= said_by != self._instance
            self.denied = message.payload != ONLINE
        elif not message.retain:
            self.heard.append(bytes(message.payload))

    def _signed(self, packet: str) -> Any:
        properties = self._properties(packet)
        if properties:
            properties.UserProperty = (_INSTANCE, self._instance)
        return properties

    def _properties(self, packet: str) -> Any:
        """None before MQTT 5, which has none."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        if not self._version_5:
            return None
        return Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]


def namesake(place: str) -> str:
    """What to tell where two programs have one name."""
    return f"Another program has come to {place} under this one's name: give each its own mqtt.name."
