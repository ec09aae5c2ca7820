"""What can be said about outlets."""

from __future__ import annotations

import re
from typing import Annotated, Optional

import msgspec
from msgspec import Meta

from edge.errors import ConfigError

Port = Annotated[int, Meta(ge=1, le=65_535)]

_MOST_TOPIC = 200
_MOST_HOST = 253
_SWITCHES = ("true", "false", "yes", "no", "on", "off")
_WITH_PORT = re.compile(r"(?:[^:/\s]+|\[[^]]*\]):[0-9]+")
_NOT_IN_HOSTS = re.compile(r"[\s/:?#\[\]\\\x00-\x1f\x7f]")


class MqttSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which broker gets what."""

    enabled: bool = False
    host: str = "localhost"
    """The broker's name or address."""
    port: Optional[Port] = None
    """null: 1883, or 8883 with `tls`."""
    user: Optional[str] = None
    password_file: Optional[str] = None
    """Holds the password in one line."""
    tls: bool = False
    ca_file: Optional[str] = None
    """Of the authority that signed the broker's certificate; null: the system's authorities."""
    cert_file: Optional[str] = None
    """This client's own certificate, where the broker asks for one."""
    key_file: Optional[str] = None
    prefix: str = "edge"
    """Topics are PREFIX/NAME/..."""
    name: Optional[str] = None
    """null: the name of this machine."""
    every_frame: bool = False
    """Each frame's record to PREFIX/NAME/frame, beside the changes."""
    state_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 10.0
    """The retained state is sent so often, and with each change."""
    buffer: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """The newest so many changes and events wait for a broker that cannot be reached."""
    keepalive_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    """A broker that is silent for one and a half times as long counts as lost, and so does this program to it."""
    discovery: Optional[str] = None
    """Home Assistant's discovery prefix, "homeassistant"; null: nothing is announced."""


class PrometheusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where metrics are served."""

    enabled: bool = False
    address: str = "127.0.0.1"
    """127.0.0.1: this machine only; 0.0.0.0 or [::] in full (::): whoever reaches it, without a password."""
    port: Port = 9464


def require_address(key: str, text: str) -> None:
    """Make sure that a key's text is an address to listen at.

    Raises:
        ConfigError: it is no IP address.
    """
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ConfigError(
            f"{key} is {text[:_MOST_HOST]!r}: expected an address to listen at, 127.0.0.1 (localhost, for this machine "
            "only), 0.0.0.0 (for all), or one of this machine's IP addresses."
        ) from None


def require_host(text: str) -> None:
    """Make sure that a text is a broker's name or address and nothing more.

    Raises:
        ConfigError: it is not. The sentence tells nothing that stands before an @, which may be a password.
    """
    import ipaddress

    if "@" in text:
        raise ConfigError(
            "mqtt.host holds more than a broker's name: expected that alone, such as broker.local; a user's name goes "
            "into mqtt.user, and the password into the file that mqtt.password_file names."
        )
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
            return
        except ValueError:
            pass
    if _WITH_PORT.fullmatch(text):
        raise ConfigError(f"mqtt.host is {text[:_MOST_HOST]!r}: give the port in mqtt.port, and the name alone here.")
    if not text or len(text) > _MOST_HOST or _NOT_IN_HOSTS.search(text):
        raise ConfigError(
            f"mqtt.host is {text[:_MOST_HOST]!r}: expected a broker's name or its IP address and nothing more, such as "
            "broker.local, 192.168.1.5 or fd00::5."
        )


def require_topic(key: str, text: str) -> None:
    """Make sure that a key's text can be a part of MQTT topics.

    Raises:
        ConfigError: it is empty or long, or holds what has a meaning in topics or is not to be in one: Mosquitto ends
            the connection with a client that sends such a topic. Source: MQTT 5.0, sections 1.5.4 and 4.7.
    """
    edges = not text or text.startswith(("$", "/")) or text.endswith("/")
    if edges or len(text) > _MOST_TOPIC or any(each in "+#" or _is_refused(each) for each in text):
        raise ConfigError(
            f"{key} is {text[:_MOST_TOPIC]!r}: expected a part of topics, up to {_MOST_TOPIC} characters, no control "
            "characters and no + and # among them, no $ at the beginning and no / at either end, such as edge."
        )


def require_prefix(key: str, text: str) -> None:
    """Make sure that a key's text can be Home Assistant's prefix, and is not meant to switch something on or off.

    Raises:
        ConfigError: it is not.
    """
    if text.lower() in _SWITCHES:
        raise ConfigError(
            f"{key} is {text}: expected Home Assistant's prefix, such as homeassistant, or null for none."
        )
    require_topic(key, text)


def _is_refused(character: str) -> bool:
    code = ord(character)
    control = code < 0x20 or 0x7F <= code <= 0x9F
    surrogate = 0xD800 <= code <= 0xDFFF
    no_character = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return control or surrogate or no_character
