"""What is allowed in the outlets' configuration, and seldom meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from edge.config.secret_files import doubts
from edge.config.settings import Config
from edge.extras import how_to_install
from edge.outlets import host_name
from edge.outlets.packages import PACKAGES, is_installed
from edge.outlets.settings import MqttSettings, PrometheusSettings
from edge.web.settings import WebSettings

_SHORTEST_TOKEN = 16
"""Characters."""
_MAKER = "openssl rand -hex 16"
"""The command that prints a token."""


def enabled(config: Config) -> tuple[str, ...]:
    """The outlets that are switched on."""
    return tuple(name for name in PACKAGES if getattr(config, name).enabled)


def missing(config: Config) -> Iterator[str]:
    """A sentence for each outlet that is switched on, and whose package is not installed."""
    for name in enabled(config):
        if not is_installed(name):
            yield f"{name}.enabled is true, and {PACKAGES[name].name} is not installed: {how_to_install(name)}."


def warnings(config: Config) -> Iterator[str]:
    """A sentence for each thing that somebody should look at, of the outlets that are switched on."""
    if config.mqtt.enabled:
        yield from _of_mqtt(config.mqtt)
    if config.prometheus.enabled:
        yield from _of_prometheus(config.prometheus)
    if config.web.enabled:
        yield from _of_web(config.web)


def _of_mqtt(mqtt: MqttSettings) -> Iterator[str]:
    if mqtt.tls and mqtt.port == 1883:
        yield "mqtt.tls is true and mqtt.port is 1883, where brokers speak without TLS: leave mqtt.port out, for 8883."
    if not mqtt.tls and mqtt.port == 8883:
        yield "mqtt.port is 8883, where brokers expect TLS, and mqtt.tls is false: give mqtt.tls: true."
    if mqtt.password_file is not None:
        yield from doubts("mqtt.password_file", mqtt.password_file)
        if not mqtt.tls and not _is_this_machine(mqtt.host):
            yield (
                f"mqtt.password_file holds a password that goes to {mqtt.host} in clear: give mqtt.tls: true, unless "
                "you trust everybody in that network."
            )
    if mqtt.key_file is not None:
        yield from doubts("mqtt.key_file", mqtt.key_file, one_line=False)
    for key, path in (("mqtt.ca_file", mqtt.ca_file), ("mqtt.cert_file", mqtt.cert_file)):
        if path is not None:
            yield from doubts(key, path, secret=False, one_line=False)
            if not mqtt.tls:
                yield f"{key} has no effect without mqtt.tls: true."


def _of_prometheus(prometheus: PrometheusSettings) -> Iterator[str]:
    if not ipaddress.ip_address(prometheus.address).is_loopback:
        yield (
            f"prometheus.address is {prometheus.address}: whoever reaches this machine can read the metrics, without a "
            "password; let a firewall admit your Prometheus alone, unless you trust everybody in that network."
        )


def _of_web(web: WebSettings) -> Iterator[str]:
    if not web.loopback:
        yield (
            f"web.address is {web.address}: the token and the pictures go over the network unencrypted; that is for a "
            "network that you trust, or a VPN; else leave it at 127.0.0.1, behind a reverse proxy with TLS."
        )
    if web.token_file is not None:
        yield from doubts("web.token_file", web.token_file, shortest=_SHORTEST_TOKEN, maker=_MAKER)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "ip6-localhost", host_name().lower())
