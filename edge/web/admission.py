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
from edge.web.token import Guesses, Kept, lets_in

_BEARER = "Bearer "
_ADVICE = "log in at /login, or send the header Authorization: Bearer TOKEN."


class Admission:
    """Knows the token, where one is configured; else all are let in. For the server's thread."""

    def __init__(self, settings: WebSettings) -> None:
        """Nothing is read yet."""
        path = settings.token_file
        self._token = None if path is None else Kept(lambda: read_secret("web.token_file", path))
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
            OutletError: the token cannot be read.
        """
        if self._token is None:
            return True
        value = pages.cookie_of(request, self._cookie)
        return value is not None and lets_in(value, self._token.read(), time.time())

    async def require(self, request: Request) -> None:
        """Make sure that a request brings the token, or a cookie.

        Raises:
            OutletError: the token cannot be read.
            RefusedError: it does not.
        """
        if self.is_in(request) or self._token is None:
            return
        if not says_token(request):
            raise RefusedError(401, f"Nobody has logged in: {_ADVICE}", {"WWW-Authenticate": "Bearer"})
        said = request.headers["Authorization"][len(_BEARER) :].encode("utf-8", "surrogateescape")
        if not await self._guesses.right(said, self._token.read(), request.address):
            raise RefusedError(401, f"That is not the token: {_ADVICE}", {"WWW-Authenticate": "Bearer"})

    async def log_in(self, request: Request) -> Answer:
        """Answer the form.

        Raises:
            OutletError: the token cannot be read.
            RefusedError: the request is no such form.
        """
        if self._token is None:
            return pages.to_page()
        said = await pages.said_token(request)
        right = self._token.read()
        try:
            if await self._guesses.right(said, right, request.address):
                return pages.let_in(request, self._cookie, right)
        except RefusedError as refused:
            return pages.form_again(refused.sentence, refused.status)
        return pages.form_again("That is not the token.", 401)

    def log_out(self, request: Request) -> Answer:
        """Take the cookie away."""
        return pages.let_out(request, self._cookie)


def says_token(request: Request) -> bool:
    """Whether a request brings a token itself, right or wrong, as programs do."""
    return request.headers.get("Authorization", "").startswith(_BEARER)
