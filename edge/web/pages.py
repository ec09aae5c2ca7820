"""The files that a browser loads, and logging in."""

from __future__ import annotations

import html
import time
from pathlib import Path
from urllib.parse import parse_qs

from edge.web import token
from edge.web.messages import FORM, HTML, Answer, RefusedError, Request, require_kind

FOLDER = Path(__file__).with_name("page")
_SCRIPTS = (
    *("page", "accuracy", "api", "chart", "dom", "kept", "live"),
    *("login", "picker", "picture", "review", "truth", "words"),
)
FILES = {
    "/": ("index.html", HTML),
    "/login": ("login.html", HTML),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
}
"""Path -> file in `FOLDER`, media type. Nothing in them is secret: a browser gets them before anybody logs in."""
MESSAGE = b"<!--trouble-->"
"""In login.html: what went wrong is put in its place."""


def page(path: str) -> Answer:
    """One of `FILES`.

    Raises:
        RefusedError: the installation has no such file.
    """
    name, kind = FILES[path]
    try:
        return Answer(200, (FOLDER / name).read_bytes(), kind)
    except OSError as error:
        raise RefusedError(404, f"The installation lacks {name}: {error.strerror}.") from None


async def said_token(request: Request) -> bytes:
    """The token that a form says.

    Raises:
        RefusedError: the request is no such form.
    """
    require_kind(request, FORM)
    body = (await request.body()).decode("utf-8", "surrogateescape")
    try:
        fields = parse_qs(body, keep_blank_values=True, errors="surrogateescape", max_num_fields=4)
    except ValueError:
        fields = {}
    return fields.get("token", [""])[0].encode("utf-8", "surrogateescape")


def form_again(refused: RefusedError) -> Answer:
    """The form to log in, with what was wrong.

    Raises:
        RefusedError: the installation has no such form.
    """
    message, form = f'<p class="trouble" role="alert">{html.escape(refused.sentence)}</p>', page("/login")
    body = form.body.replace(MESSAGE, message.encode())
    return form._replace(status=refused.status, body=body, headers=refused.headers)


def to_page() -> Answer:
    """On to the page."""
    return Answer(303, kind=None, headers={"Location": "/"})


def let_in(request: Request, name: str, right: bytes) -> Answer:
    """On to the page, with a cookie.

    Args:
        request: of whoever said the token.
        name: of the cookie.
        right: the token.
    """
    value = token.cookie(right, int(time.time()) + token.LOGGED_IN_S)
    return _cookie(request, name, value, token.LOGGED_IN_S)


def let_out(request: Request, name: str) -> Answer:
    """To the form, without a cookie."""
    return _cookie(request, name, "", 0, "/login")


def cookies_of(request: Request, name: str) -> list[str]:
    """The values of all cookies of a name: a browser may know several, of other folders or an upper domain."""
    parts = (each.strip().partition("=") for each in request.headers.get("Cookie", "").split(";"))
    return [value for called, _, value in parts if called == name]


def _cookie(request: Request, name: str, value: str, seconds: int, to: str = "/") -> Answer:
    # This server speaks no TLS; but where something before it does, the browser tells.
    secure = "; Secure" if request.headers.get("Origin", "").lower().startswith("https://") else ""
    cookie = f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    return Answer(303, kind=None, headers={"Location": to, "Set-Cookie": cookie})
