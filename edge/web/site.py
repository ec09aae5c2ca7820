"""What becomes of a request: who may ask, who answers, and what is said where that fails."""

from __future__ import annotations

import logging

from edge.errors import EdgeError, JournalError
from edge.outlets.hosts import own_names
from edge.web import access, pages
from edge.web.admission import Admission, says_token
from edge.web.api import Api
from edge.web.messages import Answer, RefusedError, Request
from edge.web.settings import WebSettings

_MOST_TOLD = 50
_log = logging.getLogger(__name__)


class Site:
    """Answers all requests. For the server's thread."""

    def __init__(self, settings: WebSettings, api: Api) -> None:
        """Begin.

        Args:
            settings: who may ask.
            api: answers whoever was let in.
        """
        self.admission = Admission(settings)
        self._api = api
        self._names = own_names(settings.hosts)
        self._told: set[str] = set()

    async def answer(self, request: Request) -> Answer:
        """Answer a request; never raises."""
        try:
            answer = await self._answer(request)
        except RefusedError as error:
            answer = error.answer()
        except JournalError as error:
            answer = RefusedError(503, str(error)).answer()
        except EdgeError as error:  # such as a truth that is no class
            answer = RefusedError(400, str(error)).answer()
        except Exception as error:
            self._tell(request.path, error)
            answer = RefusedError(500, "This failed, which was not expected: the daemon's log tells more.").answer()
        return answer._replace(headers={**access.SECURITY, **answer.headers})

    async def _answer(self, request: Request) -> Answer:
        access.require_host(request, self._names)
        if request.method == "POST":
            access.require_own_page(request, says_token(request))
        # Of what is asked for with HEAD, only the body is left out.
        what = ("GET" if request.method == "HEAD" else request.method, request.path)
        if what == ("GET", "/login"):
            return self.admission.greet(request)
        if what[0] == "GET" and request.path in pages.FILES:
            return pages.page(request.path)
        access.require_same_site(request)
        if what == ("POST", "/login"):
            return await self.admission.log_in(request)
        if what == ("POST", "/logout"):
            return self.admission.log_out(request)
        handler = self._api.handler(*what)
        if handler is None:
            raise self._nothing(request)
        await self.admission.require(request)
        request.welcome()
        return await handler(request)

    def _nothing(self, request: Request) -> RefusedError:
        methods = self._api.methods(request.path)
        methods |= {"GET"} if request.path in pages.FILES else set()
        methods |= {"POST"} if request.path in ("/login", "/logout") else set()
        if not methods:
            return RefusedError(404, "There is nothing here.")
        methods |= {"HEAD"} if "GET" in methods else set()
        allowed = ", ".join(sorted(methods))
        return RefusedError(405, f"{request.path} cannot be asked for so: expected {allowed}.", {"Allow": allowed})

    def _tell(self, path: str, error: Exception) -> None:
        """Tell of a fault once, as the page asks again and again."""
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if what not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(what)
            _log.error("The page's server failed to answer %s, which was not expected: %s", path, what, exc_info=error)
