"""The live page of a real run, for tests: a drawn scene, the shipped model, a journal with pictures to label."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple, Optional

import msgspec
import numpy as np

from edge import Classifier, Frame
from edge.cameras import Camera, CameraSettings, open_camera
from edge.config import Config
from edge.journal import pictures_folder
from edge.journal.settings import JournalSettings
from edge.loop import daemon
from edge.overview import Overview
from edge.privacy import PrivacySettings
from edge.records import Record
from edge.review.album import file_name
from edge.review.sampler import encode
from edge.web.outlet import Web
from edge.web.settings import WebSettings
from tests.journaling import until
from tests.runs import recorded

FREE = 0
"""A port that the system chooses."""


class Untold:
    """A camera that does not know what its frames show, so that people can tell."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.name, self.live, self.ended, self.lost = camera.name, True, False, None

    def read(self, timeout_s: float = 1.0) -> Optional[Frame]:
        frame = self._camera.read(timeout_s)
        return frame and msgspec.structs.replace(frame, label=None)


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Page:
    """A page that is served, of a run that goes on."""

    def __init__(self, web: Web, overview: Overview, journal: Optional[Path]) -> None:
        self.web, self.overview, self.journal = web, overview, journal
        until(lambda: not web.where.endswith(":0/"), "the page's port")
        self.url = web.where.rstrip("/")
        """Such as http://127.0.0.1:40123"""

    def get(self, path: str, **headers: str) -> Reply:
        """Ask, and follow nothing."""
        return self._asked(urllib.request.Request(self.url + path, headers=headers))

    def asked(self, method: str, path: str) -> Reply:
        """Ask by another method."""
        return self._asked(urllib.request.Request(self.url + path, method=method))

    def post(self, path: str, content: object = None, **headers: str) -> Reply:
        """Send JSON as the page does, or bytes as they are; headers by their names with _ for -."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        told = {"Origin": self.url, "Content_Type": "application/json", **headers}
        return self._asked(urllib.request.Request(self.url + path, body, told))

    def log_in(self, token: str) -> str:
        """The cookie, as a browser would send it."""
        form = {"token": token}
        body = urllib.parse.urlencode(form).encode()
        reply = self.post("/login", body, Content_Type="application/x-www-form-urlencoded")
        assert reply.status == 303, reply
        return str(reply.headers["Set-Cookie"]).partition(";")[0]

    def _asked(self, request: urllib.request.Request) -> Reply:
        request.headers = {name.replace("_", "-"): value for name, value in request.headers.items()}
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())


@contextmanager
def served(
    classifier: Classifier,
    folder: Path,
    *,
    journal: bool = True,
    pictures: int = 0,
    fps: Optional[float] = 20.0,
    token: Optional[str] = None,
    camera: Optional[Camera] = None,
    mask: tuple[tuple[float, float, float, float], ...] = (),
    **settings: Any,
) -> Iterator[Page]:
    """A page over a run that classifies until the end.

    Args:
        classifier: the fixture of that name.
        folder: an empty one of the test's.
        journal: whether the run has one.
        pictures: so many wait there for a label (there are photographs and noise, in turns).
        fps: frames classified a second; None: as many as can be.
        token: asked for by the page; None: it is open.
        camera: None: the drawn scene, which does not tell what it shows.
        mask: what is black in live pictures.
        settings: of the page.
    """
    path = folder / "field.db"
    config = Config(journal=JournalSettings(path=str(path) if journal else None, commit_s=0.05))
    if token is not None:
        (folder / "token").write_text(f"{token}\n")
        settings["token_file"] = str(folder / "token")
    classifier.begin_run()
    if pictures:
        keep_pictures(config, classifier, pictures)
        classifier.begin_run()
    settings.setdefault("port", FREE)
    web = Web(WebSettings(enabled=True, **settings), PrivacySettings(mask=mask))
    with closing(web), closing(camera or open_camera(CameraSettings(source="scene", fps=200.0))) as source:
        if journal:
            with (
                recorded(config, classifier, source.name) as run,
                _classifying(
                    classifier, camera or Untold(source), [run.overview, run.recording, web], run.overview, web, fps
                ),
            ):
                yield Page(web, run.overview, path)
        else:
            overview = Overview(classifier.run, classifier.ran, classifier.bundle.labels, source.name)
            with closing(overview):
                overview.begin()
                with _classifying(classifier, camera or Untold(source), [overview, web], overview, web, fps):
                    yield Page(web, overview, None)


@contextmanager
def _classifying(
    classifier: Classifier, camera: Any, sinks: list[Any], overview: Overview, web: Web, fps: Optional[float]
) -> Iterator[None]:
    web.begin(overview)
    stop = threading.Event()
    loop = threading.Thread(
        target=daemon.run,
        args=(camera, classifier, sinks, daemon.Limits(fps=fps), stop),
        kwargs={"watch": overview, "viewers": [overview, web], "keep_pixels": True},
    )
    loop.start()
    try:
        yield
    finally:
        stop.set()
        loop.join()


def keep_pictures(config: Config, classifier: Classifier, count: int) -> list[Record]:
    """A run that is over, whose journal has pictures with the model's answers; of two strata in turns."""
    import skimage.data

    photos = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]
    random, made = np.random.default_rng(0), []
    with recorded(config, classifier, "photographs") as run:
        folder = pictures_folder(run.recording.journal.path)
        folder.mkdir(exist_ok=True)
        began = datetime.now(timezone.utc) - timedelta(seconds=count)
        for number in range(count):
            photo = photos[number % len(photos)]
            top, left = (int(random.integers(0, side - 200)) for side in photo.shape[:2])
            pixels = np.ascontiguousarray(photo[top : top + 200, left : left + 200])
            record = classifier.classify(Frame(pixels, number, 0))
            record = msgspec.structs.replace(record, utc=(began + timedelta(seconds=number)).isoformat())
            name = file_name(record.utc, record.run, record.sequence)
            (folder / name).write_bytes(encode(pixels, 80))
            stratum, stands_for = (("ordinary", 95.0), ("unsure", 5.0))[number % 2]
            run.recording.journal.picture(record, stratum, stands_for, name)
            made.append(record)
    return made
