"""Outlets of the installed service, under the unit as it is: with a network, before there is one, and hung.

`make test-system`, as root; how, [conftest.py](conftest.py) tells. What they speak with: [peers.py](peers.py).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.vm.conftest import EXTRAS, Story
from tests.vm.installed import CONFIG, CONFIGURATION, UNIT, Installed
from tests.vm.nspawn import MachineError, until
from tests.vm.peers import BROKER, PASSWORD, USER, Peers

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("healthy")]

ADDRESS = "192.0.2.1"
"""Of the machine, once it has a network."""
ETC, PASSED_ON = "/etc/edge-runner", f"/run/credentials/{UNIT}"
DROP_IN = f"""[Service]
LoadCredential=mqtt:{ETC}/mqtt.password
LoadCredential=web:{ETC}/web.token
"""
KEEP_NAMES = "mkdir /run/names; cd /etc; for name in hosts resolv.conf; do [ ! -e $name ] || mv $name /run/names; done"
GIVE_BACK_NAMES = "rm -f /etc/hosts /etc/resolv.conf; find /run/names -type f -exec mv -t /etc {} +"
STOP_S = 1.0
"""The promise for an end with hung outlets."""
BACK_S = 60.0
"""An outlet tries at least so often."""


@pytest.fixture(scope="module")
def peers(service: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    machine = service.machine
    machine.run("sh", "-c", KEEP_NAMES)
    peers = Peers(machine, tmp_path_factory.mktemp("peers"))
    try:
        yield peers
    finally:
        peers.close()
        machine.run("sh", "-c", GIVE_BACK_NAMES)


@pytest.fixture(scope="module")
def token(service: Installed, peers: Peers) -> str:
    """What the page asks for; the unit passes it on, and the broker's password."""
    token = secrets.token_hex()
    for name, secret in (("mqtt.password", PASSWORD), ("web.token", token)):
        service.write(f"{ETC}/{name}", f"{secret}\n")
        service.machine.path(f"{ETC}/{name}").chmod(0o600)
    service.write(f"{ETC}/authority.pem", peers.authority.read_text())
    service.write(f"/etc/systemd/system/{UNIT}.d/97-secrets.conf", DROP_IN)
    service.systemctl("daemon-reload")
    return token


def configuration(mqtt: str, web: str) -> str:
    outlets = {"mqtt": f"name: vm, {mqtt}", "prometheus": "port: 9464", "web": web}
    return CONFIGURATION + "".join(f"{name}: {{enabled: true, {more}}}\n" for name, more in outlets.items())


def troubles(service: Installed) -> dict[str, str]:
    """By the outlets' names, of those that do not work."""
    outlets: dict[str, dict[str, Any]] = service.status()["outlets"]
    assert set(outlets) == set(EXTRAS.split(","))
    return {name: status["trouble"] for name, status in outlets.items() if status["trouble"]}


def all_work(service: Installed) -> None:
    """Wait until all outlets work."""
    try:
        until(lambda: not troubles(service), "all outlets work", BACK_S)
    except MachineError as error:
        raise MachineError(f"{error}: {troubles(service)}") from None


