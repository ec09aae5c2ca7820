"""What the page's server is asked, and what it answers, without the library that carries it."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Mapping
from typing import Any, Callable, NamedTuple, Optional

import msgspec

MOST_BODY_BYTES = 16_384
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
HTML = "text/html; charset=utf-8"


class Request(NamedTuple):
    """A request, before anybody has looked at whether it may be asked."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By name, whatever its case; as they were sent, so that bytes that are no UTF-8 are lone surrogates."""
    hosts: tuple[str, ...]
    """All that was sent as `Host`."""
    address: str
    """Of whoever asks."""
    body: Callable[[], Awaitable[bytes]]
    """Reads it, at most `MOST_BODY_BYTES`.

    Raises:
        RefusedError: it is longer, or comes too slowly.
    """
    welcome: Callable[[], object]
    """Called when it is clear that this one may ask: its connection is kept before those of strangers."""


class Answer(NamedTuple):
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    kind: Optional[str] = JSON
    """Media type; None of an empty body."""
    headers: Mapping[str, str] = {}


class RefusedError(Exception):
    """Why a request is not answered as it was meant, in one sentence."""

    def __init__(self, status: int, sentence: str, headers: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}

    def answer(self) -> Answer:
        """The same for whoever asked."""
        return Answer(self.status, in_json({"error": self.sentence}), JSON, self.headers)


def in_json(value: object) -> bytes:
    """A value as JSON in UTF-8; text that is no Unicode, as names of files may hold, is escaped."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(_finite(msgspec.to_builtins(value))).encode()


def _finite(value: Any) -> Any:
    """What JSON has no number for is null, as msgspec tells it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


async def read_json(request: Request, kind: type[Any]) -> Any:
    """The body, checked.

    Args:
        request: with a JSON object as its body.
        kind: a `msgspec.Struct` that says how it should be.

    Raises:
        RefusedError: it is something else.
    """
    require_kind(request, JSON)
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, f"The body is not as it should be: {error}.") from None


def require_kind(request: Request, kind: str) -> None:
    """Make sure of the body's media type, which a form on another site's page cannot choose freely.

    Raises:
        RefusedError: it is another.
    """
    sent = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sent != kind:
        raise RefusedError(415, f"The body is {sent or 'of no kind'}: expected Content-Type: {kind}.")
