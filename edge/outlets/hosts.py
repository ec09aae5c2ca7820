"""By which names a server on this machine may be reached.

A browser sends the name that it was given. Were any name taken, another site's could be pointed at this machine ("DNS
rebinding"), and its page would read along. An address cannot be pointed elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from edge.outlets import host_name


def own_names(further: Iterable[str] = ()) -> frozenset[str]:
    """The names by which this machine may be reached, beside addresses.

    Args:
        further: as somebody configured them.
    """
    short = host_name()
    return frozenset(
        name.lower().rstrip(".") for name in ("localhost", short, f"{short}.local", socket.gethostname(), *further)
    )


def is_own(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header has one of these names, or an address, with or without a port."""
    name = host_of(host)
    return name in names or _is_address(name)


def host_of(host: str) -> str:
    """The name or address in a `Host` header, without its port; "" where it is none."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host.strip().lower(), ""
    if port and not (port.isascii() and port.isdigit()):
        return ""
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return "" if ":" in name else name.rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
