"""HTTP as far as one page needs it: a request's head in, an answer's bytes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple, Optional

_REQUEST = re.compile(r"([A-Z]{1,20}) ([!-~]{1,2000}) HTTP/1\.[01]")
_HEADER = re.compile(r"([!-9;-~]{1,100}):[ \t]*([^\x00-\x08\n-\x1f\x7f]*?)[ \t]*")


class Request(NamedTuple):
    """What is asked for."""

    method: str
    path: str
    """Without a query."""
    headers: Mapping[str, str]
    """Names in small letters; those that came more than once with commas between."""


class Response(NamedTuple):
    """What is sent."""

    status: HTTPStatus
    content: bytes
    """With its head."""


def parse(head: bytes) -> Optional[Request]:
    """A request's head without the empty line that ends it; None when it is no HTTP/1.0 or 1.1."""
    first, *lines = head.decode("latin-1").split("\r\n")
    asked = _REQUEST.fullmatch(first)
    if asked is None:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            return None
        name, value = found[1].lower(), found[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(asked[1], asked[2].partition("?")[0], headers)


def response(status: HTTPStatus, body: bytes, content_type: str, **headers: str) -> Response:
    """An answer, after which the connection ends.

    Args:
        status: what became of the request.
        body: what is answered.
        content_type: of the body.
        headers: further ones.
    """
    every = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **headers,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in every.items())]
    return Response(status, "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)


def refusal(status: HTTPStatus, sentence: str, **headers: str) -> Response:
    """An answer that says what is wrong."""
    return response(status, f"{sentence}\n".encode(), "text/plain; charset=utf-8", **headers)
