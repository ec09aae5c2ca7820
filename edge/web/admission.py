"""Lets in whoever has the token: with it, or with the cookie that a browser got for it."""

from __future__ import annotations

import contextlib
import time
from typing import Optional

from edge.errors import OutletError
from edge.outlets.secret import read_secret
from edge.web import pages
from edge.web.messages import Answer, RefusedError, Request
from edge.web.settings import WebSettings
from edge.web.token import Guesses, Kept, lets_in, trimmed

_SCHEME = "bearer"
_MOST_COOKIES = 4
_ADVICE = "log in at /login, or send the header Authorization: Bearer TOKEN."
_UNREADABLE = "Nobody is let in: the device cannot read its token (web.token_file); its log tells why."


class Admission:
    """Knows the token, where one is configured; else all are let in. For the server's thread."""

    def __init__(self, settings: WebSettings) -> None:
        """Nothing is read yet."""
        path = settings.token_file
        self._token = None if path is None else Kept(lambda: _read(path))
        # Browsers do not tell the ports of a machine apart.
        self._cookie = f"edge-{settings.port}"
        self._guesses = Guesses()

    @property
    def trouble(self) -> Optional[str]:
        """Why nobody is let in."""
        return self._token.trouble if self._token else None

    def look(self) -> None:
        """Read the token before anybody asks, so that it is told in time what is wrong with it."""
        if self._token:
            with contextlib.suppress(OutletError):
                self._token.read()

    def is_in(self, request: Request) -> bool:
        """Whether a request brings a cookie that lets it in, or needs none.

        Raises:
            RefusedError: the token cannot be read.
        """
        if self._token is None:
            return True
        values = pages.cookies_of(request, self._cookie)[:_MOST_COOKIES]
        token = _known(self._token) if values else b""
        return any(lets_in(value, token, time.time()) for value in values)

    async def require(self, request: Request) -> None:
        """Make sure that a request brings the token, or a cookie.

        Raises:
            RefusedError: it does not, or the token cannot be read.
        """
        if self.is_in(request) or self._token is None:
            return
        said = _said(request)
        if said is None:
            raise RefusedError(401, f"Nobody has logged in: {_ADVICE}", {"WWW-Authenticate": "Bearer"})
        if not await self._guesses.right(said, _known(self._token), request.address):
            raise RefusedError(401, f"That is not the token: {_ADVICE}", {"WWW-Authenticate": "Bearer"})

    def greet(self, request: Request) -> Answer:
        """The form, or on to the page for whoever is in."""
        try:
            return pages.to_page() if self.is_in(request) else pages.page("/login")
        except RefusedError as refused:
            return pages.form_again(refused)

    async def log_in(self, request: Request) -> Answer:
        """Answer the form."""
        if self._token is None:
            return pages.to_page()
        try:
            said = await pages.said_token(request)
            right = _known(self._token)
            if await self._guesses.right(said, right, request.address):
                return pages.let_in(request, self._cookie, right)
        except RefusedError as refused:
            return pages.form_again(refused)
        return pages.form_again(RefusedError(401, "That is not the token."))

    def log_out(self, request: Request) -> Answer:
        """Take the cookie away."""
        return pages.let_out(request, self._cookie)


def says_token(request: Request) -> bool:
    """Whether a request brings a token itself, right or wrong, as programs do."""
    return _said(request) is not None


def _said(request: Request) -> Optional[bytes]:
    scheme, _, said = request.headers.get("Authorization", "").partition(" ")
    return said.encode("utf-8", "surrogateescape") if scheme.lower() == _SCHEME else None


def _read(path: str) -> bytes:
    token = trimmed(read_secret("web.token_file", path))
    if not token:
        raise OutletError(f"Key web.token_file names {path!r}, which holds no token: expected one in one line.")
    return token


def _known(token: Kept) -> bytes:
    try:
        return token.read()
    except OutletError:  # which names the file, and is in the log
        raise RefusedError(503, _UNREADABLE) from None
