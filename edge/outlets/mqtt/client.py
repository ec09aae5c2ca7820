"""A client of paho's, on a socket of our own."""

from __future__ import annotations

import functools
import socket
import ssl
from typing import TYPE_CHECKING, Any, Callable, Optional

from edge.extras import how_to_install
from edge.outlets.mqtt.dialing import LostError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_PIECE_BYTES = 4096


class Patient:
    """A socket that goes on when the other side takes no more, until what that said before has been read.

    It is read in small pieces, as paho asks for as many bytes as the other side pretends to send.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, content: bytes) -> int:
        try:
            return self._connection.send(content)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return len(content)  # reading comes to the end, too

    def recv(self, most_bytes: int) -> bytes:
        return self._connection.recv(min(most_bytes, _PIECE_BYTES))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def paho(client_id: str, version_5: bool, made: Callable[[], Optional[Patient]]) -> Client:
    """Make one that takes a socket which is connected already: within one time limit, and closed whatever happens.

    Raises:
        LostError: this paho is too new for that.
    """
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    if not hasattr(Client, "_create_socket"):
        raise unfit()
    version = MQTTProtocolVersion.MQTTv5 if version_5 else MQTTProtocolVersion.MQTTv311
    client: Client = _on_made()(CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False)
    client.made = made  # type: ignore[attr-defined]
    return client


def unfit() -> LostError:
    """What to tell where paho is not what it was: what it keeps to itself differs."""
    return LostError(f"paho-mqtt is of a version that is not known here: {how_to_install('mqtt')}.", slow=True)


@functools.cache
def _on_made() -> Callable[..., Any]:
    from paho.mqtt.client import Client

    class OnMade(Client):
        made: Callable[[], Any]

        def _create_socket(self) -> Any:
            return self.made()

    return OnMade
