"""Whether the outlets that are switched on have what they need: a package, a broker that answers, a free port."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Union

from edge import device
from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning
from edge.doctor.imports import try_import
from edge.extras import how_to_install

if TYPE_CHECKING:
    from edge.outlets.settings import MqttSettings, PrometheusSettings
    from edge.web.settings import WebSettings

_CONNECT_S = 5.0
"""For a broker to answer, and for the daemon."""
_CHECK = "correct it, then `edge config check`."


def examine(case: Case) -> Iterator[Finding]:
    """Each that is switched on; on other machines than this one only the settings."""
    # Here, because they bring numpy, and what is wrong with that is to be told.
    from edge.config.outlet_advice import enabled, warnings
    from edge.config.secret_files import UNREADABLE

    names = enabled(case.config)
    if not names:
        yield note("none is switched on.")
        return
    told = _told_by_daemon(case)
    for name in names:
        package = list(_of_package(name))
        yield from package
        if package[0].level != "ok" or case.root != device.ROOT:
            continue
        if name == "mqtt":
            yield from _of_broker(case.config.mqtt)
        elif name not in told:
            yield from _of_port(name, getattr(case.config, name), case.is_services)
        if name in told:
            yield _of_daemon(name, told[name])
    for sentence in warnings(case.config):
        # The service is another user, who may well be able to.
        yield note(sentence) if case.is_services and UNREADABLE in sentence else warning(sentence, _CHECK)


def _of_package(name: str) -> Iterator[Finding]:
    from edge.outlets.packages import PACKAGES

    package = PACKAGES[name]
    found = try_import(package.module)
    if found.installed and not found.why:
        try:
            number = f" {version(package.name)}"
        except PackageNotFoundError:  # from apt, under another name
            number = ""
        yield ok(f"{name}: {package.name}{number}.")
        return
    why = f"cannot be imported ({found.why})" if found.installed else "is not installed"
    yield blocks(f"{name}: {package.name} {why}.", f"{how_to_install(name)}.")


def _told_by_daemon(case: Case) -> dict[str, dict[str, Any]]:
    """What the daemon that records to the configured journal says of its outlets; nothing where there is none."""
    from edge.control.client import ask
    from edge.errors import ControlError, JournalError
    from edge.journal import journal_path, socket_path

    if case.config.journal.path is None or case.root != device.ROOT:
        return {}
    try:
        path = journal_path(case.config.journal)
        status: dict[str, Any] = ask(socket_path(path), {"do": "status"}, _CONNECT_S, journal=path)
    except (ControlError, JournalError):  # which the section journal tells
        return {}
    return status.get("outlets") or {}


def _of_daemon(name: str, status: dict[str, Any]) -> Finding:
    where, trouble = status.get("where") or "nowhere", status.get("trouble")
    if trouble:
        return warning(f"{name}: the daemon that runs has trouble with it: {trouble}", "it is tried again by itself.")
    counts = ", ".join(f"{status.get(count, 0)} {count}" for count in ("delivered", "dropped", "waiting"))
    return ok(f"{name}: the daemon that runs has it at {where}; {counts}.")


def _of_broker(mqtt: MqttSettings) -> Iterator[Finding]:
    """Whether it can be reached, and is the one that its certificate says; no login is tried."""
    from edge.outlets.mqtt.dialing import LostError, dial, where

    try:
        link = dial(mqtt, time.monotonic() + _CONNECT_S)
    except LostError as error:
        yield warning(f"mqtt: {error}", "the daemon tries again by itself, at least once a minute.")
        return
    with link:
        proved = f", with {link.version()} and a certificate that is right" if isinstance(link, ssl.SSLSocket) else ""
    yield ok(f"mqtt: {where(mqtt)} answers{proved}; whether it lets this machine in was not tried.")


def _of_port(name: str, settings: Union[PrometheusSettings, WebSettings], is_services: bool) -> Iterator[Finding]:
    """Whether it could be listened at; tried without listening."""
    address, port = settings.address, settings.port
    where = f"port {port} of {address}"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address, port))
    except PermissionError:
        yield blocks(f"{name}: {where} is for root alone.", f"give a {name}.port of 1024 or more.")
    except OSError as error:
        if error.errno == errno.EADDRINUSE and is_services:
            yield note(
                f"{name}: {where} is in use, which may be the service.",
                "`sudo edge doctor` may ask it; `sudo ss -ltnp` tells who listens where.",
            )
        elif error.errno == errno.EADDRINUSE:
            yield blocks(
                f"{name}: {where} is in use by another program.",
                f"give another {name}.port; `sudo ss -ltnp` tells who listens where.",
            )
        else:
            yield warning(f"{name}: {where} cannot be listened at: {error.strerror or error}.", f"see {name}.address.")
    else:
        yield ok(f"{name}: {where} is free.")
