"""The way to a broker: its name, TCP and TLS; what goes wrong there is one sentence."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Optional

from edge.cameras import local_path
from edge.outlets.settings import MqttSettings

_BUFFER_BYTES = 65_536
"""Of the kernel, each way: what it takes from us without a broker that reads it, and from a peer that floods us."""
_LEAST_S = 0.1
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""Of OpenSSL's x509_vfy.h, as the two lines above."""


class LostError(Exception):
    """There is no connection, or none any more; the words tell why."""

    def __init__(self, sentence: str, *, slow: bool = False, too_new: bool = False, unexplained: bool = False) -> None:
        """Why.

        Args:
            sentence: for a person.
            slow: somebody has to do something about it; trying again soon is of no use.
            too_new: the broker does not know MQTT 5.
            unexplained: the broker ended the connection, and cannot tell why, as it speaks MQTT 3.1.1.
        """
        super().__init__(sentence)
        self.slow, self.too_new, self.unexplained = slow, too_new, unexplained


def port_of(settings: MqttSettings) -> int:
    """The broker's port."""
    return settings.port or (8883 if settings.tls else 1883)


def where(settings: MqttSettings) -> str:
    """The broker's address for a person."""
    host = settings.host
    return f"{'mqtts' if settings.tls else 'mqtt'}://{f'[{host}]' if ':' in host else host}:{port_of(settings)}"


def dial(settings: MqttSettings, until_s: float) -> socket.socket:
    """A connection over which nothing has been said yet.

    Args:
        settings: which broker, and how.
        until_s: on the monotonic clock; only the look-up of the name may take longer.

    Raises:
        LostError: there is no way.
    """
    context = _context(settings) if settings.tls else None
    connection = _connected(settings, until_s)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _encrypted(settings, connection, context, until_s) if context else connection
    except BaseException:
        connection.close()
        raise


def _connected(settings: MqttSettings, until_s: float) -> socket.socket:
    place = where(settings)
    try:
        found = socket.getaddrinfo(settings.host, port_of(settings), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no name"
        raise LostError(
            f"Cannot find {settings.host!r} ({why}): check mqtt.host, and this machine's network and DNS."
        ) from None
    failure: Optional[OSError] = None
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            connection.settimeout(max(_LEAST_S, (until_s - time.monotonic()) / (len(found) - tried)))
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            failure = error
    if isinstance(failure, ConnectionRefusedError):
        raise LostError(f"Nothing listens at {place}: start the broker, or check mqtt.host and mqtt.port.")
    if isinstance(failure, (TimeoutError, socket.timeout)):
        raise LostError(f"No answer from {place}: check mqtt.host, the network, and firewalls.")
    raise LostError(f"Cannot reach {place} ({getattr(failure, 'strerror', None) or failure}): check the network.")


def _encrypted(
    settings: MqttSettings, connection: socket.socket, context: ssl.SSLContext, until_s: float
) -> ssl.SSLSocket:
    place = where(settings)
    encrypted = context.wrap_socket(connection, server_hostname=settings.host, do_handshake_on_connect=False)
    try:
        encrypted.settimeout(max(_LEAST_S, until_s - time.monotonic()))
        encrypted.do_handshake()
        return encrypted
    except ssl.SSLCertVerificationError as error:
        encrypted.close()
        raise LostError(f"The certificate of {place} {_why_not_trusted(error, settings)}") from None
    except (TimeoutError, socket.timeout):
        encrypted.close()
        raise LostError(
            f"No TLS answer from {place}: check mqtt.port, and that the broker expects TLS there."
        ) from None
    except (OSError, ValueError) as error:
        encrypted.close()
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise LostError(
            f"Cannot agree on TLS with {place} ({why}): check mqtt.port, and that the broker expects TLS there."
        ) from None


def _why_not_trusted(error: ssl.SSLCertVerificationError, settings: MqttSettings) -> str:
    if error.verify_code == _EXPIRED:
        return "has expired: renew it at the broker, or set this machine's clock."
    if error.verify_code == _NOT_YET_VALID:
        return "is not valid yet: set this machine's clock."
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return f"is for another name than {settings.host!r}: give the one in the certificate as mqtt.host."
    if error.verify_code in _UNKNOWN_AUTHORITY:
        known = f"that of mqtt.ca_file, {settings.ca_file!r}" if settings.ca_file else "one that this system knows"
        return f"is of another authority than {known}: name the file with its authority in mqtt.ca_file."
    return f"cannot be trusted: {error.verify_message}."


def _context(settings: MqttSettings) -> ssl.SSLContext:
    for key, path in (
        ("ca_file", settings.ca_file),
        ("cert_file", settings.cert_file),
        ("key_file", settings.key_file),
    ):
        if path is not None:
            _require_readable(f"mqtt.{key}", path)
    ca_file = str(local_path(settings.ca_file)) if settings.ca_file else None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):
        raise LostError(
            f"Key mqtt.ca_file names {settings.ca_file!r}, which holds no certificate in PEM form."
        ) from None
    if ca_file:
        # Python 3.13 refuses an authority that says too little of itself, as home-made ones do, and others take it.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.cert_file and settings.key_file:
        cert_file, key_file = (str(local_path(path)) for path in (settings.cert_file, settings.key_file))
        try:
            context.load_cert_chain(cert_file, key_file, password="")  # else OpenSSL asks at the terminal
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or "no PEM form, or a key with a password"
            raise LostError(
                f"Files mqtt.cert_file {settings.cert_file!r} and mqtt.key_file {settings.key_file!r} are no "
                f"certificate and its key ({why}): expected both in PEM form, the key without a password."
            ) from None
    return context


def _require_readable(key: str, path: str) -> None:
    try:
        with local_path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise LostError(f"Key {key} names {path!r}, which cannot be read: {why}.") from None
