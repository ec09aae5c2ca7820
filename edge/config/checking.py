"""What was given, to one `Config`; or all that is wrong with it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any, Callable, NamedTuple, get_args, get_origin

import msgspec

from edge import runtimes
from edge.config.document import KEYS, Found, Given, Problem, shown
from edge.config.settings import Config
from edge.errors import ConfigError
from edge.expectations import unmet
from edge.outlets.settings import PrometheusSettings, require_address, require_host, require_prefix, require_topic
from edge.privacy import PrivacySettings
from edge.runtimes.edgetpu.options import require_devices
from edge.schedule import Schedule
from edge.web.settings import WebSettings


class Judged(NamedTuple):
    """A configuration, who said what, and what is wrong with it."""

    config: Config
    """Keys that are wrong have their defaults."""
    origins: dict[str, str]
    """Who gave a key its value; keys that have their defaults are left out."""
    wrong: frozenset[str]
    """Keys with a value that cannot be."""
    problems: tuple[str, ...]
    """All that is wrong: a sentence each."""


def judge(found: Iterable[Found]) -> Judged:
    """The configuration that was given; of several values for a key the last one holds, and all are checked."""
    problems: list[str] = []
    given: dict[str, Given] = {}
    wrong: set[str] = set()
    for each in found:
        if isinstance(each, Problem):
            problems.append(each.sentence)
            continue
        sentences = [f"{each.where}: {sentence}" for sentence in _problems(each)]
        problems += sentences
        given[each.key] = each
        if sentences:
            wrong.add(each.key)
    right = {key: each for key, each in given.items() if key not in wrong}
    config = _built({key: each.value for key, each in right.items()})
    for keys, sentence in contradictions(config):
        if not wrong & set(keys):
            where = next((f"{given[key].where}: " for key in keys if key in given), "")
            problems.append(f"{where}{sentence}")
    return Judged(config, {key: each.where for key, each in right.items()}, frozenset(wrong), tuple(problems))


def contradictions(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Keys that are right each for itself and not together, and a sentence that says so."""
    if config.review.keep_pictures and config.journal.path is None:
        yield (
            ("review.keep_pictures", "journal.path"),
            "review.keep_pictures is on, and there is no journal to keep pictures for: give journal.path (--journal).",
        )
    if config.camera.isp_resize and config.camera.source not in ("auto", "camera", "picamera"):
        yield (
            ("camera.isp_resize", "camera.source"),
            f"camera.isp_resize is for a CSI camera (picamera), and camera.source is {shown(config.camera.source)}.",
        )
    if config.web.enabled and config.web.token_file is None and not config.web.loopback:
        yield (
            ("web.address", "web.token_file", "web.enabled"),
            f"web.address is {shown(config.web.address)}, where others can reach the page, and there is no token: "
            "write one into a file that only the service may read, `(umask 077; openssl rand -hex 16 >web.token)`, and "
            "name that file in web.token_file.",
        )
    if config.prometheus.enabled and config.web.enabled and _meet(config.prometheus, config.web):
        yield (
            ("prometheus.port", "web.port", "prometheus.address", "web.address", "prometheus.enabled", "web.enabled"),
            f"prometheus.port and web.port are both {config.web.port}, where only one can listen: give one of them "
            "another.",
        )
    if config.mqtt.user is None and config.mqtt.password_file is not None:
        yield (("mqtt.password_file", "mqtt.user"), "mqtt.password_file is given, and no mqtt.user: give both or none.")
    if (config.mqtt.cert_file is None) != (config.mqtt.key_file is None):
        yield (
            ("mqtt.cert_file", "mqtt.key_file"),
            "mqtt.cert_file and mqtt.key_file belong together: give both or none.",
        )


def _meet(one: PrometheusSettings, other: WebSettings) -> bool:
    """Whether two servers would listen at one port."""
    addresses = {ipaddress.ip_address(one.address), ipaddress.ip_address(other.address)}
    return one.port == other.port and (len(addresses) == 1 or any(each.is_unspecified for each in addresses))


def _problems(given: Given) -> Iterator[str]:
    """What is wrong with one value, item by item where it is a list."""
    kind = KEYS[given.key]
    item = _item_of(kind)
    if item is None or not isinstance(given.value, (list, tuple)):
        parts = [(given.key, given.text, unmet(given.value, kind))]
    else:
        parts = [(f"{given.key}[{at}]", _told(each), unmet(each, item)) for at, each in enumerate(given.value)]
    wrong = [f"{name} is {text}: expected {expected}." for name, text, expected in parts if expected]
    yield from wrong
    if not wrong:
        yield from _further(given.key, msgspec.convert(given.value, kind))


def _further(key: str, value: Any) -> Iterator[str]:
    """What a key's type cannot tell."""
    if key == "privacy.mask":
        yield from _refusal(PrivacySettings, value)
    elif key == "runtime.name":
        yield from _refusal(runtimes.require_name, value)
    elif key == "runtime.device":
        yield from _refusal(require_devices, (value,) if isinstance(value, str) else value)
    elif key in ("web.address", "prometheus.address"):
        yield from _refusal(require_address, key, value)
    elif key == "mqtt.host":
        yield from _refusal(require_host, value)
    elif key in ("mqtt.prefix", "mqtt.name") and value is not None:
        yield from _refusal(require_topic, key, value)
    elif key == "mqtt.discovery" and value is not None:
        yield from _refusal(require_prefix, key, value)
    elif key == "schedule":
        for text in value:
            yield from _refusal(Schedule.parse, [text])


def _refusal(judge: Callable[..., object], *given: object) -> tuple[str, ...]:
    try:
        judge(*given)
    except ConfigError as error:
        return error.problems
    return ()


def _item_of(kind: Any) -> Any:
    """The type of a list's items; None for what is no list."""
    for each in (kind, *get_args(kind)):
        if get_origin(each) is tuple and get_args(each)[-1] is ...:
            return get_args(each)[0]
    return None


def _told(value: object) -> str:
    try:
        return shown(str(value))
    except ValueError:  # Python refuses to print some
        return "a huge number"


def _built(values: dict[str, Any]) -> Config:
    document: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = document
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return msgspec.convert(document, Config)
