from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.client import LINE_BYTES, ask
from edge.control.server import CLIENTS, Control, reply
from edge.errors import AlreadyRunningError, ControlError, LabelError

Open = Callable[..., Control]


def refuse(request: dict[str, Any]) -> object:
    raise LabelError("There is no unicorn.")


def fail(request: dict[str, Any]) -> object:
    raise RuntimeError("on\ntwo lines \udcff")


ANSWERS = {
    "echo": lambda request: request,
    "refuse": refuse,
    "fail": fail,
    "object": lambda request: object(),
    "much": lambda request: "x" * 4_000_000,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "field.db.sock"


@pytest.fixture
def begin(path: Path) -> Iterator[Open]:
    """Begins what is closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened(**options: Any) -> Control:
            control = Control(path, ANSWERS, **options)
            stack.callback(control.close)
            return control

        yield opened


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of one that is there for all tests, with all that they send it."""
    path = tmp_path_factory.mktemp("control") / "field.db.sock"
    control = Control(path, ANSWERS)
    yield path
    control.close()


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.settimeout(20)
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(LINE_BYTES):
            received += part
    return received


def alive(path: Path) -> bool:
    return bool(ask(path, {"do": "echo"}) == {"do": "echo"})


def test_a_line_is_answered_with_a_line_in_order(lasting: Path) -> None:
    with connected(lasting) as connection:
        connection.sendall(b'{"do": "echo", "number": 1}\n{"do": "refuse"}\n{"do": "echo", "number": 3}\n{"do"')
        connection.shutdown(socket.SHUT_WR)
        answers = [json.loads(line) for line in everything(connection).splitlines()]
    assert answers == [
        {"ok": {"do": "echo", "number": 1}},
        {"error": "There is no unicorn."},
        {"ok": {"do": "echo", "number": 3}},
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"do": "dance"}', "no 'dance' to ask for: choose one of echo, fail, much, object, refuse"),
        (b"", "is no JSON"),
        (b"{", "is no JSON"),
        (b'{"do": "\xff"}', "is no JSON"),
        (b"[" * 60_000, "is no JSON"),
        (b"[]", 'a text "do"'),
        (b"{}", 'a text "do"'),
        (b'{"do": ["echo"]}', 'a text "do"'),
        (b'{"do": "fail"}', "RuntimeError: on two lines ? (unexpected)."),
        (b'{"do": "object"}', "unexpected"),
        (b" " * (LINE_BYTES + 1), "longer than 65536 bytes"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(line: bytes, words: str) -> None:
    answer = reply(line, ANSWERS)
    assert answer.endswith(b"\n")
    assert answer.count(b"\n") == 1
    assert words in json.loads(answer)["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["do", "x"]), inner, max_size=2),
    max_leaves=8,
)
LINES = st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode())


@given(LINES)
def test_any_line_has_an_answer(line: bytes) -> None:
    answer = json.loads(reply(line, ANSWERS))
    assert set(answer) in ({"ok"}, {"error"})


@given(st.lists(LINES.filter(lambda line: b"\n" not in line), max_size=6), st.lists(st.integers(1, 50), max_size=6))
def test_any_lines_in_any_pieces_are_answered_one_by_one(lasting: Path, lines: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(line + b"\n" for line in lines)
    with connected(lasting) as connection:
        for cut in cuts:
            connection.sendall(sent[:cut])
            sent = sent[cut:]
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert len(everything(connection).splitlines()) == len(lines)
    assert alive(lasting)


@given(st.binary(max_size=200), st.booleans())
def test_clients_that_hang_up_in_the_middle_do_no_harm(lasting: Path, sent: bytes, asks: bool) -> None:
    with connected(lasting) as connection:
        connection.sendall(sent + (b'\n{"do": "much"}\n' if asks else b""))
    assert alive(lasting)


def test_a_line_without_an_end_is_hung_up_on(lasting: Path) -> None:
    with connected(lasting) as connection:
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(b"x" * 10 * LINE_BYTES)
        answer = everything(connection)
    assert b"longer than 65536 bytes" in answer
    assert alive(lasting)


def test_a_request_and_an_answer_of_many_pieces(lasting: Path) -> None:
    long = "ä" * 15_000
    assert ask(lasting, {"do": "echo", "text": long})["text"] == long
    assert len(ask(lasting, {"do": "much"})) == 4_000_000


@pytest.mark.parametrize("said", [b"", b'{"do": "ec', b'{"do": "much"}\n' * 5])
def test_quiet_clients_are_hung_up_on(begin: Open, path: Path, said: bytes) -> None:
    begin(quiet_s=0.05)
    with connected(path) as connection:
        connection.sendall(said)
        hung_up = select.poll()
        hung_up.register(connection, 0)
        assert hung_up.poll(20_000)  # and takes nothing until then
        received = everything(connection)
    assert received.count(b"\n") < 5
    assert alive(path)


def test_more_quiet_clients_than_it_lets_in(begin: Open, path: Path) -> None:
    begin(quiet_s=0.2)
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS + 20):
            stack.enter_context(connected(path))
        assert alive(path)


def test_many_clients_at_once(lasting: Path) -> None:
    answers: list[Any] = []

    def client(number: int) -> None:
        answers.append(ask(lasting, {"do": "echo", "number": number}, timeout_s=20)["number"])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(150))


