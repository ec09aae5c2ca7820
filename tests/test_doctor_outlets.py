"""`edge doctor` about outlets: packages, a real broker with and without TLS, ports that are free and that are not."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.control.server import Control
from edge.doctor import configuration, outlets
from edge.journal import socket_path
from tests.accelerators import bound_by_permissions
from tests.broker import Broker, free_port
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
        "blocks: mqtt: paho-mqtt is not installed. -> in the checkout `.venv/bin/pip install -e '.[mqtt]'`, with the "
        "service `sudo systemd/install.sh --extras mqtt`."
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


def test_a_broker_answers(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        [package, answer] = of("mqtt.enabled=true", f"mqtt.port={broker.port}")
    assert package.startswith("ok: mqtt: paho-mqtt 2.")
    assert answer.startswith(f"ok: mqtt: mqtt://localhost:{broker.port} answers; whether it lets this machine in was")
    [_, nobody] = of("mqtt.enabled=true", f"mqtt.port={broker.port}")
    assert nobody.startswith(f"warning: mqtt: Nothing listens at mqtt://localhost:{broker.port}")


def test_tls_is_proved(tmp_path: Path) -> None:
    authority = certify(tmp_path)
    with Broker(tmp_path, tls=tmp_path) as broker:
        secured = ("mqtt.enabled=true", "mqtt.tls=true", f"mqtt.port={broker.port}")
        [_, answer] = of(*secured, f"mqtt.ca_file={authority}")
        [_, unknown] = of(*secured)
    assert answer.startswith(
        f"ok: mqtt: mqtts://localhost:{broker.port} answers, with TLSv1.3 and a certificate that is right; whether"
    )
    assert unknown.startswith(f"warning: mqtt: The certificate of mqtts://localhost:{broker.port} is of another")
