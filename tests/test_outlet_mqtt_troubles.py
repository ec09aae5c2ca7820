"""Brokers that are not there, hang, refuse, or are not what they should be: each is one sentence, and goes by."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.notify import NOTICE
from edge.outlets.mqtt import Mqtt, connection
from edge.outlets.mqtt import outlet as outlets
from edge.outlets.settings import MqttSettings
from tests.broker import Broker, Listener, free_port, mute_server
from tests.certificates import certify
from tests.conftest import ROOT
from tests.sending import BASE, LABELS, Run, event, heard, sending, texts, until, without_repeats


def trouble(outlet: Mqtt) -> str:
    """The first that it has."""
    until(lambda: outlet.status().trouble)
    return str(outlet.status().trouble)


def trouble_with(port: int, **settings: Any) -> str:
    with sending(port, **settings) as outlet:
        return trouble(outlet)


def test_nobody_listens(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(NOTICE)
    with Broker(tmp_path) as broker:
        broker.kill()
        with sending(broker.port) as outlet:
            place = f"mqtt://127.0.0.1:{broker.port}"
            told = f"Nothing listens at {place}: start the broker, or check mqtt.host and mqtt.port."
            assert trouble(outlet) == told
            Run(outlet).change(1)
            with socket.create_server(("127.0.0.1", broker.port)) as other:  # another trouble, which is told no more
                for _ in range(3):
                    other.accept()[0].close()
                assert "ended the connection before it answered" in str(outlet.status().trouble)
            broker.start()
            until(lambda: outlet.status().delivered)
            assert outlet.status().trouble is None
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == ["mqtt", "mqtt"]
    assert caplog.records[1].getMessage().endswith("is connected.")


def test_a_name_that_nobody_has() -> None:
    assert trouble_with(1883, host="broker.invalid").startswith("Cannot find 'broker.invalid' (")
    assert trouble_with(1883, host="x" * 300 + ".invalid").startswith("Cannot find 'xxx")


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_takes_connections_and_says_nothing(tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    with mute_server() as port:
        sentence = trouble_with(port, tls=tls)
    assert sentence.startswith("No TLS answer from mqtts://" if tls else f"A program at mqtt://127.0.0.1:{port} takes")


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        *((b"\0", "no MQTT"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no MQTT"), (b"\x20\x02\0\0", "no MQTT")),
        *((b"\xff" * 20, "no MQTT"), (b"\x30\xff\xff\xff\x7f" + b"a" * 50_000, "too long")),
    ],
)
def test_a_server_that_says_what_is_no_mqtt(says: bytes, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.5)
    with mute_server(says, forever=True) as port:
        place = f"mqtt://127.0.0.1:{port}"
        assert trouble_with(port) == f"What {place} sends is {fault}: expected an MQTT broker."


def test_a_broker_that_freezes_before_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    with Broker(tmp_path) as broker:
        broker.hang()
        with sending(broker.port) as outlet:
            assert "takes connections and does not answer" in trouble(outlet)
            broker.go_on()
            until(lambda: outlet.status().trouble is None)


def test_a_wrong_password_is_tried_again_seldom_and_never_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong-secret\n")
    with Broker(tmp_path, password=("ann", "right-secret")) as broker:
        asks = {"user": "ann", "password_file": str(secret)}
        with sending(broker.port, **asks) as outlet:
            assert trouble(outlet) == (
                f"mqtt://127.0.0.1:{broker.port} does not let 'ann' in: check mqtt.user and the password in "
                "mqtt.password_file."
            )
            secret.write_text("right-secret\r\n")  # read again at each attempt
            until(lambda: outlet.status().trouble is None)
            Run(outlet).change(1)
            until(lambda: outlet.status().delivered)
        assert "lets nobody in without a name: give mqtt.user" in trouble_with(broker.port)
        log = (tmp_path / "mosquitto.log").read_text()
    assert "secret" not in caplog.text + log


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "no secret"),
        ("\n", "no secret"),
        ("a\nb\n", "one line"),
        ("x" * 5000, "4096 bytes"),
    ],
)
def test_a_password_file_that_is_none(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    sentence = trouble_with(free_port(), user="ann", password_file=str(path))
    assert sentence.startswith(f"Key mqtt.password_file names {str(path)!r}, which ")
    assert words in sentence


def test_tls_with_the_right_authority(tmp_path: Path) -> None:
    authority = certify(tmp_path)
    with Broker(tmp_path, tls=tmp_path) as broker:
        secured = {"tls": True, "ca_file": str(authority), "host": "localhost"}
        with sending(broker.port, **secured) as outlet:
            run = Run(outlet)
            run.change(300)
            until(lambda: outlet.status().delivered > 300)
            assert outlet.status().where == f"mqtts://localhost:{broker.port}"
            broker.kill()
            run.change(300)
            broker.start()
            until(lambda: outlet.status().delivered > 600)
        assert "is for another name than '127.0.0.1'" in trouble_with(broker.port, **{**secured, "host": "127.0.0.1"})
        assert "another authority than one that this system knows" in trouble_with(
            broker.port, **{**secured, "ca_file": None}
        )
        assert "ended the connection before it answered: check mqtt.port and mqtt.tls." in trouble_with(broker.port)


def test_tls_with_another_authority(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certify(tmp_path)
    other = certify(tmp_path / "other")
    with Broker(tmp_path, tls=tmp_path) as broker:
        sentence = trouble_with(broker.port, host="localhost", tls=True, ca_file=str(other))
    assert f"is of another authority than that of mqtt.ca_file, {str(other)!r}" in sentence


def test_tls_that_has_expired(tmp_path: Path) -> None:
    authority = certify(tmp_path, expired=True)
    with Broker(tmp_path, tls=tmp_path) as broker:
        sentence = trouble_with(broker.port, host="localhost", tls=True, ca_file=str(authority))
    assert "has expired: renew it at the broker, or set this machine's clock." in sentence


def test_tls_to_a_broker_without(tmp_path: Path) -> None:
    authority = certify(tmp_path)
    with Broker(tmp_path) as broker:
        sentence = trouble_with(broker.port, host="localhost", tls=True, ca_file=str(authority))
    assert sentence.startswith(f"Cannot agree on TLS with mqtts://localhost:{broker.port} (")


def test_a_broker_that_asks_for_a_certificate(tmp_path: Path) -> None:
    authority = certify(tmp_path)
    own = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    secured = {"tls": True, "ca_file": str(authority), "host": "localhost"}
    with Broker(tmp_path, tls=tmp_path, more="require_certificate true") as broker:
        with sending(broker.port, **secured, **own) as outlet:
            Run(outlet).change(1)
            until(lambda: outlet.status().delivered)
        assert "ended the connection before it answered" in trouble_with(broker.port, **secured)
        for given, words in {
            ("ca_file", tmp_path / "server.key"): "holds no certificate in PEM form",
            ("ca_file", tmp_path / "none"): "Key mqtt.ca_file names",
            ("cert_file", tmp_path): "Key mqtt.cert_file names",
            ("key_file", authority): "are no certificate and its key",
            ("cert_file", authority): "are no certificate and its key",
        }.items():
            assert words in trouble_with(broker.port, **{**secured, **own, given[0]: str(given[1])})


def test_a_key_with_a_password_asks_nobody_for_it(tmp_path: Path) -> None:
    authority = certify(tmp_path)
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", "server.key", "-aes128", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    own = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(locked)}
    assert "the key without a password" in trouble_with(free_port(), tls=True, ca_file=str(authority), **own)


def test_two_of_one_name_are_told_of_each_other(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, sending(broker.port) as first:
        Run(first).change(1)
        until(lambda: first.status().delivered)
        with sending(broker.port) as second:
            told = f"Another program has come to mqtt://127.0.0.1:{broker.port} under this one's name"
            for each in (first, second):
                until(lambda each=each: str(each.status().trouble).startswith(told))


def test_a_topic_that_the_broker_does_not_take(tmp_path: Path) -> None:
    access = tmp_path / "access"
    access.write_text(f"topic write {BASE}/state\ntopic write {BASE}/availability\ntopic write {BASE}/event\n")
    with Broker(tmp_path, more=f"acl_file {access}") as broker, sending(broker.port) as outlet:
        Run(outlet).change(3)
        outlet.event(event(0))
        # This mosquitto hangs up at each of them.
        told = f"The broker does not take what is sent to {BASE}/change (Not authorized)"
        until(lambda: str(outlet.status().trouble).startswith(told))
        until(lambda: outlet.status().waiting == 0 and outlet.status().delivered >= 2)
        assert outlet.status().dropped == 3


def test_a_message_that_is_too_long_for_the_broker(tmp_path: Path) -> None:
    with Broker(tmp_path, more="max_packet_size 2000") as broker, Listener(broker.port) as listener:
        with sending(broker.port, every_frame=True) as outlet:
            run = Run(outlet)
            until(lambda: outlet.status().delivered)
            outlet.event(event(0, text="x" * 5000))
            assert "bytes, and 2000 are the limit" in trouble(outlet)
            run.classify("y" * 3000)
            run.classify(LABELS[0])  # whose change tells the long label, too
            run.classify(LABELS[1])
            outlet.event(event(1))
            until(lambda: heard(listener, "event"))
            until(lambda: not outlet.status().trouble and not outlet.status().waiting)
            assert outlet.status().dropped == 4
        until(lambda: texts(listener.of(f"{BASE}/availability")) == ["online", "offline"])
        assert [each["number"] for each in heard(listener, "event")] == [1]


class ScriptedBroker:
    """Ends a connection where it does not take a message; a context manager."""

    def __init__(self, version: int, takes: Callable[[str, bytes, int], bool] = lambda *_: True) -> None:
        """Begin to listen.

        Args:
            version: of the protocol, as CONNECT has it: 4 is MQTT 3.1.1; others are refused.
            takes: whether it takes a message; gets its topic, its payload, and which one of the connection it is.
        """
        self.levels: list[int] = []
        self._version, self._takes, self._ended = version, takes, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ScriptedBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(20)
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended:
            client, _ = self._listener.accept()
            with client, client.makefile("rb") as said, contextlib.suppress(ConnectionError):
                self._talk(client, said)

    def _talk(self, client: socket.socket, said: Any) -> None:
        published, new = 0, self._version == 5
        while head := said.read(1):
            size, shift = 0, 0
            while True:
                byte = said.read(1)[0]
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            body = said.read(size)
            if head[0] >> 4 == 1:
                self.levels.append(body[6])
                refusal = 0 if body[6] == self._version else 1
                client.sendall(b"\x20\x03\0\0\0" if new and not refusal else bytes([0x20, 2, 0, refusal]))
                if refusal:
                    return
            elif head[0] >> 4 == 3:
                end = 2 + int.from_bytes(body[:2], "big")
                payload = body[end + 3 + body[end + 2] :] if new else body[end + 2 :]
                published += 1
                if not self._takes(body[2:end].decode(), payload, published):
                    return
                client.sendall(b"\x40\x02" + body[end : end + 2])


def test_a_broker_of_an_older_version() -> None:
    with ScriptedBroker(4) as broker, sending(broker.port) as outlet:
        Run(outlet).change(50)
        until(lambda: outlet.status().delivered > 50)
        assert outlet.status().trouble is None
        outlet.close()
    assert broker.levels == [5, 4]


def test_a_message_that_an_old_broker_never_takes_does_not_hold_up_the_others_for_ever() -> None:
    came: list[int] = []

    def takes(topic: str, payload: bytes, _: int) -> bool:
        short = len(payload) < 1000
        if topic == f"{BASE}/change" and short:
            came.append(json.loads(payload)["sequence"])
        return short

    with ScriptedBroker(4, takes) as broker, sending(broker.port) as outlet:
        run = Run(outlet)
        run.change(3)
        outlet.event(event(0, text="x" * 1000))
        run.change(30)
        until(lambda: not outlet.status().waiting)
        assert outlet.status().dropped == 1
        assert f"{BASE}/event (1" in str(outlet.status().trouble)
        assert "bytes, at which it ended 3 connections)" in str(outlet.status().trouble)
    assert without_repeats(came) == list(range(33))
    # One for MQTT 5, three that the message ended and the last; a busy machine's broker may end one before it came.
    assert 1 + 4 <= len(broker.levels) <= 1 + 6


def test_an_old_broker_that_is_killed_loses_nothing_that_it_takes_at_last() -> None:
    refused = iter([False, False])

    def takes(topic: str, _: bytes, __: int) -> bool:
        return topic != f"{BASE}/change" or next(refused, True)

    with ScriptedBroker(4, takes) as broker, sending(broker.port) as outlet:
        Run(outlet).change(30)
        until(lambda: not outlet.status().waiting)
        assert outlet.status().dropped == 0


def test_a_connection_that_was_good_is_followed_by_another_soon() -> None:
    patience = {"retry_s": (0.02, 60), "state_s": 0.1}
    with ScriptedBroker(5, lambda _, __, number: number < 3) as broker, sending(broker.port, **patience) as outlet:
        Run(outlet)
        # Each ends with a state on its way; if that made attempts rare, the last one would come after a minute.
        until(lambda: len(broker.levels) > 12, 15)


@pytest.mark.parametrize("lacks", ["_create_socket", "_in_packet"])
def test_a_paho_that_keeps_other_things_to_itself(tmp_path: Path, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from paho.mqtt.client import Client

    def read_without(client: Any) -> Any:
        answer = read(client)
        vars(client).pop(lacks, None)
        return answer

    read = Client.loop_read
    if hasattr(Client, lacks):
        monkeypatch.delattr(Client, lacks)
    else:
        monkeypatch.setattr(Client, "loop_read", read_without)
    with Broker(tmp_path) as broker:
        told = "paho-mqtt is of a version that is not known here: in the checkout"
        assert trouble_with(broker.port).startswith(told)


def test_closing_waits_for_nobody(tmp_path: Path) -> None:
    def closed_s(port: int, wait_s: float = 0.1, **settings: Any) -> float:
        about = {"host": "127.0.0.1", "port": port, "name": "shed", **settings}
        outlet = Mqtt(MqttSettings(enabled=True, **about))
        run = Run(outlet)
        time.sleep(wait_s)
        run.change(10)
        began_s = time.monotonic()
        outlet.close()
        return time.monotonic() - began_s

    with Broker(tmp_path) as broker, mute_server() as mute:
        took_s = {"away": closed_s(free_port()), "mute": closed_s(mute), "mute TLS": closed_s(mute, tls=True)}
        took_s["nowhere"] = closed_s(1883, host="192.0.2.1")
        with sending(broker.port) as outlet:
            run = Run(outlet)
            until(lambda: outlet.status().delivered)
            broker.hang()
            run.change(100)
            began_s = time.monotonic()
            outlet.close()
            took_s["hung"] = time.monotonic() - began_s
            broker.go_on()
    assert max(took_s.values()) < 1, took_s  # half of it, but for a busy machine


def test_attempts_become_rare_and_differ_by_chance() -> None:
    backoff = outlets._Backoff(1.0, 60.0)
    waits_s = [backoff.after(None) for _ in range(12)]
    for wait_s, most_s in zip(waits_s, [1, 2, 4, 8, 16, 32, *[60] * 6]):
        assert most_s / 2 <= wait_s <= most_s
    assert len(set(waits_s[-6:])) > 1
    backoff.begin_anew()
    assert backoff.after(None) <= 1


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ("", "paho-mqtt is not installed: in the checkout `.venv/bin/pip install"),
        ("client.py", "paho-mqtt is older than 2.0: in the"),
    ],
)
def test_without_its_package(tmp_path: Path, there: str, words: str) -> None:
    code = (
        "import sys\n"
        "from edge.outlets.mqtt import Mqtt\nfrom edge.outlets.settings import MqttSettings\n"
        "from edge.errors import OutletError\n"
        "assert not any(name.startswith('paho') for name in sys.modules)\n"
        "if len(sys.argv) > 1: sys.path.insert(0, sys.argv[1])\n"
        "else: sys.modules['paho'] = None\n"
        "try: Mqtt(MqttSettings(enabled=True))\n"
        "except OutletError as error: print(error)\n"
    )
    if there:
        package = tmp_path / "paho" / "mqtt"
        package.mkdir(parents=True)
        for file in (tmp_path / "paho" / "__init__.py", package / "__init__.py", package / there):
            file.touch()
    command = [sys.executable, "-c", code, *([str(tmp_path)] if there else [])]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.startswith(words)
