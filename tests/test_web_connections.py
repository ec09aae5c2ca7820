"""Clients that do the page's server no good, while one that does is served."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import Classifier
from edge.web import connections
from tests.journaling import until
from tests.web import Page, served

MANY = 160


@pytest.fixture(scope="module")
def page(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Patient for less long, so that tests need not wait."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connections, "QUIET_S", 1.0)
        patched.setattr(connections, "UNREAD_S", 1.0)
        patched.setattr(connections, "_LOOK_EVERY_S", 0.1)
        patched.setattr("edge.web.server._BODY_S", 0.5)
        with served(classifier, tmp_path_factory.mktemp("page"), journal=False, preview_fps=60, fps=60) as running:
            yield running


@contextlib.contextmanager
def connected(page: Page) -> Iterator[socket.socket]:
    host, _, port = page.url.rpartition("/")[2].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(20)
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    return received


def request(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode()


def served_well(page: Page) -> bool:
    return page.get("/api/state").status == 200


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_one_who_says_nothing_is_hung_up_on(page: Page) -> None:
    with connected(page) as silent:
        assert everything(silent) == b""
    assert served_well(page)


def test_one_who_says_a_byte_now_and_then_is_hung_up_on(page: Page) -> None:
    with connected(page) as slow:
        began_s = time.monotonic()
        for byte in request("/api/state", "X: " + 1000 * "x") * 10:
            with contextlib.suppress(ConnectionError):
                slow.send(bytes([byte]))
            if select.select([slow], [], [], 0.05)[0]:
                break
        assert time.monotonic() - began_s < 15
        assert everything(slow) == b""
    assert served_well(page)


def test_a_body_that_comes_too_slowly_is_not_waited_for(page: Page) -> None:
    with connected(page) as slow:
        host = page.url.partition("//")[2]
        head = f"POST /api/truth HTTP/1.1\r\nHost: {host}\r\nOrigin: {page.url}\r\n"
        slow.sendall(head.encode() + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        answer = everything(slow)
    assert b" 408 " in answer
    assert b"did not come within" in answer


@pytest.mark.parametrize("size", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_a_gigabyte_is_neither_taken_nor_kept(page: Page, size: str) -> None:
    before_bytes = resident_bytes()
    host = page.url.partition("//")[2]
    head = f"POST /api/truth HTTP/1.1\r\nHost: {host}\r\nOrigin: {page.url}\r\n"
    head += f"Content-Type: application/json\r\n{size}\r\n\r\n"
    part = b"%x\r\n%s\r\n" % (65_536, 65_536 * b" ") if "chunked" in size else 65_536 * b" "
    sent = 0
    with connected(page) as large:
        large.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000 and not select.select([large], [], [], 0)[0]:
                sent += large.send(part)
        answer = everything(large)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 20_000_000
    assert resident_bytes() - before_bytes < 20_000_000
    assert served_well(page)


def test_what_comes_while_an_answer_is_waited_for_is_not_kept_either(page: Page) -> None:
    before_bytes = resident_bytes()
    number = page.get("/api/state").json["number"]
    for more in ("", "Connection: upgrade\r\nUpgrade: websocket\r\n"):
        with connected(page) as flood, contextlib.suppress(OSError):
            flood.settimeout(2)
            flood.sendall(request(f"/api/state?after={number + 1}", more))
            for _ in range(800):
                flood.sendall(65_536 * b"G")
    assert resident_bytes() - before_bytes < 20_000_000
    assert served_well(page)


def test_one_who_asks_for_pictures_and_never_reads_is_hung_up_on(page: Page) -> None:
    before_bytes, dropped = resident_bytes(), page.web.status().dropped
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            deaf = stack.enter_context(connected(page))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(connections.MOST_AHEAD - 1):
                deaf.sendall(request("/picture.jpg"))
        until(lambda: page.web.status().dropped >= dropped + 20, "those who do not read", 30)
        assert served_well(page)
    assert resident_bytes() - before_bytes < 60_000_000


def test_one_who_asks_many_things_at_once_is_hung_up_on(page: Page) -> None:
    answered, dropped = page.web.status().delivered, page.web.status().dropped
    with connected(page) as flood, contextlib.suppress(ConnectionError):
        for _ in range(5):
            flood.sendall(7_000 * request("/"))
        everything(flood)
    assert page.web.status().delivered - answered <= connections.MOST_AHEAD
    until(lambda: page.web.status().dropped == dropped + 1)
    assert served_well(page)


def test_one_who_goes_on_asking_while_an_answer_is_waited_for_is_hung_up_on(page: Page) -> None:
    number, dropped = page.get("/api/state").json["number"], page.web.status().dropped
    with connected(page) as flood, contextlib.suppress(OSError):
        flood.sendall(request(f"/api/state?after={number}"))
        for _ in range(2 * connections.MOST_AHEAD):
            flood.sendall(request(f"/api/state?after={number}"))
            time.sleep(0.001)
        everything(flood)
    until(lambda: page.web.status().dropped == dropped + 1)


@pytest.mark.parametrize("says", [b"", b"GET / HT", request("/nothing")])
def test_more_connections_than_it_lets_in(page: Page, says: bytes) -> None:
    before, dropped = descriptors(), page.web.status().dropped
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            with contextlib.suppress(ConnectionError):  # it was ended for another at once
                stack.enter_context(connected(page)).sendall(says)
        # Half of a connection's descriptors are this test's own.
        assert descriptors() - before < MANY + connections.MOST + 20
        assert served_well(page)
        assert page.get("/picture.jpg").status == 200
    assert page.web.status().dropped > dropped
    until(lambda: descriptors() <= before + 2, "closed connections", 30)


def test_whoever_is_being_answered_is_not_ended_for_others(page: Page) -> None:
    number = page.get("/api/state").json["number"]
    with contextlib.ExitStack() as stack:
        waiting = stack.enter_context(connected(page))
        waiting.sendall(request(f"/api/state?after={number}", "Connection: close\r\n"))
        for _ in range(MANY):
            stack.enter_context(connected(page))
        assert b"200 OK" in everything(waiting)


@settings(max_examples=60)
@given(st.binary(max_size=300) | st.text(alphabet="GET /?:\r\n .HTP1\x00ä", max_size=100).map(str.encode))
def test_garbage_is_answered_or_hung_up_on(page: Page, garbage: bytes) -> None:
    with connected(page) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
    assert not answer or answer.startswith(b"HTTP/1.")
    assert b"Traceback" not in answer
    assert b" 500 " not in answer.partition(b"\r\n")[0]


def test_garbage_leaves_no_trace(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    for garbage in (b"\x16\x03\x01 TLS hello", b"GET / HTTP/9.9\r\n\r\n", request("/", "Bad Header\r\n"), 9000 * b"x"):
        with connected(page) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = everything(connection)
        if answer:
            assert b"\r\nServer: edge\r\n" in answer
            assert b"nosniff" in answer
            assert answer.endswith(b'{"error":"The request is not as HTTP has it."}')
    assert served_well(page)
    assert not caplog.records


def test_several_requests_on_one_connection(page: Page) -> None:
    with connected(page) as connection:
        for _ in range(3):
            connection.sendall(request("/nothing"))
            answer = b""
            while b"There is nothing here." not in answer:
                answer += connection.recv(65_536)
        connection.sendall(request("/nothing") + request("/nothing", "Connection: close\r\n"))
        assert everything(connection).count(b"There is nothing here.") == 2
