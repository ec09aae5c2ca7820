"""Peers of every kind: what they are answered, and that none of them keeps another, or the program, waiting."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.notify import NOTICE
from edge.outlets import CLOSE_S, Trouble, host_name
from edge.outlets.prometheus import Prometheus
from edge.outlets.prometheus.server import CLIENTS, DEADLINE_S, HEAD_BYTES, Server
from edge.outlets.prometheus.wire import Response, parse, response
from tests.scraping import get, opened, overview, port_of, record, wait_until

GOOD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
HUNG = 1000


@pytest.fixture(scope="module")
def outlet() -> Iterator[Prometheus]:
    with opened() as made:
        made.begin(overview())
        made.write(record())
        yield made


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            received += part
    return received


def asked(port: int, request: bytes) -> bytes:
    with connected(port) as connection:
        connection.sendall(request)
        return everything(connection)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, b"the metrics are at /metrics"),
        ("GET", "/metrics/", 404, b"/metrics"),
        ("GET", "/metrics?name[]=edge_frames_total", 200, b"edge_frames_total"),
        ("POST", "/metrics", 405, b"GET /metrics"),
        ("HEAD", "/metrics", 405, b""),
        ("POST", "/", 404, b"/metrics"),
    ],
)
def test_only_metrics_can_only_be_read(outlet: Prometheus, method: str, path: str, status: int, words: bytes) -> None:
    answer = get(outlet, path, method)
    assert (answer.status, words in answer.body) == (status, True)
    assert answer.headers["Connection"] == "close"
    assert answer.headers.get("Allow") == ("GET" if status == 405 else None)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:9464", True),
        ("192.168.1.7", True),
        ("[::1]:9464", True),
        ("LocalHost:9464", True),
        ("localhost.", True),
        (host_name(), True),
        (f"{host_name()}.local:1", True),
        ("evil.example", False),
        ("evil.example:9464", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1, evil.example", False),
        ("[::1", False),
        ("[evil.example]", False),
        ("", False),
    ],
)
def test_on_loopback_only_names_of_this_machine_are_answered(outlet: Prometheus, host: str, own: bool) -> None:
    answer = get(outlet, Host=host)
    assert (answer.status == 200, answer.status == 421) == (own, not own)


def test_elsewhere_any_name_is_answered() -> None:
    with opened(address="0.0.0.0") as outlet:
        assert get(outlet, Host="pi.example:9464").status == 200


def test_without_a_host_it_is_no_browser(outlet: Prometheus) -> None:
    assert asked(port_of(outlet), b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET /metrics\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"get /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
        b"\x16\x03\x01\x00\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"x" * (HEAD_BYTES + 1),
    ],
)
def test_what_is_no_request_is_told_so(outlet: Prometheus, request_: bytes) -> None:
    answer = asked(port_of(outlet), request_)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"expected GET /metrics" in answer


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_request_or_none(head: bytes) -> None:
    for each in (head, b"GET /metrics HTTP/1.1\r\n" + head):
        request = parse(each)
        if request:
            assert request.path
            assert all("\n" not in value and "\r" not in value for value in request.headers.values())


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
VALUES = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@given(st.dictionaries(NAMES.map(str.lower), VALUES, max_size=5), st.sampled_from(["", " ", "\t ", "  "]))
def test_headers_are_read_as_they_were_written(headers: dict[str, str], space: str) -> None:
    lines = [f"{name.upper()}:{space}{value}{space}" for name, value in headers.items()]
    request = parse("\r\n".join(["GET /metrics?x=1 HTTP/1.1", *lines]).encode())
    assert request == ("GET", "/metrics", headers)


def test_a_request_in_pieces_and_one_with_more_behind_it(outlet: Prometheus) -> None:
    for pieces in ([bytes([each]) for each in GOOD], [GOOD[:20], GOOD[20:] + GOOD * 3]):
        with connected(port_of(outlet)) as connection:
            for piece in pieces:
                connection.sendall(piece)
            received = everything(connection)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.count(b"HTTP/1.1 ") == 1


def test_a_peer_that_says_all_and_then_listens(outlet: Prometheus) -> None:
    with connected(port_of(outlet)) as connection:
        connection.sendall(GOOD)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_scrapes_are_counted(outlet: Prometheus) -> None:
    wait_until(lambda: outlet.status().waiting == 0)  # what was asked before is counted by now
    before = outlet.status()
    get(outlet)
    get(outlet, "/")
    with connected(port_of(outlet)):
        pass  # asks for nothing, and gets nothing: that is not dropped
    wait_until(lambda: outlet.status().delivered == before.delivered + 1)
    assert outlet.status().dropped == before.dropped


def test_many_scrapers_at_once(outlet: Prometheus) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(get(outlet).status)) for _ in range(CLIENTS // 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * len(threads)


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as the test has connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HUNG + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may open {hard} files here, and the test needs {wanted} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_that_hang_keep_nobody_waiting() -> None:
    said = {"nothing": b"", "half a request": GOOD[:-2], "and reads nothing": GOOD, "garbage": b"\x16\x03\x01"}
    with opened() as outlet, contextlib.ExitStack() as stack:
        outlet.begin(overview())
        assert get(outlet).status == 200
        threads, before_bytes = threading.active_count(), resident_bytes()
        for number in range(HUNG):
            connection = stack.enter_context(connected(port_of(outlet)))
            with contextlib.suppress(OSError):  # its place has been taken already
                connection.sendall([*said.values()][number % len(said)])
            if number % 200 == 199:
                began_s = time.monotonic()
                assert get(outlet).status == 200
                assert time.monotonic() - began_s < DEADLINE_S
                assert outlet.status().waiting <= CLIENTS
        assert threading.active_count() == threads
        assert resident_bytes() - before_bytes < 10_000_000
        wait_until(lambda: outlet.status().dropped + outlet.status().delivered >= HUNG - CLIENTS)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Opens servers, which hang up soon."""
    with contextlib.ExitStack() as stack:

        def opened_server(answer: Any, **options: Any) -> Server:
            server = Server("127.0.0.1", 0, answer, Trouble("test"), **options)
            stack.callback(server.close)
            wait_until(lambda: server.port)
            return server

        yield opened_server


