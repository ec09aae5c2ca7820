"""Live pictures: made only for those who wait, once for all of them, and without what is private."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest

from edge import Classifier
from edge.privacy import PrivacySettings
from edge.review import sampler
from edge.web.preview import Preview
from edge.web.settings import WebSettings
from tests.journaling import until
from tests.web import Page, Reply, served

FPS = 10.0


@pytest.fixture(scope="module")
def page(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Pictures 320 px wide, whose left half is private."""
    settings = {"preview_px": 320, "preview_fps": FPS, "fps": 50.0, "journal": False}
    folder = tmp_path_factory.mktemp("page")
    with served(classifier, folder, mask=((0.0, 0.0, 0.5, 1.0),), **settings) as running:
        yield running


def sequence(reply: Reply) -> int:
    assert reply.status == 200
    return int(reply.headers["X-Sequence"])


def test_pictures_are_small_and_without_what_is_masked(page: Page) -> None:
    reply = page.get("/picture.jpg")
    assert reply.headers["Content-Type"] == "image/jpeg"
    pixels = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (240, 320, 3)
    assert pixels[:, :150].max() < 8
    assert pixels[:, 170:].max() > 100


def test_pictures_follow_each_other_no_faster_than_asked_for(page: Page) -> None:
    newest = sequence(page.get("/picture.jpg"))
    began_s, seen = time.monotonic(), []
    for _ in range(8):
        newest = sequence(page.get(f"/picture.jpg?after={newest}"))
        seen.append(newest)
    assert time.monotonic() - began_s > 6 / FPS
    assert seen == sorted(set(seen))


def test_all_who_wait_get_the_same_picture(page: Page) -> None:
    newest, began_s = sequence(page.get("/picture.jpg")), time.monotonic()
    with ThreadPoolExecutor(20) as clients:
        replies = list(clients.map(lambda _: page.get(f"/picture.jpg?after={newest}"), range(20)))
    made = {sequence(reply): reply.body for reply in replies}
    # Whoever comes a moment later may get the next one.
    assert len(made) <= 2 + FPS * (time.monotonic() - began_s)
    assert all(made[sequence(reply)] == reply.body for reply in replies)


def test_what_was_taken_long_ago_is_not_shown_as_live(page: Page) -> None:
    old = sequence(page.get("/picture.jpg"))
    seen = page.overview.frames
    while page.overview.frames < seen + 25:
        time.sleep(0.01)
    assert sequence(page.get("/picture.jpg")) > old + 20


def test_the_moment_is_told(page: Page) -> None:
    utc = page.get("/picture.jpg").headers["X-Utc"]
    assert utc.startswith("20")
    assert utc.endswith("+00:00")


def test_whoever_hangs_up_does_not_keep_others_waiting(page: Page) -> None:
    newest = sequence(page.get("/picture.jpg"))
    with ThreadPoolExecutor(2) as clients:
        import socket

        host, _, port = page.url.rpartition("/")[2].rpartition(":")
        for _ in range(20):
            with socket.create_connection((host, int(port))) as rude:
                rude.sendall(f"GET /picture.jpg?after={newest} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert sequence(clients.submit(page.get, f"/picture.jpg?after={newest}").result(20)) > newest
    until(lambda: not page.web._preview._waiting, "the end of those who hung up")


def test_a_picture_that_cannot_be_made_is_told_once_and_the_next_is_made(
    page: Page, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails = []

    def once_in_a_while(*_: Any) -> bytes:
        fails.append(1)
        raise (RuntimeError, OSError, MemoryError)[len(fails) % 3]("no such luck")

    newest = sequence(page.get("/picture.jpg"))
    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as clients:
        patched.setattr(sampler, "encode", once_in_a_while)
        waiting = clients.submit(page.get, f"/picture.jpg?after={newest}")
        until(lambda: len(fails) > 3, "faults")
        patched.undo()
        assert sequence(waiting.result(20)) > newest
    (told,) = [record.getMessage() for record in caplog.records if "live picture" in record.getMessage()]
    assert told.endswith("OSError: no such luck")


def test_a_picture_in_ten_seconds_is_waited_for() -> None:
    """The next is due after ten seconds, and then the camera takes its time."""
    loop = asyncio.new_event_loop()
    with closing(loop):
        slow = Preview(WebSettings(preview_fps=0.1), PrivacySettings(), loop)
        assert slow.patience_s == 20
        assert Preview(WebSettings(), PrivacySettings(), loop).patience_s == 10
