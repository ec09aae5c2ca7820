"""The live picture, made smaller and encoded only while somebody waits for it, and once for all who do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import NamedTuple, Optional

from edge.privacy import PrivacySettings
from edge.records import Frame, Record
from edge.web.settings import WebSettings
from edge.web.worker import Worker

PATIENCE_S = 10.0
"""So long at least somebody waits for a picture that does not come."""


class Picture(NamedTuple):
    """A live picture."""

    run: str
    sequence: int
    utc: str
    content: bytes
    """A JPEG file."""
    taken_s: float
    """On the monotonic clock."""


class Preview:
    """Takes a frame from the thread that classifies when one is wanted. All but `take` is for the server's thread."""

    def __init__(self, settings: WebSettings, privacy: PrivacySettings, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; nobody waits yet."""
        self.wanted = False
        """The next frame is to be given to `take`."""
        self._settings, self._mask, self._loop = settings, privacy.mask, loop
        self._period_s = 1 / settings.preview_fps
        self.patience_s = max(PATIENCE_S, 2 * self._period_s)
        """So long somebody waits: the next may be due after a period, and the camera be as slow."""
        self._worker = Worker("page pictures")
        self._newest: Optional[Picture] = None
        self._next: asyncio.Future[None] = loop.create_future()
        self._waiting = 0
        self._due_s = 0.0
        self._under_way = False
        self._alarm: Optional[asyncio.TimerHandle] = None
        self._complained = False

    def take(self, frame: Frame, record: Record) -> None:
        """Take a frame that is wanted; on the thread that classifies."""
        self.wanted = False
        self._under_way = True
        self._worker.put(lambda: self._encode(frame, record))

    async def next(self, after: Optional[int]) -> Optional[Picture]:
        """The next picture, or the newest where it is as new as can be; None where none comes.

        Args:
            after: the sequence of the one that was seen last.
        """
        newest = self._newest
        if newest and newest.sequence != after and time.monotonic() - newest.taken_s < self._period_s:
            return newest
        self._waiting += 1
        try:
            self._arrange()
            await asyncio.wait({self._next}, timeout=self.patience_s)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.wanted = False
        return None if self._newest is newest else self._newest

    def close(self) -> None:
        """End."""
        self.wanted = False
        if self._alarm:
            self._alarm.cancel()
        self._worker.close()

    def _arrange(self) -> None:
        """Have the next frame taken, as soon as one is due."""
        if not (self.wanted or self._under_way or self._alarm):
            self._alarm = self._loop.call_later(max(0.0, self._due_s - time.monotonic()), self._want)

    def _want(self) -> None:
        self._alarm = None
        self.wanted = self._waiting > 0

    def _encode(self, frame: Frame, record: Record) -> None:
        taken_s, picture = time.monotonic(), None
        try:
            picture = self._made(frame, record, taken_s)
        except Exception as error:  # whatever it is, those who wait are told, and the next may be made
            self._complain(error)
        with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
            self._loop.call_soon_threadsafe(self._publish, picture, taken_s)

    def _made(self, frame: Frame, record: Record, taken_s: float) -> Optional[Picture]:
        from edge.review.sampler import encode, miniature

        if not frame.pixels.size:
            return None
        small = miniature(frame.pixels, self._settings.preview_px, self._mask)
        content = encode(small, self._settings.preview_quality)
        return Picture(record.run, record.sequence, record.utc, content, taken_s)

    def _publish(self, picture: Optional[Picture], taken_s: float) -> None:
        self._due_s = taken_s + self._period_s
        self._under_way = False
        if picture is None:
            if self._waiting:
                self._arrange()
            return
        self._newest = picture
        done, self._next = self._next, self._loop.create_future()
        done.set_result(None)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logging.getLogger(__name__).warning(
                "web: a live picture could not be made, and the page shows none: %s: %s",
                *(type(error).__name__, " ".join(str(error).split())),
            )
