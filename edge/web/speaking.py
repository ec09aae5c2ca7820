"""What speaks HTTP on a connection: aiohttp's, but for what it says itself of requests that are none."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Optional

from edge.web.access import SECURITY
from edge.web.messages import RefusedError

if TYPE_CHECKING:
    from aiohttp import web


@cache
def speaking() -> type[web.RequestHandler]:
    """Aiohttp's protocol, which tells neither its version nor what it made of the request."""
    from aiohttp import web

    class Speaking(web.RequestHandler):
        __slots__ = ()

        def handle_error(
            self,
            request: web.BaseRequest,
            status: int = 500,
            exc: Optional[BaseException] = None,
            message: Optional[str] = None,
        ) -> web.StreamResponse:
            super().handle_error(request, status, exc, message)
            answer = RefusedError(status, "The request is not as HTTP has it.").answer()
            headers = {**SECURITY, "Content-Type": str(answer.kind)}
            response = web.Response(status=answer.status, body=answer.body, headers=headers)
            response.force_close()
            return response

    return Speaking
