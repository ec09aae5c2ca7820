"""A real mosquitto to test against, which can be killed, stopped, frozen and started again; and a server that hangs."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest

PATIENCE_S = 20.0
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
"""None: not installed. Debian has it where not everybody looks."""
INSTALL = "no mosquitto here (Debian: apt install mosquitto mosquitto-clients)"


def free_port() -> int:
    """A port that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto with a port of its own; a context manager, which starts it."""

    def __init__(
        self,
        folder: Path,
        *,
        password: Optional[tuple[str, str]] = None,
        tls: Optional[Path] = None,
        persistent: bool = False,
        more: str = "",
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: for its configuration, its log and what it keeps.
            password: a user's name and password; None: everybody may come.
            tls: the folder that `tests.certificates.certify` filled; None: without TLS.
            persistent: it keeps what `remember` has it write, over a kill too.
            more: lines of its configuration.
        """
        if MOSQUITTO is None:
            pytest.skip(INSTALL)
        self.port = free_port()
        self.folder = folder
        self._process: Optional[subprocess.Popen[bytes]] = None
        lines = [f"listener {self.port} 127.0.0.1", f"user {getpass.getuser()}", "log_dest stderr"]
        lines += ["queue_qos0_messages true", "max_queued_messages 0", f"allow_anonymous {str(not password).lower()}"]
        if password:
            self.set_password(*password)
            lines.append(f"password_file {folder / 'passwords'}")
        if tls:
            lines += [f"certfile {tls / 'server.pem'}", f"keyfile {tls / 'server.key'}"]
            lines += [f"cafile {tls / 'authority.pem'}"]
        if persistent:
            lines += ["persistence true", f"persistence_location {folder}/", "autosave_interval 0"]
        (folder / "mosquitto.conf").write_text("\n".join([*lines, more, ""]))

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def set_password(self, user: str, password: str) -> None:
        """Let a user in by a password; a broker that runs learns of it when it is started again."""
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(self.folder / "passwords"), user, password],
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start, at the same port each time; it takes connections when this returns."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self.folder / "mosquitto.conf")], stderr=log)
        until_s = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self._process.poll() is None, (self.folder / "mosquitto.log").read_text()
            assert time.monotonic() < until_s
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, without a chance to write anything; once more does nothing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def hang(self) -> None:
        """Freeze it: its connections stay, and new ones are taken by the kernel."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Thaw it."""
        self._signal(signal.SIGCONT)

    def remember(self) -> None:
        """Have a persistent one write what it holds: sessions, what they subscribe to, retained messages."""
        kept = self.folder / "mosquitto.db"
        self._signal(signal.SIGUSR1)
        until_s = time.monotonic() + PATIENCE_S
        while not kept.exists():
            assert time.monotonic() < until_s
            time.sleep(0.01)

    def _signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # else a frozen one does not hear of SIGTERM
            process.wait(PATIENCE_S)


class Message(NamedTuple):
    """As it came to a listener."""

    topic: str
    payload: bytes
    retain: bool


class Listener:
    """Hears all that comes to a topic; a context manager. A persistent broker keeps for it what it misses."""

    def __init__(self, port: int, topic: str = "#", **options: Any) -> None:
        """Listen, and come back whenever the broker has been away.

        Args:
            port: on this machine.
            topic: without acknowledgements, as what has been sent to a listener that writes nothing arrives, also
                when the broker dies at once; may have wildcards.
            options: of `username_pw_set`.
        """
        from paho.mqtt.client import CallbackAPIVersion, Client

        self.messages: list[Message] = []
        self._ready, self._ended = threading.Event(), False
        self._client = Client(CallbackAPIVersion.VERSION2, f"listener-{port}", clean_session=False)
        if options:
            self._client.username_pw_set(**options)
        self._client.on_connect = lambda client, *_: client.subscribe(topic)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _, __, each: self.messages.append(
            Message(each.topic, each.payload, each.retain)
        )
        self._port = port
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(PATIENCE_S)

    def of(self, topic: str) -> list[Message]:
        """What came to a topic."""
        return [each for each in list(self.messages) if each.topic == topic]

    def _listen(self) -> None:
        while not self._ended:
            with contextlib.suppress(OSError):
                self._client.connect("127.0.0.1", self._port)
                while not self._ended and self._client.loop(0.05) == 0:
                    pass
            time.sleep(0.02)
        self._client.disconnect()


@contextlib.contextmanager
def mute_server(says: bytes = b"", forever: bool = False) -> Iterator[int]:
    """A server that takes connections, says something or nothing, and never anything else; its port.

    Args:
        says: to each that comes.
        forever: again and again, as fast as it is taken.
    """
    ended = threading.Event()

    def speak(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(says)
            while forever and not ended.is_set():
                connection.sendall(says)
            ended.wait(PATIENCE_S)

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            if ended.is_set():
                connection.close()
                return
            threads.append(threading.Thread(target=speak, args=(connection,), daemon=True))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield listener.getsockname()[1]
        ended.set()
        socket.create_connection(listener.getsockname()).close()
        for thread in [serving, *threads]:
            thread.join(PATIENCE_S)
