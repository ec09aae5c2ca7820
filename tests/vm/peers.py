"""Whom a service's outlets speak with, in the network of its container: programs of this machine, well and unwell."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.broker import MOSQUITTO, Broker
from tests.certificates import certify
from tests.vm.nspawn import Machine

USER, PASSWORD = "edge", "correct horse"
BROKER = "broker.example"
"""The broker's name, as its certificate has it."""
_ASK = """
import base64, json, sys, urllib.error, urllib.request

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_): pass

request = urllib.request.Request(sys.argv[1], headers=json.loads(sys.argv[2]))
try:
    reply = urllib.request.build_opener(Stay, urllib.request.ProxyHandler({})).open(request, timeout=30)
except urllib.error.HTTPError as error:
    reply = error
print(json.dumps([reply.status, base64.b64encode(reply.read()).decode()]))
"""
_LISTEN = """
import json, sys
from paho.mqtt import subscribe

port, authority, user, password, *topics = sys.argv[1:]
found = {}

def take(client, _, message):
    found[message.topic] = message.payload.decode()
    if len(found) == len(topics):
        client.disconnect()

subscribe.callback(take, topics, hostname="127.0.0.1", port=int(port), auth={"username": user, "password": password},
    tls={"ca_certs": authority, "insecure": True})
print(json.dumps(found))
"""
_SILENT = """
import socket

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 53))
broker = socket.create_server(("127.0.0.1", 1883))
print("ready", flush=True)
taken = []
while True:
    taken.append(broker.accept())
"""
_DEAF = """
import json, socket, sys, time

deaf = []
for port, request in json.loads(sys.argv[1]):
    for _ in range(5):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        try:
            for _ in range(200):
                client.send(request.encode())
        except OSError:
            pass  # whoever should read it does not do so either, or has hung up
        deaf.append(client)
print("ready", flush=True)
time.sleep(3600)
"""


class Answer(NamedTuple):
    """What an HTTP server says."""

    status: int
    body: bytes


class Peers:
    """Programs that end with `close`, or with the tests."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        """Make what the broker needs.

        Args:
            machine: the container.
            folder: for certificates and the like.
        """
        self.authority = certify(folder, BROKER)
        self._broker = Broker(folder, password=(USER, PASSWORD), tls=folder)
        self.broker_port = self._broker.port
        self._machine = machine
        self._running: list[subprocess.Popen[str]] = []

    def broker(self) -> subprocess.Popen[str]:
        """Start a broker that wants TLS and a password."""
        return self._start(MOSQUITTO, "-c", self._broker.folder / "mosquitto.conf")

    def silent(self) -> subprocess.Popen[str]:
        """Have a broker (port 1883) and a name server that never answer."""
        return self._ready(_SILENT)

    def deaf(self, *asked: tuple[int, str]) -> subprocess.Popen[str]:
        """Have clients that ask and ask, and never read.

        Args:
            asked: port and request, for five clients each.
        """
        return self._ready(_DEAF, json.dumps(asked))

    def ask(self, url: str, **headers: str) -> Answer:
        """What an HTTP server says; redirections are not followed."""
        status, body = json.loads(self._run(sys.executable, "-c", _ASK, url, json.dumps(headers)))
        return Answer(status, base64.b64decode(body))

    def heard(self, *topics: str) -> dict[str, str]:
        """The next message, or the one that the broker retains, of each topic."""
        arguments = ["-c", _LISTEN, self.broker_port, self.authority, USER, PASSWORD, *topics]
        found: dict[str, str] = json.loads(self._run(sys.executable, *arguments))
        return found

    def close(self) -> None:
        """End them."""
        for process in self._running:
            process.kill()
            process.communicate()

    def _start(self, *command: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self._inside(command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._running.append(process)
        return process

    def _ready(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        process = self._start(sys.executable, "-c", code, *arguments)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    def _run(self, *command: Any) -> str:
        done = subprocess.run(self._inside(command), check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _inside(self, command: tuple[Any, ...]) -> list[str]:
        return ["nsenter", "--target", str(self._machine.leader), "--net", "--", *map(str, command)]
