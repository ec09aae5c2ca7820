"""Who may ask: by which names, from which pages, with which token."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import Classifier
from edge.outlets.hosts import host_of
from edge.web import token
from edge.web.messages import RefusedError
from edge.web.token import Guesses, cookie, lets_in, same
from tests.journaling import until
from tests.web import Page, served

TOKEN = "pässword with spaces & 100 %"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module", autouse=True)
def hasty() -> Iterator[None]:
    """A wrong token is refused sooner, so that tests need not wait."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(token, "WRONG_S", 0.4)
        yield


@pytest.fixture(scope="module")
def page(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Asks for a token."""
    folder = tmp_path_factory.mktemp("page")
    with served(classifier, folder, journal=False, token=TOKEN, hosts=("Camera.Example",)) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    # http.client sends Latin-1; so these are UTF-8's bytes.
    return {"Authorization": f"Bearer {token}".encode().decode("latin-1")}


def port(page: Page) -> str:
    return page.url.rpartition(":")[2]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        *[("pi.local", "pi.local"), ("PI.local.:8080", "pi.local"), ("10.0.0.1:80", "10.0.0.1")],
        *[("[::1]", "::1"), ("[FE80::1]:8080", "fe80::1"), ("::1", ""), ("pi:x", ""), ("pi:80:80", ""), ("", "")],
        *[("pi@evil", "pi@evil"), ("[::1", ""), ("pi:", "pi")],
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_of(host) == name


@given(st.text())
def test_any_host_header_has_a_name_or_none(host: str) -> None:
    assert host_of(host) in host.lower() or host_of(host) == ""


def test_the_page_is_reached_by_its_own_names_only(page: Page) -> None:
    own = [
        "localhost",
        "127.0.0.1",
        "192.168.1.7",
        "[fe80::1]",
        socket.gethostname(),
        "camera.example",
        "CAMERA.example.",
    ]
    for name in (*own, "CAMERA.example."):
        for host in (name, f"{name}:8080"):
            assert page.get("/", Host=host).status == 200, host
    for host in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "camera.example.evil:80",
        "x:y",
        " ",
    ):
        for path in ("/", "/api/state", "/login", "/nothing"):
            reply = page.get(path, Host=host)
            assert reply.status in (400, 421), (host, path)
    assert "web.hosts" in page.get("/", Host="evil.example").json["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},  # another port
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_pages_cannot_tell_it_anything(page: Page, headers: dict[str, str]) -> None:
    known = {"Cookie": page.log_in(TOKEN)}
    assert page.post("/api/truth", {"name": None}, **known).status == 200
    assert page.post("/api/truth", {"name": None}, **known, **headers).status == 403
    assert page.post("/login", b"token=x", Content_Type=FORM, **headers).status == 403
    assert page.post("/logout", b"", **headers).status == 403


def test_what_says_no_page_needs_the_token_itself(page: Page) -> None:
    import urllib.request

    def post(**headers: str) -> int:
        told = {"Content-Type": "application/json", **headers}
        return page._asked(urllib.request.Request(page.url + "/api/truth", b'{"name": null}', told)).status

    assert post(Cookie=page.log_in(TOKEN)) == 403
    assert post(**bearer(TOKEN)) == 200


def test_other_sites_cannot_embed_its_pictures(page: Page) -> None:
    known = {"Cookie": page.log_in(TOKEN)}
    reply = page.get("/picture.jpg", **known, Sec_Fetch_Site="same-origin")
    assert (reply.status, reply.headers["Cross-Origin-Resource-Policy"]) == (200, "same-origin")
    assert page.get("/picture.jpg", **known, Sec_Fetch_Site="cross-site").status == 403
    # A link from elsewhere leads to the page.
    assert page.get("/", Sec_Fetch_Site="cross-site").status == 200


def test_a_form_of_another_page_is_no_json(page: Page) -> None:
    known = {"Cookie": page.log_in(TOKEN)}
    for kind in ("text/plain", FORM, ""):
        assert page.post("/api/truth", {"name": None}, **known, Content_Type=kind).status == 415


def test_without_the_token_there_is_only_the_page_itself(page: Page) -> None:
    for path in (
        "/api/state",
        "/api/labels",
        "/picture.jpg",
        "/api/review/next",
        "/api/review/picture/1",
        "/api/accuracy",
    ):
        reply = page.get(path)
        assert (reply.status, "/login" in reply.json["error"]) == (401, True), path
    for path in ("/api/truth", "/api/review/label", "/api/review/undo"):
        assert page.post(path, {}).status == 401
    assert page.get("/").status == 200
    assert page.get("/login").status == 200


def test_the_token_lets_in(page: Page) -> None:
    assert page.get("/api/state", **bearer(TOKEN)).status == 200
    assert page.get("/api/state?token=x").status == 401


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_blanks_around_the_token_and_the_schemes_case_are_ignored(page: Page, scheme: str) -> None:
    said = f"{scheme}  \u00a0{TOKEN}\t ".encode().decode("latin-1")
    assert page.get("/api/state", Authorization=said).status == 200
    form = b"token=+%C2%A0p%C3%A4ssword+with+spaces+%26+100+%25%20"
    assert page.post("/login", form, Content_Type=FORM).status == 303


def test_a_wrong_token_is_refused_slowly(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    began_s = time.monotonic()
    assert page.get("/api/state", **bearer("wrong")).status == 401
    assert time.monotonic() - began_s > 0.9 * token.WRONG_S
    reply = page.post("/login", b"token=%3Cscript%3E", Content_Type=FORM)
    assert reply.status == 401
    assert "Set-Cookie" not in reply.headers
    assert b"script%3E" not in reply.body
    assert "wrong" not in caplog.text.replace("wrong token", "")


def test_logging_in_and_out(page: Page) -> None:
    reply = page.post("/login", b"token=p%C3%A4ssword+with+spaces+%26+100+%25", Content_Type=FORM)
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    told = reply.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in told.split(";")}
    assert "Secure" not in told
    assert "ssword" not in told
    known = {"Cookie": f"other=1; {told.partition(';')[0]}; more"}
    assert page.get("/api/state", **known).status == 200
    assert page.get("/login", **known).status == 303
    name = told.partition("=")[0]
    assert page.get("/api/state", Cookie=f"{name}=stale; {told.partition(';')[0]}").status == 200
    assert page.get("/api/state", Cookie=f"{f'{name}=stale; ' * 9}{told.partition(';')[0]}").status == 401
    out = page.post("/logout", b"", **known)
    assert (out.status, out.headers["Location"]) == (303, "/login")
    assert "Max-Age=0" in out.headers["Set-Cookie"]


def test_what_is_no_form_is_answered_with_the_form(page: Page) -> None:
    for kind, body, status in (("application/json", b"{}", 415), (FORM, b"token=" + 20_000 * b"x", 413)):
        reply = page.post("/login", body, Content_Type=kind)
        assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert b'class="trouble"' in reply.body


def test_where_something_before_it_speaks_tls_the_cookie_is_for_tls_only(page: Page) -> None:
    host = page.url.partition("//")[2]
    body = b"token=p%C3%A4ssword+with+spaces+%26+100+%25"
    reply = page.post("/login", body, Content_Type=FORM, Origin=f"https://{host}")
    assert "Secure" in reply.headers["Set-Cookie"]


@pytest.mark.parametrize("value", ["", "x", "1.x", "99999999999.", "99999999999." + "0" * 64, "-1.x", "²." + "0" * 64])
def test_made_up_cookies_do_not_let_in(page: Page, value: str) -> None:
    name = page.log_in(TOKEN).partition("=")[0]
    headers = {"Cookie": f"{name}={value}".encode().decode("latin-1")}
    assert page.get("/api/state", **headers).status == 401


@given(st.binary(min_size=1, max_size=40), st.integers(0, 10**12 - 1), st.text(max_size=80))
def test_cookies_let_in_until_they_end_and_nothing_else_does(right: bytes, until_s: int, made_up: str) -> None:
    value = cookie(right, until_s)
    assert lets_in(value, right, until_s - 1)
    assert not lets_in(value, right, until_s)
    assert not lets_in(value, right + b"x", until_s - 1)
    assert not lets_in(made_up, right, 0)
    assert not lets_in(f"{until_s + 1}.{value.partition('.')[2]}", right, 0)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_token_is_the_same_or_not(said: bytes, right: bytes) -> None:
    assert same(said, right) == (said == right)


def test_guessing_is_slow_and_locks_nobody_out_who_is_in(page: Page) -> None:
    known = {"Cookie": page.log_in(TOKEN)}
    with ThreadPoolExecutor(12) as clients:
        began_s = time.monotonic()
        guesses = [clients.submit(page.get, "/api/state", **bearer(f"guess {number}")) for number in range(12)]
        assert page.get("/api/state", **known).status == 200
        statuses = [guess.result(20).status for guess in guesses]
        took_s = time.monotonic() - began_s
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= 4 * (1 + took_s / token.WRONG_S)
    until(lambda: page.get("/api/state", **bearer(TOKEN)).status == 200, "the right token")


def test_hanging_up_does_not_make_guessing_faster(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "WRONG_S", 5.0)
    until(lambda: page.get("/api/state", **bearer(TOKEN)).status == 200, "a quiet moment")
    for number in range(4):
        with socket.create_connection(("127.0.0.1", int(port(page)))) as guess:
            told = f"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {number}\r\n\r\n"
            guess.sendall(told.encode())
            time.sleep(0.05)
    assert page.get("/api/state", **bearer("fifth")).status == 429


def test_wrong_tokens_of_others_do_not_concern_whoever_said_the_right_one() -> None:
    async def tried() -> None:
        guesses = Guesses()
        assert await guesses.right(b"right", b"right", "192.0.2.99")
        wrong = [
            asyncio.ensure_future(guesses.right(b"wrong", b"right", f"192.0.2.{number % 4}")) for number in range(16)
        ]
        await asyncio.sleep(0)
        for stranger in ("192.0.2.1", "192.0.2.5"):
            with pytest.raises(RefusedError, match="Too many"):
                await guesses.right(b"right", b"right", stranger)
        assert await guesses.right(b"right", b"right", "192.0.2.99")
        wrong += [asyncio.ensure_future(guesses.right(b"wrong", b"right", "192.0.2.99")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="Too many"):
            await guesses.right(b"right", b"right", "192.0.2.99")
        assert not any(await asyncio.gather(*wrong))

    asyncio.run(tried())
