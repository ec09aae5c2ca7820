"""The live page as an outlet: a thread with a server, which is told of each frame and shows it to whoever looks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Any, Optional

from edge.errors import OutletError
from edge.extras import how_to_install
from edge.outlets import CLOSE_S, OutletStatus, Trouble
from edge.overview import Overview
from edge.privacy import PrivacySettings
from edge.records import Event, Frame, Record
from edge.web.api import Api
from edge.web.preview import Preview
from edge.web.run import Run
from edge.web.server import Server, listen
from edge.web.settings import WebSettings
from edge.web.site import Site

_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_LOOK_AGAIN_S = 10.0
_log = logging.getLogger(__name__)


class Web:
    """Serves the page until it is closed."""

    def __init__(self, settings: WebSettings, privacy: PrivacySettings) -> None:
        """Start the thread; where it cannot listen, it tries again.

        Args:
            settings: where, to whom and what; a port of 0 takes one that is free.
            privacy: what nobody is to see.

        Raises:
            OutletError: aiohttp is not installed, or others could reach the page without a token.
        """
        try:
            import aiohttp  # noqa: F401
        except ImportError:
            raise OutletError(f"aiohttp is not installed: {how_to_install('web')}.") from None
        if not settings.loopback and settings.token_file is None:
            raise OutletError(f"web.address is {settings.address}, which others reach: expected a web.token_file.")
        self.wants_pixels = settings.preview
        self._settings = settings
        self._port = settings.port
        self._trouble = Trouble("web")
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_on_fault)
        self._end = self._loop.create_future()
        self._preview = Preview(settings, privacy, self._loop)
        self._api = Api(settings, self._preview)
        self._site = Site(settings, self._api)
        self._run: Optional[Run] = None
        self._server: Optional[Server] = None
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)
        self._thread.start()

    def begin(self, overview: Overview) -> None:
        """A run begins."""
        self._run = self._api.run = Run(overview)

    def write(self, record: Record) -> None:
        """Take in one frame's record."""
        if self._run:
            self._run.write(record)

    def see(self, frame: Frame, record: Record) -> None:
        """Show a frame, where somebody waits for one."""
        if self._preview.wanted:
            self._preview.take(frame, record)

    def event(self, event: Event) -> None:
        """Nothing to do: the overview keeps what happened."""

    def status(self) -> OutletStatus:
        """How it does."""
        server = self._server
        return OutletStatus(
            where=self.where,
            trouble=self._trouble.sentence or self._site.admission.trouble,
            delivered=server.answered if server else 0,
            dropped=server.connections.dropped if server else 0,
        )

    @property
    def where(self) -> str:
        """The page's address."""
        address = self._settings.address
        return f"http://{f'[{address}]' if ':' in address else address}:{self._port}/"

    def close(self) -> None:
        """Hang up and end."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._finish)
        self._thread.join(CLOSE_S)

    def _finish(self) -> None:
        if not self._end.done():
            self._end.set_result(None)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _live(self) -> None:
        """Listen, again and again where that is not possible, until the end."""
        wait_s = _FIRST_WAIT_S
        self._server = server = Server(self._site.answer)
        while not self._end.done():
            try:
                listener = listen(self._settings.address, self._settings.port)
            except OSError as error:
                self._trouble.begins(
                    f"cannot listen at {self.where} ({error.strerror or error}): end the program that does, or give "
                    "another web.address or web.port; it is tried again, at least once a minute."
                )
                await asyncio.wait({self._end}, timeout=wait_s)
                wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
                continue
            self._port = int(listener.getsockname()[1])
            self._trouble.ends(f"listens at {self.where}.")
            await self._serve_at(server, listener)
        self._preview.close()
        self._api.close()
        await server.close()

    async def _serve_at(self, server: Server, listener: socket.socket) -> None:
        serving = asyncio.ensure_future(server.serve(listener))
        admission = self._site.admission
        admission.look()
        while not (self._end.done() or serving.done()):
            again_s = _LOOK_AGAIN_S if admission.trouble else None
            await asyncio.wait({self._end, serving}, timeout=again_s, return_when=asyncio.FIRST_COMPLETED)
            if admission.trouble:
                admission.look()
        serving.cancel()
        await asyncio.wait({serving})


def _on_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _log.error("The page's server failed, which was not expected: %s", context.get("exception") or context["message"])
