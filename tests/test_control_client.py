from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.control.client import ask
from edge.errors import ControlError


@contextlib.contextmanager
def somebody(path: Path, says: bytes) -> Iterator[None]:
    """Somebody at a socket, who says this whatever is asked."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(says)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.sock"


def test_nobody_is_there(path: Path) -> None:
    sentence = "No daemon is running on field.db: start `edge run --journal field.db`, or the service (`edge service`)."
    with pytest.raises(ControlError) as caught:
        ask(path, {"do": "status"}, journal=Path("field.db"))
    assert str(caught.value) == sentence
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with pytest.raises(ControlError) as caught:
        ask(path, {"do": "status"}, journal=Path("field.db"))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"", "hung up before it answered"),
        (b'{"ok": tr', "hung up before it answered"),
        (b"HTTP/1.1 400 Bad Request\r\n", "no daemon of edge-runner"),
        (b"[]\n", "no daemon of edge-runner"),
        (b"{}\n", "no daemon of edge-runner"),
        (b"[" * 50_000 + b"\n", "no daemon of edge-runner"),
        (b'{"error": "There is no unicorn."}\n', "^There is no unicorn.$"),
    ],
)
def test_what_it_says_instead(path: Path, says: bytes, words: str) -> None:
    with somebody(path, says), pytest.raises(ControlError, match=words):
        ask(path, {"do": "status"})


def test_an_answer_of_null_is_one(path: Path) -> None:
    with somebody(path, b'{"ok": null}\n'):
        assert ask(path, {"do": "status"}) is None


@pytest.mark.parametrize("others", [0, 3])
def test_it_does_not_answer_in_time(path: Path, others: int) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(1)
        for _ in range(others):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(path))
        with pytest.raises(ControlError, match=r"did not answer within 0.1 s: is it stuck\?"):
            ask(path, {"do": "status"}, timeout_s=0.1)


def test_what_is_too_long_is_not_sent(path: Path) -> None:
    with pytest.raises(ControlError, match="at most 65536"):
        ask(path, {"do": "x" * 65_536})


def test_a_place_that_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match=r"Cannot ask the daemon on .*: AF_UNIX path too long"):
        ask(tmp_path / ("x" * 200), {"do": "status"})
