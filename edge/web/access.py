"""Who may ask: by which name the page is reached, and from which page a request comes."""

from __future__ import annotations

from collections.abc import Mapping

from edge.outlets.hosts import host_of, is_own
from edge.web.messages import RefusedError, Request

SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with that a browser sends `Origin: null` with the form of /login.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "edge",
}
"""Headers of every answer."""


def require_host(request: Request, names: frozenset[str]) -> None:
    """Make sure that a browser reached this server by a name of its own; see `edge.outlets.hosts`.

    Raises:
        RefusedError: it is another name, or none.
    """
    host = request.hosts[0] if len(request.hosts) == 1 else ""
    if not is_own(host, names):
        raise RefusedError(
            421,
            f"This page is not known as {host_of(host)[:100]!r}: use this machine's name or address, or add the "
            "name to web.hosts in the configuration.",
        )


def require_own_page(request: Request, says_token: bool) -> None:
    """Make sure that what changes something was sent by the page itself, and not by another one in the same browser.

    Args:
        request: to be looked at; its host is known to be this one.
        says_token: it brings the token itself, as programs do, which no other page knows.

    Raises:
        RefusedError: it comes from elsewhere, or does not say from where.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        if not says_token:
            raise RefusedError(403, "The request does not say which page sent it: expected the header Origin.")
    elif origin.lower() not in {f"{scheme}://{request.hosts[0].strip().lower()}" for scheme in ("http", "https")}:
        raise RefusedError(403, f"Another page sent this ({origin[:100]!r}): expected this one.")
    require_same_site(request)


def require_same_site(request: Request) -> None:
    """Make sure that no other site's page embeds this, where the browser tells.

    Raises:
        RefusedError: one does.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise RefusedError(403, "Another site's page asked for this: open this page itself.")