def test_the_owner_and_the_group_may_ask(begin: Open, path: Path) -> None:
    before = os.umask(0)
    try:
        begin()
    finally:
        os.umask(before)
    assert stat.filemode(path.stat().st_mode) == "srw-rw----"


def test_a_killed_daemons_socket_is_replaced(begin: Open, path: Path) -> None:
    code = (
        "import sys, time, pathlib, edge.control.server\n"
        "edge.control.server.Control(pathlib.Path(sys.argv[1]), {})\n"
        "print(flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout
        daemon.stdout.readline()
        with pytest.raises(AlreadyRunningError, match="already running on this journal"):
            begin()
        daemon.send_signal(signal.SIGKILL)
    assert path.is_socket()
    begin()
    assert alive(path)


def test_of_two_that_begin_at_once_one_runs(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    running: list[Control] = []
    refused: list[AlreadyRunningError] = []
    together = threading.Barrier(6)

    def start() -> None:
        together.wait()
        try:
            running.append(Control(path, ANSWERS))
        except AlreadyRunningError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(running), len(refused)) == (1, 5)
    assert alive(path)
    running[0].close()


def test_a_second_one_leaves_the_first_in_peace(begin: Open, path: Path) -> None:
    begin()
    with pytest.raises(AlreadyRunningError):
        begin()
    assert alive(path)


def test_a_file_in_the_way_is_kept(begin: Open, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(ControlError, match="in the way"):
        begin()
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["absent/field.db.sock", "x" * 200])
def test_where_no_socket_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ControlError, match="Cannot listen at"):
        Control(tmp_path / name, ANSWERS)


def test_closing_removes_the_socket_and_ends_conversations(begin: Open, path: Path) -> None:
    control = begin()
    with connected(path) as connection:
        control.close()
        control.close()
        assert everything(connection) == b""
    assert not path.exists()
    begin()
    assert alive(path)


def test_closing_leaves_anothers_socket(begin: Open, path: Path) -> None:
    first = begin()
    path.unlink()
    begin()
    first.close()
    assert alive(path)


def test_closing_waits_for_no_answer_that_is_stuck(path: Path) -> None:
    stuck, end = threading.Event(), threading.Event()

    def wait(request: dict[str, Any]) -> object:
        stuck.set()
        return end.wait(20)

    control = Control(path, {"wait": wait})
    with connected(path) as connection:
        connection.sendall(b'{"do": "wait"}\n')
        assert stuck.wait(20)
        control.close()
        assert not path.exists()
        end.set()
        everything(connection)
