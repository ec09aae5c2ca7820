"""What is to be sent."""

from __future__ import annotations

from typing import Optional

from edge.outlets.mqtt.buffer import Bell, Buffer
from edge.outlets.mqtt.messages import Message
from edge.overview import Overview
from edge.records import Record

DEATHS = 3
"""Of connections, at which a message is given up. The promise is to deliver all, and a broker may well die twice by
chance; but one that never takes a message would hold up all others for ever."""
_FRAMES = 32
"""Wait for the thread at most: about a second of them."""


class Outbox:
    """What the other threads leave for the one that sends."""

    def __init__(self, most: int) -> None:
        """Begin empty.

        Args:
            most: changes and events that wait.
        """
        self.messages: Buffer[Message] = Buffer(most)
        self.frames: Buffer[Record] = Buffer(_FRAMES)
        self.frames.shut()
        self.overview: Optional[Overview] = None
        self.state_wanted = False
        self.bell = Bell()
        self.delivered = self.refused = 0
        """Counted by the one that sends; changes, events and frames that are refused are counted by their buffers."""
        self.refusals: dict[str, str] = {}
        """Topics to which the broker took nothing when it last got something, and why."""
        self.was_online = False
        """Whether a broker has ever taken that we are there."""
        self._suspect: Optional[Message] = None
        """At which the broker ended the last connection, and before that others."""
        self._deaths = 0

    def put(self, message: Message) -> None:
        """Have a message sent, and the state after it."""
        self.messages.put(message)
        self.state_wanted = True
        self.bell.ring()

    @property
    def dropped(self) -> int:
        """All that was not delivered and will not be."""
        return self.messages.dropped + self.frames.dropped + self.refused

    @property
    def waiting(self) -> int:
        """All that will be."""
        return len(self.messages) + len(self.frames)

    def is_deadly(self, message: Message, *, others_pass: bool) -> bool:
        """Take note that the broker ended a connection in which this message was the first one not acknowledged.

        Args:
            message: a change or an event.
            others_pass: the broker took others in that connection.

        Returns:
            Whether so many connections in a row ended there, with nothing done, that it is to be given up.
        """
        again = message is self._suspect and not others_pass
        self._suspect, self._deaths = message, self._deaths + 1 if again else 1
        return self._deaths >= DEATHS
