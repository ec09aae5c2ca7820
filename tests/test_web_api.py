"""What the page asks for and tells, of a real run over real HTTP."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edge import Classifier
from edge.web.messages import in_json
from tests.journaling import rows, until
from tests.web import Page, served


def threads(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == name]


@pytest.fixture(scope="module")
def page(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Open to all, with a journal."""
    with served(classifier, tmp_path_factory.mktemp("page")) as running:
        yield running


def test_nothing_is_encoded_and_nothing_told_until_somebody_asks(page: Page) -> None:
    seen = page.overview.frames
    until(lambda: page.overview.frames > seen + 20, "frames")
    assert not threads("page pictures")
    assert page.web.status().delivered == 0
    assert page.get("/picture.jpg").status == 200
    assert threads("page pictures")
    assert page.web.status().delivered == 1


def test_the_state_tells_the_run_and_goes_on(page: Page) -> None:
    first = page.get("/api/state").json
    assert first["status"]["model"] == "efficientnet_lite0_int8"
    assert first["features"] == {"preview": True, "truth": True, "review": True, "login": False}
    second = page.get(f"/api/state?after={first['number']}").json
    assert second["number"] == first["number"] + 1
    assert second["status"]["frames"] > first["status"]["frames"]
    assert second["predictions"][0]["label"] == "wall clock"
    assert len(second["predictions"]) == 5
    assert page.get("/api/state?after=3").json["recent"]


def test_only_what_is_new_of_the_chart_is_told_again(page: Page) -> None:
    told = page.get("/api/state").json
    until(lambda: (answer := page.get("/api/state").json)["recent"] and told.update(answer) is None, "samples")
    samples = {each["t"]: each for each in told["recent"]}
    for _ in range(4):
        told = page.get(f"/api/state?after={told['number']}").json
        assert len(told["recent"]) <= 2
        assert not samples.keys() & {each["t"] for each in told["recent"]}
        samples.update({each["t"]: each for each in told["recent"]})
    assert list(samples) == [0.5 * number + min(samples) for number in range(len(samples))]
    newest = samples[max(samples)]
    assert newest["invoke"] > 0
    assert newest["fps"] > 0


def test_all_who_wait_are_told_the_same(page: Page) -> None:
    number, began_s = page.get("/api/state").json["number"], time.monotonic()
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(lambda _: page.get(f"/api/state?after={number}"), range(20)))
    told = {answer.json["number"]: answer.json["status"] for answer in answers}
    # Whoever comes a moment later may be told the next one.
    assert len(told) <= 2 + (time.monotonic() - began_s) / 0.5
    assert all(told[answer.json["number"]] == answer.json["status"] for answer in answers)


def test_a_truth_told_on_the_page_is_the_runs_and_reaches_the_journal(page: Page) -> None:
    told = page.post("/api/truth", {"name": "Wall_Clock"}).json
    assert (told["truth"], told["by"]) == ("wall clock", "page")
    until(lambda: page.get("/api/state").json["status"]["truth"] == "wall clock", "the truth")
    until(lambda: page.get("/api/accuracy").json["live"]["frames"] > 5, "frames with a truth")
    refused = page.post("/api/truth", {"name": "wall clokc"})
    assert refused.status == 400
    assert "did you mean 'wall clock'" in refused.json["error"]
    assert page.post("/api/truth", {"name": None}).json == {"truth": None}
    assert page.journal
    journal = page.journal
    until(lambda: len(rows(journal, "SELECT 1 FROM events WHERE kind LIKE 'truth%'")) == 2, "events")
    events = rows(journal, "SELECT kind, detail FROM events WHERE kind LIKE 'truth%' ORDER BY id")
    assert [(kind, json.loads(detail)) for kind, detail in events] == [
        ("truth set", {"truth": "wall clock", "by": "page"}),
        ("truth cleared", {"by": "page"}),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/truth", b"{", 400),
        ("/api/truth", b'{"name": 3}', 400),
        ("/api/truth", b'{"name": null, "by": "root"}', 400),
        ("/api/truth", b"[" * 10_000, 400),
        ("/api/truth", b'{"name": "\xff"}', 400),
        ("/api/truth", b'{"name": "\\ud800"}', 400),
        ("/api/truth", b" " * 20_000, 413),
        ("/api/nothing", b"{}", 404),
        ("/api/state", b"{}", 405),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_sentence(page: Page, path: str, body: bytes, status: int) -> None:
    reply = page.post(path, body)
    assert reply.status == status
    sentence = reply.json["error"]
    assert sentence.endswith(".")
    assert "Traceback" not in sentence


def test_numbers_that_are_none_are_refused(page: Page) -> None:
    for text in ("-1", "x", "1" * 30, "", "%00"):
        assert page.get(f"/api/state?after={text}").status == 400, text


def test_labels_are_told_once_for_all(page: Page, classifier: Classifier) -> None:
    told = page.get("/api/labels").json
    assert tuple(told["labels"]) == classifier.bundle.labels
    assert told["sha"] == page.get("/api/state").json["labels_sha"]


def test_an_error_in_an_answer_is_told_without_its_details_and_logged_once(
    page: Page, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> dict[str, Any]:
        raise ZeroDivisionError("secret detail")

    page.overview.told_by.append(fails)
    try:
        until(lambda: page.get("/api/state").status == 500, "the fault")
        replies = [page.get("/api/state") for _ in range(3)]
    finally:
        page.overview.told_by.remove(fails)
    assert [reply.status for reply in replies] == [500] * 3
    answer = page.get("/api/state")
    assert answer.status == 200
    (logged,) = [record for record in caplog.records if "not expected" in record.getMessage()]
    assert "secret detail" in logged.getMessage()
    assert all(b"secret" not in reply.body for reply in replies)


def test_pages_and_answers_carry_what_keeps_browsers_from_harm(page: Page) -> None:
    for path in ("/", "/page.js", "/api/state", "/nothing", "/picture.jpg"):
        headers = page.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "aiohttp" not in headers["Server"]
    assert page.get("/").headers["Content-Type"].startswith("text/html")
    assert "HEAD" in page.post("/page.js", b"").headers["Allow"]
    for path in ("/../settings.py", "/%2e%2e/settings.py", "/page/../page.js", "/page.js/", "//page.js"):
        assert page.get(path).status == 404, path


def test_what_is_asked_for_with_head_has_no_body(page: Page) -> None:
    for path in ("/", "/page.js", "/picture.jpg", "/api/labels"):
        reply = page.asked("HEAD", path)
        assert (reply.status, reply.body) == (200, b""), path
        assert reply.headers["Content-Type"] == page.get(path).headers["Content-Type"]
        assert int(reply.headers["Content-Length"]) > 1_000
    assert page.asked("HEAD", "/nothing").status == 404


def test_what_is_no_number_is_null_also_beside_text_that_is_no_unicode() -> None:
    assert in_json({"a": [math.nan, -math.inf, 0.5], "b": "\udc80"}) == b'{"a": [null, null, 0.5], "b": "\\udc80"}'
    assert in_json([math.nan, 1]) == b"[null,1]"
