"""Serves metrics for Prometheus. What is counted goes on over the runs of the process."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Callable, Optional

from edge.errors import OutletError
from edge.extras import how_to_install
from edge.outlets import OutletStatus, Trouble
from edge.outlets.hosts import is_own, own_names
from edge.outlets.prometheus.counts import Counts
from edge.outlets.prometheus.server import HEAD_BYTES, Server
from edge.outlets.prometheus.wire import Response, parse, refusal, response
from edge.outlets.settings import PrometheusSettings
from edge.overview import Overview
from edge.records import Event, Record

if TYPE_CHECKING:
    from prometheus_client import Metric

PATH = "/metrics"
FRESH_S = 0.25
"""Whoever asks more often is told the same again, so that nobody can make this work without a pause."""

_MOST_FORMATS = 4


class Prometheus:
    """An outlet that is asked; see `edge.outlets.Outlet`."""

    def __init__(self, settings: PrometheusSettings) -> None:
        """Serve from now on, or as soon as the port can be had.

        Raises:
            OutletError: prometheus-client is not installed.
        """
        from edge.outlets.prometheus.families import Families

        self._counts = Counts()
        try:
            self._families = Families(self._counts)
        except ImportError:
            raise OutletError(f"prometheus-client is not installed: {how_to_install('prometheus')}.") from None
        self._loopback = ipaddress.ip_address(settings.address).is_loopback
        self._overview: Optional[Overview] = None
        self._texts = _Texts(lambda: self._families.collect(self._overview))
        self._trouble, self._failure = Trouble("prometheus"), Trouble("prometheus")
        self._server = Server(settings.address, settings.port, self._answer, self._trouble)

    def begin(self, overview: Overview) -> None:
        self._overview = overview
        self._counts.begin(overview.labels)

    def write(self, record: Record) -> None:
        self._counts.write(record)

    def event(self, event: Event) -> None:
        self._counts.event(event)

    def status(self) -> OutletStatus:
        server = self._server
        return OutletStatus(
            where=f"http://{server.place}{PATH}",
            trouble=self._trouble.sentence or self._failure.sentence,
            delivered=server.answered,
            dropped=server.dropped,
            waiting=server.waiting,
        )

    def close(self) -> None:
        self._server.close()

    def _answer(self, head: bytes) -> Response:
        request = parse(head)
        if request is None:
            sentence = f"This is no request that can be answered: expected GET {PATH} in at most {HEAD_BYTES} bytes."
            return refusal(HTTPStatus.BAD_REQUEST, sentence)
        host = request.headers.get("host", "localhost")
        if self._loopback and not is_own(host, own_names()):
            sentence = "This machine is not called so: expected localhost, an IP address, or the machine's own name."
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, sentence)
        if request.path != PATH:
            return refusal(HTTPStatus.NOT_FOUND, f"There is nothing here: the metrics are at {PATH}.")
        if request.method != "GET":
            return refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, f"Metrics can only be read: expected GET {PATH}.", Allow="GET"
            )
        try:
            text, content_type = self._texts.get(request.headers.get("accept", ""))
        except Exception as error:  # a fault in a metric is told to whoever asked, and must not end the thread
            sentence = f"the metrics cannot be told, which was not expected ({type(error).__name__}: {error})."
            self._failure.begins(sentence)
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
        self._failure.ends("the metrics are told again.")
        return response(HTTPStatus.OK, text, content_type)


class _Texts:
    """The metrics in the formats that are asked for; for one thread."""

    def __init__(self, collect: Callable[[], list[Metric]]) -> None:
        self._gather = collect
        self._metrics: list[Metric] = []
        self._until_s = 0.0
        self._texts: dict[str, bytes] = {}

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a registry."""
        return self._metrics

    def get(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the best format that is accepted, and its content type."""
        from prometheus_client.exposition import choose_encoder

        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._texts.clear()
            self._metrics = self._gather()
            self._until_s = now_s + FRESH_S
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder("")
        if content_type not in self._texts:
            if len(self._texts) >= _MOST_FORMATS:
                self._texts.clear()
            self._texts[content_type] = encode(self)
        return self._texts[content_type], content_type
