"""`edge doctor` about outlets: packages, a real broker with and without TLS, ports that are free and that are not."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge.control.server import Control
from edge.doctor import configuration, outlets
from edge.journal import socket_path
from tests.accelerators import bound_by_permissions
from tests.certificates import certify
from tests.doctoring import TREES, case, levels, told, write


def of(*set_: str, root: Path = Path("/"), **options: Any) -> list[str]:
    found = outlets.examine(case(root, None, *set_, **options))
    return [f"{each.level}: {each.what} -> {each.fix}" for each in found]


def test_nothing_is_switched_on() -> None:
    assert of("mqtt.host=nowhere") == ["note: none is switched on. -> None"]


def test_a_package_that_is_not_there_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho", None)
    assert of("mqtt.enabled=true") == [
        'blocks: mqtt: paho-mqtt is not installed. -> pip install "edge-runner[mqtt]", or for the service sudo '
        "systemd/install.sh --extras mqtt."
    ]


def test_another_machine_is_not_asked() -> None:
    found = of("mqtt.enabled=true", "web.enabled=true", "prometheus.enabled=true", root=TREES / "x86_64")
    assert [line.rpartition(" -> ")[0].rstrip(".0123456789 ") for line in found] == [
        *("ok: mqtt: paho-mqtt", "ok: prometheus: prometheus-client", "ok: web: aiohttp")
    ]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_is_free_or_not(taken: int, tmp_path: Path) -> None:
    free = free_port()
    [_, finding] = of("web.enabled=true", f"web.port={free}")
    assert finding == f"ok: web: port {free} of 127.0.0.1 is free. -> None"
    [_, finding] = of("prometheus.enabled=true", f"prometheus.port={taken}")
    assert finding.startswith(f"blocks: prometheus: port {taken} of 127.0.0.1 is in use by another program. -> give")
    config = write(tmp_path, "etc/edge-runner/config.yaml", f"web: {{enabled: true, port: {taken}}}")
    [_, used] = outlets.examine(Services(config, {}))
    assert (used.level, used.what) == ("note", f"web: port {taken} of 127.0.0.1 is in use, which may be the service.")
    token = write(tmp_path, "token", "0123456789abcdef")
    token.chmod(0o600)
    [_, finding, _] = of("web.enabled=true", "web.address=192.0.2.1", f"web.token_file={token}")
    assert finding.startswith("warning: web: port 8080 of 192.0.2.1 cannot be listened at: Cannot assign requested")


class Services(outlets.Case):
    """A configuration that is the installed service's."""

    is_services = True


def test_the_daemon_tells_how_its_outlets_do(taken: int, tmp_path: Path) -> None:
    journal = tmp_path / "field.db"
    journal.touch()
    status = {
        "prometheus": {"where": f"http://127.0.0.1:{taken}/metrics", "trouble": None, "delivered": 3, "dropped": 1},
        "web": {"where": "", "trouble": "Port 8080 is in use."},
    }
    control = Control(socket_path(journal), {"status": lambda _: {"outlets": status}})
    try:
        found = of("prometheus.enabled=true", f"prometheus.port={taken}", "web.enabled=true", journal=journal)
    finally:
        control.close()
    assert found[1::2] == [
        f"ok: prometheus: the daemon that runs has it at http://127.0.0.1:{taken}/metrics; 3 delivered, 1 dropped, "
        "0 waiting. -> None",
        "warning: web: the daemon that runs has trouble with it: Port 8080 is in use. -> it is tried again by itself.",
    ]


def test_secrets_are_told_here_and_not_with_the_configuration(tmp_path: Path) -> None:
    token = write(tmp_path, "token", "0123456789abcdef")
    token.chmod(0o200)
    config = write(tmp_path, "config.yaml", f"web: {{enabled: true, port: {free_port()}, token_file: {token}}}")
    for kind, level in ((outlets.Case, "warning"), (Services, "note")):
        with bound_by_permissions():
            found = list(outlets.examine(kind(config, {})))
            assert levels(found) == ["ok", "ok", level]
            assert f"web.token_file {token} cannot be read by this user" in told(found, level)
            assert levels(configuration.examine(kind(config, {}))) == ["ok"]


class Broker(NamedTuple):
    """A real one, on a port without TLS and on one with it."""

    port: int
    tls_port: int
    authority: Path


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if not program:
        pytest.skip("mosquitto is not installed (Debian: apt-get install mosquitto)")
    folder = tmp_path_factory.mktemp("broker")
    found = Broker(free_port(), free_port(), certify(folder))
    lines = [
        *("user root", "allow_anonymous true", f"listener {found.port} 127.0.0.1"),
        *(f"listener {found.tls_port} 127.0.0.1", f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"),
    ]
    settings = write(folder, "mosquitto.conf", "\n".join([*lines, ""]))
    with subprocess.Popen([program, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            wait_for(found.port)
            wait_for(found.tls_port)
            yield found
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int) -> None:
    until_s = time.monotonic() + 30
    while not listens(port):
        assert time.monotonic() < until_s, f"nothing listens on port {port}"
        time.sleep(0.05)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_broker_answers(broker: Broker) -> None:
    [package, answer] = of("mqtt.enabled=true", f"mqtt.port={broker.port}")
    assert package.startswith("ok: mqtt: paho-mqtt 2.")
    assert answer.startswith(f"ok: mqtt: something answers at localhost, port {broker.port}; whether it lets")
    [_, nobody] = of("mqtt.enabled=true", f"mqtt.port={free_port()}")
    assert nobody.startswith("warning: mqtt: localhost, port ")
    assert "cannot be reached: Connection refused. -> see whether the broker runs" in nobody
    [_, nowhere] = of("mqtt.enabled=true", f"mqtt.host={'x' * 300}")
    assert nowhere.startswith("warning: mqtt: xxx")


def test_tls_is_proved(broker: Broker, tmp_path: Path) -> None:
    secured = ("mqtt.enabled=true", "mqtt.tls=true", f"mqtt.port={broker.tls_port}")
    right = f"mqtt.ca_file={broker.authority}"
    [_, answer] = of(*secured, right)
    assert answer == (
        f"ok: mqtt: localhost, port {broker.tls_port} answers with TLSv1.3 and a certificate that is right for it. "
        "-> None"
    )
    [_, unknown] = of(*secured)
    assert unknown.startswith(f"warning: mqtt: the certificate of localhost, port {broker.tls_port} is refused: ")
    [_, other_name] = of(*secured, right, "mqtt.host=127.0.0.1")
    assert "IP address mismatch" in other_name
    [_, plain] = of("mqtt.enabled=true", "mqtt.tls=true", f"mqtt.port={broker.port}", right)
    assert plain.startswith(f"warning: mqtt: localhost, port {broker.port} ")
    no_authority = write(tmp_path, "authority.pem", "nothing of the kind\n")
    [_, unusable] = of(*secured, f"mqtt.ca_file={no_authority}")
    assert unusable.startswith("warning: mqtt: mqtt.ca_file, mqtt.cert_file or mqtt.key_file cannot be used: ")
