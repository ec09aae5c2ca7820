"""What can be said about the live page."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Optional

import msgspec
from msgspec import Meta


class WebSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the page is served, to whom, and what it shows."""

    enabled: bool = False
    address: str = "127.0.0.1"
    """127.0.0.1: this machine only; 0.0.0.0: whoever reaches it and has the token."""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8080
    token_file: Optional[str] = None
    """Holds the token in one line; needed on any address but 127.0.0.1 and ::1."""
    hosts: tuple[str, ...] = ()
    """Names by which browsers reach the page, beside addresses, localhost, this machine's name and NAME.local."""
    preview: bool = True
    """Show the live picture; false: nobody sees one."""
    preview_fps: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    """So many live pictures a second at most, and none while nobody looks."""
    preview_px: Annotated[int, Meta(ge=16, le=4096)] = 640
    """Larger pictures are made smaller: the longest side."""
    preview_quality: Annotated[int, Meta(ge=1, le=100)] = 75
    """Of the JPEG pictures."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        return ipaddress.ip_address(self.address).is_loopback
