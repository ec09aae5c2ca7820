"""What speaks HTTP on a connection: aiohttp's, but for what it says itself of requests that are none."""

from __future__ import annotations

from typing import Optional

from aiohttp import web

from edge.web.access import SECURITY
from edge.web.messages import RefusedError


class Speaking(web.RequestHandler):
    """Tells neither its version nor what it made of the request."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: Optional[BaseException] = None,
        message: Optional[str] = None,
    ) -> web.StreamResponse:
        """What is answered where nobody could be asked."""
        super().handle_error(request, status, exc, message)
        answer = RefusedError(status, "The request is not as HTTP has it.").answer()
        headers = {**SECURITY, "Content-Type": str(answer.kind)}
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        response.force_close()
        return response
