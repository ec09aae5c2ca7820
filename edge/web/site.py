"""What is answered to each request: who may ask, where it goes, and what becomes of errors."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable
from typing import Callable, Optional

import msgspec

from edge.errors import EdgeError, JournalError, LabelError, OutletError
from edge.web import access, pages
from edge.web.messages import Answer, RefusedError, Request, in_json, read_json
from edge.web.preview import Preview
from edge.web.run import Run
from edge.web.settings import WebSettings
from edge.web.ticks import Ticks
from edge.web.token import Guesses, TokenFile, lets_in

_BEARER = "Bearer "
_MOST_TOLD = 50
_log = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Answer]]


class Site:
    """Answers requests. For the server's thread, but `run` is set by another."""

    def __init__(self, settings: WebSettings, preview: Preview) -> None:
        """Begin.

        Args:
            settings: who may ask, and for what.
            preview: the live picture.
        """
        self.run: Optional[Run] = None
        """The present one."""
        self.ticks = Ticks(lambda: self.run, self._features)
        self._settings, self._preview = settings, preview
        # Browsers do not tell the ports of a machine apart.
        self._cookie = f"edge-{settings.port}"
        self._names = access.own_names(settings.hosts)
        self._token = TokenFile(settings.token_file) if settings.token_file else None
        self._guesses = Guesses()
        self._faults: set[str] = set()
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/api/state"): self._state,
            ("GET", "/api/labels"): self._labels,
            ("GET", "/picture.jpg"): self._picture,
            ("POST", "/api/truth"): self._truth,
        }

    def _features(self, run: Run) -> dict[str, bool]:
        """What the page can do."""
        return {
            "preview": self._settings.preview,
            "truth": True,
            "review": run.overview.journal is not None,
            "login": self._token is not None,
        }

    async def answer(self, request: Request) -> Answer:
        """Answer a request; never raises."""
        try:
            answer = await self._answer(request)
        except RefusedError as refusal:
            answer = refusal.answer()
        except LabelError as error:
            answer = RefusedError(400, str(error)).answer()
        except (JournalError, OutletError) as error:
            answer = RefusedError(503, str(error)).answer()
        except EdgeError as error:
            answer = RefusedError(400, str(error)).answer()
        except Exception as error:
            self._tell(request.path, error)
            answer = RefusedError(500, "This went wrong, which was not expected: the daemon's log tells more.").answer()
        return answer._replace(headers={**access.SECURITY, **answer.headers})

    async def _answer(self, request: Request) -> Answer:
        access.require_host(request, self._names)
        says_token = request.headers.get("Authorization", "").startswith(_BEARER)
        if request.method == "POST":
            access.require_own_page(request, says_token)
        if request.path in pages.FILES and request.method == "GET":
            return self._page(request)
        access.require_same_site(request)
        if (request.method, request.path) == ("POST", "/login"):
            return await self._log_in(request)
        if (request.method, request.path) == ("POST", "/logout"):
            return pages.let_out(request, self._cookie)
        handler = self._handler(request)
        await self._require_token(request)
        request.welcome()
        return await handler(request)

    def _handler(self, request: Request) -> Handler:
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            others = {
                method
                for method, path in (*self._routes, ("POST", "/login"), ("POST", "/logout"))
                if path == request.path
            }
            if request.path in pages.FILES:
                others.add("GET")
            if others:
                allowed = ", ".join(sorted(others))
                raise RefusedError(
                    405, f"{request.path} takes no {request.method[:20]}: expected {allowed}.", {"Allow": allowed}
                )
            raise RefusedError(404, "There is nothing here.")
        return handler

    def _page(self, request: Request) -> Answer:
        if request.path == "/login" and (self._token is None or self._knows(request, self._token.read())):
            return Answer(303, kind=None, headers={"Location": "/"})
        return pages.page(request.path)

    async def _log_in(self, request: Request) -> Answer:
        if self._token is None:
            return Answer(303, kind=None, headers={"Location": "/"})
        right, said = self._token.read(), await pages.said_token(request)
        try:
            if await self._guesses.right(said, right, request.address):
                return pages.let_in(request, self._cookie, right)
        except RefusedError as refusal:
            return pages.refused(refusal.sentence, refusal.status)
        return pages.refused("That is not the token.")

    async def _require_token(self, request: Request) -> None:
        if self._token is None:
            return
        right = self._token.read()
        if self._knows(request, right):
            return
        said = request.headers.get("Authorization", "")
        advice = "log in at /login, or send the header Authorization: Bearer TOKEN."
        if not said.startswith(_BEARER):
            raise RefusedError(401, f"Nobody has logged in: {advice}", {"WWW-Authenticate": "Bearer"})
        token = said[len(_BEARER) :].encode("utf-8", "surrogateescape")
        if not await self._guesses.right(token, right, request.address):
            raise RefusedError(401, f"That is not the token: {advice}", {"WWW-Authenticate": "Bearer"})

    def _knows(self, request: Request, right: bytes) -> bool:
        value = pages.cookie_of(request, self._cookie)
        return value is not None and lets_in(value, right, time.time())

    async def _state(self, request: Request) -> Answer:
        return Answer(body=await self.ticks.next(_number(request, "after")))

    async def _labels(self, _: Request) -> Answer:
        return Answer(body=self._present().labels)

    async def _picture(self, request: Request) -> Answer:
        if not self._settings.preview:
            raise RefusedError(404, "Live pictures are switched off (web.preview).")
        picture = await self._preview.next(_number(request, "after"))
        if picture is None:
            return Answer(204, kind=None)
        headers = {"X-Sequence": str(picture.sequence), "X-Utc": picture.utc}
        return Answer(200, picture.content, "image/jpeg", headers)

    async def _truth(self, request: Request) -> Answer:
        said = await read_json(request, _Truth)
        return Answer(
            body=in_json(self._present().overview.answer_truth({"do": "truth", "name": said.name, "by": "page"}))
        )

    def _present(self) -> Run:
        if self.run is None:
            raise RefusedError(503, "No run has begun yet: try again in a moment.")
        return self.run

    def _tell(self, path: str, error: Exception) -> None:
        """Tell of a fault once, as the page asks again and again."""
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if what not in self._faults and len(self._faults) < _MOST_TOLD:
            self._faults.add(what)
            _log.error("The page's server failed to answer %s, which was not expected: %s", path, what, exc_info=error)


class _Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Optional[str]


def _number(request: Request, name: str) -> Optional[int]:
    text = request.query.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise RefusedError(400, f"{name} is {text[:50]!r}: expected a whole number.")
    return int(text)