@pytest.mark.parametrize("said", [b"", b"GET /met", b"\x00"])
def test_the_slow_are_hung_up_on(serve: Serve, said: bytes) -> None:
    server = serve(lambda _: response(HTTPStatus.OK, b"", "text/plain"), deadline_s=0.1)
    with connected(server.port) as connection:
        connection.sendall(said)
        assert everything(connection) == b""
    wait_until(lambda: (server.answered, server.dropped, server.waiting) == (0, 1, 0))


def test_who_drips_has_no_more_time(serve: Serve) -> None:
    server = serve(lambda _: response(HTTPStatus.OK, b"", "text/plain"), deadline_s=0.3)
    with connected(server.port) as connection:

        def drip() -> bool:
            with contextlib.suppress(OSError):
                connection.sendall(b"G")
                return False
            return True

        wait_until(drip)
    wait_until(lambda: server.dropped == 1)


def test_who_never_reads_is_hung_up_on_and_what_was_sent_is_shared(serve: Serve) -> None:
    content = response(HTTPStatus.OK, b"x" * 20_000_000, "text/plain")
    server = serve(lambda _: content, deadline_s=0.5)
    with contextlib.ExitStack() as stack:
        before = resident_bytes()
        connections = [stack.enter_context(connected(server.port)) for _ in range(20)]
        for connection in connections:
            connection.sendall(GOOD)
        wait_until(lambda: server.dropped == 20)
        assert resident_bytes() - before < 20_000_000
    assert server.waiting == 0


def test_who_stays_or_talks_on_after_the_answer_is_hung_up_on_and_was_answered(serve: Serve) -> None:
    server = serve(lambda _: response(HTTPStatus.OK, b"", "text/plain"), deadline_s=0.3)
    with connected(server.port) as silent, connected(server.port) as talker:
        silent.sendall(GOOD)
        with contextlib.suppress(OSError):
            for _ in range(100):
                talker.sendall(GOOD * 1000)
        assert everything(silent).startswith(b"HTTP/1.1 200 OK")
        wait_until(lambda: server.answered == 2)
    assert server.dropped == 0


def test_one_that_is_in_the_middle_of_a_long_answer_keeps_nobody_waiting(serve: Serve) -> None:
    short = response(HTTPStatus.OK, b"", "text/plain")
    long = Response(HTTPStatus.OK, bytes(20_000_000))
    server = serve(lambda head: long if b"long" in head else short)
    with connected(server.port) as slow:
        slow.sendall(b"GET /long HTTP/1.1\r\n\r\n")
        assert slow.recv(1) == b"\0"
        assert asked(server.port, GOOD) == short.content
        assert len(everything(slow)) == len(long.content) - 1


@pytest.mark.parametrize("said", [b"", GOOD[:-2]])
def test_it_ends_at_once_whoever_is_there(said: bytes) -> None:
    with opened() as outlet, connected(port_of(outlet)) as connection:
        connection.sendall(said)
        wait_until(lambda: outlet.status().waiting == 1)
        began_s = time.monotonic()
        outlet.close()
        assert time.monotonic() - began_s < CLOSE_S
        assert everything(connection) == b""
        outlet.close()
        with pytest.raises(ConnectionRefusedError):
            get(outlet)


def test_a_fault_of_ours_is_told_and_gone_after_a_while(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def answer(head: bytes) -> Response:
        if b"fault" in head:
            raise ValueError("a fault")
        return response(HTTPStatus.OK, b"", "text/plain")

    caplog.set_level(NOTICE)
    server = serve(answer)
    with connected(server.port) as waiting, connected(server.port) as faulty:
        wait_until(lambda: server.waiting == 2)
        faulty.sendall(b"GET /fault HTTP/1.1\r\n\r\n")
        assert everything(faulty) == everything(waiting) == b""
    told = "test: it failed, which was not expected (ValueError: a fault); it is tried again, at least once a minute."
    wait_until(lambda: told in caplog.messages)
    wait_until(lambda: f"test: listens at {server.place}." in caplog.messages)
    assert asked(server.port, GOOD).startswith(b"HTTP/1.1 200 OK")
    wait_until(lambda: (server.answered, server.dropped) == (1, 2))  # counted a moment after the answer


def test_it_ends_in_time_while_an_answer_is_stuck(serve: Serve) -> None:
    stuck, end = threading.Event(), threading.Event()

    def wait(_: bytes) -> Response:
        stuck.set()
        end.wait(30)
        return response(HTTPStatus.OK, b"", "text/plain")

    server = serve(wait)
    with connected(server.port) as connection:
        connection.sendall(GOOD)
        assert stuck.wait(30)
        began_s = time.monotonic()
        server.close()
        assert time.monotonic() - began_s < CLOSE_S
        end.set()
        everything(connection)
