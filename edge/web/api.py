"""What the page asks for and tells, each as a request with an answer."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable
from typing import Any, Callable, Optional

import msgspec

from edge.errors import JournalError
from edge.web.labelling import MOST_AT_ONCE, Labelling, Undo
from edge.web.labelling import Answer as Said
from edge.web.messages import Answer, RefusedError, Request, in_json, read_json
from edge.web.preview import Preview
from edge.web.run import Run, sha_of
from edge.web.settings import WebSettings
from edge.web.ticks import Ticks
from edge.web.worker import Worker

LOCKED_S = 1.0
"""So long a label waits for another program that writes the journal, and whatever waited for an earlier one."""
_LEAST_LOCKED_S = 0.05
_AT_ONCE = 20
_PICTURE = "/api/review/picture/"
Handler = Callable[[Request], Awaitable[Answer]]


class Api:
    """Answers whoever was let in. For the server's thread, but `run` is set by another."""

    def __init__(self, settings: WebSettings, preview: Preview) -> None:
        """Begin; no run is known yet.

        Args:
            settings: of the page.
            preview: the live picture.
        """
        self.run: Optional[Run] = None
        """The present one."""
        self.ticks = Ticks(lambda: self.run, self._features)
        self._settings, self._preview = settings, preview
        # Reading waits for nobody who writes.
        self._reading, self._writing = Worker("page journal"), Worker("page labels")
        self._labelling: Optional[Labelling] = None
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/api/state"): self._state,
            ("GET", "/api/labels"): self._labels,
            ("GET", "/picture.jpg"): self._picture,
            ("POST", "/api/truth"): self._truth,
            ("GET", "/api/review/next"): self._next,
            ("POST", "/api/review/label"): self._label,
            ("POST", "/api/review/undo"): self._undo,
            ("GET", "/api/accuracy"): self._accuracy,
        }

    def handler(self, method: str, path: str) -> Optional[Handler]:
        """What answers; None where nothing does."""
        if method == "GET" and re.fullmatch(f"{_PICTURE}[0-9]{{1,18}}", path):
            return self._review_picture
        return self._routes.get((method, path))

    def methods(self, path: str) -> set[str]:
        """How a path can be asked for."""
        return {method for method in ("GET", "POST") if self.handler(method, path)}

    def close(self) -> None:
        """Whoever waits is answered with what there is."""
        self.ticks.close()
        self._reading.close()
        self._writing.close()

    async def _state(self, request: Request) -> Answer:
        return Answer(body=await self.ticks.next(_number(request, "after")))

    async def _labels(self, request: Request) -> Answer:
        model_id = _number(request, "model_id")
        if model_id is None:
            return Answer(body=self._present().labels)
        labelling = self._present_labelling()
        labels = await self._reading.call(lambda: labelling.labels(model_id))
        return Answer(body=in_json({"labels": labels, "sha": sha_of(labels)}))

    async def _picture(self, request: Request) -> Answer:
        if not self._settings.preview:
            raise RefusedError(404, "Live pictures are switched off (web.preview).")
        picture = await self._preview.next(_number(request, "after"))
        if picture is None:
            return Answer(204, kind=None)
        headers = {"X-Sequence": str(picture.sequence), "X-Utc": picture.utc}
        return Answer(200, picture.content, "image/jpeg", headers)

    async def _truth(self, request: Request) -> Answer:
        said = await read_json(request, _Truth)
        answer = self._present().overview.answer_truth({"do": "truth", "name": said.name, "by": "page"})
        return Answer(body=in_json(answer))

    async def _next(self, request: Request) -> Answer:
        labelling, count = self._present_labelling(), _number(request, "count")
        wanted = min(MOST_AT_ONCE, max(1, _AT_ONCE if count is None else count))
        return Answer(body=in_json(await self._reading.call(lambda: labelling.next(wanted))))

    async def _review_picture(self, request: Request) -> Answer:
        labelling, picture_id = self._present_labelling(), int(request.path[len(_PICTURE) :])
        return Answer(200, await self._reading.call(lambda: labelling.picture(picture_id)), "image/jpeg")

    async def _label(self, request: Request) -> Answer:
        labelling, said = self._present_labelling(), await read_json(request, Said)
        return await self._write(lambda wait_s: labelling.label(said, wait_s))

    async def _undo(self, request: Request) -> Answer:
        labelling, slip = self._present_labelling(), await read_json(request, Undo)
        return await self._write(lambda wait_s: labelling.undo(slip, wait_s))

    async def _write(self, write: Callable[[float], dict[str, Any]]) -> Answer:
        """Have something written; all who wait for a locked journal wait side by side, not one after the other."""
        until_s = time.monotonic() + LOCKED_S
        told = await self._writing.call(lambda: write(max(_LEAST_LOCKED_S, until_s - time.monotonic())))
        return Answer(body=in_json(told))

    async def _accuracy(self, _: Request) -> Answer:
        run, reviewed, trouble = self._present(), None, None
        if run.overview.journal is not None:
            labelling = self._present_labelling()
            try:
                reviewed = await self._reading.call(lambda: labelling.accuracy(run.overview.run))
            except JournalError as error:  # what else there is can be told
                trouble = str(error)
        return Answer(body=in_json({"reviewed": reviewed, "trouble": trouble, "live": run.live_accuracy()}))

    def _features(self, run: Run) -> dict[str, bool]:
        return {
            "preview": self._settings.preview,
            "truth": True,
            "review": run.overview.journal is not None,
            "login": self._settings.token_file is not None,
        }

    def _present(self) -> Run:
        if self.run is None:
            raise RefusedError(503, "No run has begun yet: try again in a moment.")
        return self.run

    def _present_labelling(self) -> Labelling:
        path = self._present().overview.journal
        if path is None:
            raise RefusedError(
                404,
                "No journal is written, which would hold pictures: configure journal.path, and restart the service.",
            )
        if self._labelling is None or self._labelling.path != path:
            self._labelling = Labelling(path)
        return self._labelling


class _Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Optional[str]


def _number(request: Request, name: str) -> Optional[int]:
    text = request.query.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise RefusedError(400, f"{name} is {text[:50]!r}: expected a whole number.")
    return int(text)