def test_outlets_before_there_is_a_network(service: Installed, peers: Peers, token: str, story: Story):
    without_s = service.cold_start_s()
    asleep = peers.silent()
    # The name server is one that does not answer; it is given up sooner than by default, or this would take long.
    service.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    broker = f"host: {BROKER}, port: {peers.broker_port}, tls: true, ca_file: {ETC}/authority.pem"
    secret = f"user: {USER}, password_file: {PASSED_ON}/mqtt"
    service.write(CONFIG, configuration(f"{broker}, {secret}", f"address: {ADDRESS}, token_file: {PASSED_ON}/web"))
    with_s = service.cold_start_s()
    pid = service.pid
    told = until(lambda: found if len(found := troubles(service)) == 2 else None, "two outlets are in trouble", 30)
    story.say(f"without a network, cold start: {with_s:.2f} s, without outlets {without_s:.2f} s; {told}")
    assert with_s <= 2 * without_s + 1.0

    asleep.kill()
    broker = peers.broker()
    service.machine.run("sh", "-c", f"echo 127.0.0.1 localhost {BROKER} >/etc/hosts")
    service.machine.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    began_s = time.monotonic()
    all_work(service)
    story.tell(
        "no network at the start: no name server, no broker, not the page's address",
        f"READY and classifying, {with_s - without_s:+.1f} s against no outlets; the troubles in `edge status`",
        f"all outlets work {time.monotonic() - began_s:.1f} s after there was one",
    )
    everything_answers(service, peers, token)
    doctor = json.loads(service.machine.run("edge", "doctor", "--json"))["sections"]["outlets"]
    doubts = [finding for finding in doctor if finding["level"] != "ok"]
    story.say(f"edge doctor: {len(doctor) - len(doubts)} times all is well, and {doubts}")
    assert [doubt["what"].partition(":")[0] for doubt in doubts] == [f"web.address is {ADDRESS}"]

    broker.kill()
    began_s = time.monotonic()
    why = until(lambda: troubles(service).get("mqtt"), "the broker is missed", BACK_S)
    noticed_s = time.monotonic() - began_s
    peers.broker()
    began_s = time.monotonic()
    all_work(service)
    story.tell(
        "the broker killed, and started again",
        f'`edge status` told so after {noticed_s:.1f} s: "{why}"; classifying went on',
        f"{time.monotonic() - began_s:.1f} s after it was back",
    )
    assert service.pid == pid


def everything_answers(service: Installed, peers: Peers, token: str) -> None:
    heard = peers.heard("edge/vm/availability", "edge/vm/state")
    assert heard["edge/vm/availability"] == "online"
    assert json.loads(heard["edge/vm/state"])["label"]
    metrics = peers.ask("http://127.0.0.1:9464/metrics")
    assert metrics.status == 200
    assert b"\nedge_frames_total" in metrics.body
    page, allowed = f"http://{ADDRESS}:8080", {"Authorization": f"Bearer {token}"}
    assert peers.ask(f"{page}/api/state").status == 401
    assert peers.ask(f"{page}/api/state", Authorization=f"Bearer {token[:-1]}").status == 401
    state = json.loads(peers.ask(f"{page}/api/state", **allowed).body)
    assert state["status"]["run"] == service.status()["run"]
    picture = peers.ask(f"{page}/picture.jpg", **allowed)
    assert (picture.status, picture.body[:2]) == (200, b"\xff\xd8")


def test_stop_with_hung_outlets(service: Installed, peers: Peers, story: Story):
    peers.silent()
    service.write(CONFIG, configuration("host: 127.0.0.1, every_frame: true", "preview_fps: 60"))
    service.systemctl("restart", UNIT)
    service.ready_at_s()
    until(lambda: {*troubles(service)} <= {"mqtt"}, "the page and the metrics are served", BACK_S)
    assert b"<html" in peers.ask("http://127.0.0.1:8080/").body  # without a token, on this machine
    whole, half = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET {} HTTP/1.1\r\nHost: localhost\r\nX-"
    deaf = [(9464, each.format("/metrics")) for each in (whole, half)]
    deaf += [(8080, whole.format(path)) for path in ("/api/state", "/picture.jpg")]
    peers.deaf(*deaf)
    frames = service.status()["frames"]
    until(lambda: service.status()["frames"] > frames + 30, "it goes on classifying", 30)
    outlets = service.status()["outlets"]
    story.say(f"hung: {outlets}")
    assert outlets["mqtt"]["delivered"] == 0
    service.systemctl("stop", UNIT)
    shown = service.show("Result", "ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic")
    took_s = (int(shown["InactiveEnterTimestampMonotonic"]) - int(shown["ActiveExitTimestampMonotonic"])) / 1e6
    story.tell(
        "systemctl stop, while a broker never answers, and scrapes and browsers never read",
        f"{shown['Result']}; the journal whole",
        f"{took_s:.2f} s (bar: {STOP_S:g} s)",
    )
    assert shown["Result"] == "success"
    assert took_s <= STOP_S
    service.journal_is_whole()
