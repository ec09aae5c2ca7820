"""Labelling kept pictures on the page, and the accuracy that comes of it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge import Classifier
from edge.journal import pictures_folder, schema
from edge.overview import Overview
from edge.privacy import PrivacySettings
from edge.report.accuracy.sums import REVIEWED
from edge.report.gather import gather
from edge.review import store
from edge.web.outlet import Web
from edge.web.settings import WebSettings
from tests.journaling import rows, until
from tests.journals import BOOTED_NS, insert
from tests.web import Page, Reply, served

COUNT = 14


@pytest.fixture
def page(classifier: Classifier, tmp_path: Path) -> Iterator[Page]:
    """With pictures that wait for a label."""
    with served(classifier, tmp_path, pictures=COUNT, fps=5.0) as running:
        yield running


def journal(page: Page) -> Path:
    assert page.journal
    return page.journal


def file_of(page: Page, picture_id: int) -> str:
    found = rows(journal(page), f"SELECT file FROM pictures WHERE id = {picture_id}")
    return str(found[0][0]) if found else "20260101-000000-run-1.jpg"


def say(page: Page, **said: Any) -> Reply:
    if "id" in said and "file" not in said:
        said["file"] = file_of(page, said["id"]) if 0 < said["id"] < 2**63 else ""
    return page.post("/api/review/label", said)


def label(page: Page, **said: Any) -> Any:
    reply = say(page, **said)
    assert reply.status == 200, reply
    return reply.json


def test_pictures_come_in_random_order_until_they_are_labelled(page: Page) -> None:
    told = page.get("/api/review/next?count=100").json
    assert (told["waiting"], told["labelled"], len(told["pictures"])) == (COUNT, 0, COUNT)
    orders = {tuple(each["id"] for each in page.get("/api/review/next").json["pictures"]) for _ in range(5)}
    assert len(orders) > 1
    first = told["pictures"][0]
    assert first["predictions"][0].keys() == {"label", "score"}
    assert len(first["predictions"]) == 5
    assert first["stratum"] in ("ordinary", "unsure")
    assert first["utc"].endswith("+00:00")
    label(page, id=first["id"], choice=0)
    after = page.get("/api/review/next?count=3").json
    assert (after["waiting"], after["labelled"], len(after["pictures"])) == (COUNT - 1, 1, 3)
    assert first["id"] not in {each["id"] for each in page.get("/api/review/next?count=100").json["pictures"]}


def test_a_picture_is_shown_as_it_was_kept(page: Page) -> None:
    picture_id = page.get("/api/review/next?count=1").json["pictures"][0]["id"]
    reply = page.get(f"/api/review/picture/{picture_id}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")
    assert cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR).shape == (200, 200, 3)
    for other in ("0", "999", "9" * 18):
        assert page.get(f"/api/review/picture/{other}").status == 404
    for other in ("x", "-1", "1/..", "", "9" * 30):
        assert page.get(f"/api/review/picture/{other}").status == 404


def test_each_way_to_say_what_it_shows(page: Page) -> None:
    pictures = page.get("/api/review/next").json["pictures"]
    first, second, third = (each["id"] for each in pictures[:3])
    assert label(page, id=first, choice=2)["truth"] == pictures[0]["predictions"][2]["label"]
    assert label(page, id=second, other="Tiger_Cat")["truth"] == "tiger cat"
    assert label(page, id=third, none=True)["truth"] == "(no class)"
    said = rows(journal(page), "SELECT truth, said_by FROM labels ORDER BY id")
    assert said == [(pictures[0]["predictions"][2]["label"], "page"), ("tiger cat", "page"), ("(no class)", "page")]


def test_what_cannot_be_said_is_refused(page: Page) -> None:
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({}, 400, "id"),
        ({"id": 1}, 400, "Not exactly one"),
        ({"id": 1, "choice": 0, "none": True}, 400, "Not exactly one"),
        ({"id": 1, "choice": 5}, 400, "choice"),
        ({"id": 1, "choice": -1}, 400, "choice"),
        ({"id": 0, "choice": 0}, 400, "id"),
        ({"id": 2**63, "choice": 0}, 400, "id"),
        ({"id": 999, "choice": 0}, 404, "no picture 999"),
        ({"id": 1, "file": "20260101-000000-run-1.jpg", "choice": 0}, 409, "not the one that was shown"),
        ({"id": 1, "file": "", "choice": 0}, 409, "not the one that was shown"),
        ({"id": 1, "file": None, "choice": 0}, 400, "file"),
        ({"id": 1, "other": "unicorn"}, 400, "'unicorn' is none of the model's 1000 classes"),
        ({"id": 1, "other": "x" * 201}, 400, "other"),
        ({"id": 1, "truth": "cat"}, 400, "truth"),
    ]
    for said, status, words in refused:
        reply = say(page, **said)
        assert (reply.status, words in reply.json["error"]) == (status, True), (said, reply)
    assert rows(journal(page), "SELECT * FROM labels") == []


def test_a_picture_that_was_deleted_while_it_was_looked_at_can_be_labelled(page: Page) -> None:
    file = file_of(page, 1)
    with closing(schema.connect(journal(page))) as connection:
        connection.execute("UPDATE pictures SET file = '' WHERE id = 1")
    assert say(page, id=1, file=file.replace("-0.jpg", "-1.jpg"), none=True).status == 409
    assert label(page, id=1, file=file, none=True)["labelled"] == 1


def test_saying_the_same_again_is_one_label_and_the_counts_are_told(page: Page) -> None:
    first = label(page, id=1, none=True)
    assert (first["waiting"], first["labelled"]) == (COUNT - 1, 1)
    assert label(page, id=1, none=True) == first
    assert label(page, id=1, other="tabby")["label_id"] != first["label_id"]
    assert rows(journal(page), "SELECT truth FROM labels ORDER BY id") == [("(no class)",), ("tabby",)]


def test_a_slip_is_undone_and_only_what_was_said_here(page: Page) -> None:
    with closing(store.open_to_label(journal(page))) as connection:
        picture = store.picture(connection, 1)
        store.label(connection, picture.run_id, picture.sequence, "tabby", "ann")
    slip = label(page, id=1, none=True)["label_id"]
    undone = page.post("/api/review/undo", {"label_id": slip})
    assert (undone.status, undone.json) == (200, {"label_id": slip, "waiting": COUNT - 1, "labelled": 1})
    # The next label has its id, which is not undone with it.
    other = label(page, id=2, none=True)["label_id"]
    assert other.partition("-")[0] == slip.partition("-")[0]
    assert page.post("/api/review/undo", {"label_id": slip}).status == 409
    assert rows(journal(page), "SELECT truth, said_by FROM labels") == [("tabby", "ann"), ("(no class)", "page")]
    for unknown in ("1-1", f"{'9' * 19}-1"):
        assert page.post("/api/review/undo", {"label_id": unknown}).status == 409
    for wrong in ("", "1", 1, "1-", "-1", "1-x", f"{'9' * 20}-1", "1-1\n"):
        assert page.post("/api/review/undo", {"label_id": wrong}).status == 400, wrong


def test_the_classes_of_a_pictures_model(page: Page) -> None:
    picture = page.get("/api/review/next?count=1").json["pictures"][0]
    told = page.get(f"/api/labels?model_id={picture['model_id']}").json
    assert told == page.get("/api/labels").json
    for unknown in ("0", "9", "9" * 18):
        assert page.get(f"/api/labels?model_id={unknown}").status == 404
    assert page.get("/api/labels?model_id=x").status == 400


def test_a_journal_in_the_place_of_another_has_its_own_pictures_and_names(
    classifier: Classifier, tmp_path: Path
) -> None:
    path = tmp_path / "field.db"
    overview = Overview("run-1", classifier.ran, classifier.bundle.labels, "camera", path)
    answer = {"class_id": 3, "score": 6_000, "others": b"\x04\x00\xe8\x03"}

    def make(file: str, labels: str) -> None:
        with closing(schema.connect(path)) as connection:
            insert(connection, "models", labels=labels)
            insert(connection, "runs")
            insert(connection, "clocks")
            insert(connection, "pictures", sequence=10, monotonic_ns=BOOTED_NS + 10**9, file=file, **answer)

    make("20260101-000001-run-1-10.jpg", '["a", "b", "c", "daisy", "rose"]')
    with closing(Web(WebSettings(port=0), PrivacySettings())) as web:
        web.begin(overview)
        page = Page(web, overview, path)
        first = label(page, id=1, other="daisy")
        assert page.get("/api/accuracy").json["reviewed"]["right"] == 1
        for each in tmp_path.glob("field.db*"):
            each.unlink()
        make("20260101-000001-run-1-11.jpg", '["a", "b", "c", "rose", "daisy"]')
        assert say(page, id=1, file="20260101-000001-run-1-10.jpg", choice=0).status == 409
        assert page.post("/api/review/undo", {"label_id": first["label_id"]}).status == 409
        assert rows(path, "SELECT * FROM labels") == []
        assert label(page, id=1, other="daisy")["truth"] == "daisy"
        assert page.get("/api/accuracy").json["reviewed"]["right"] == 0


def test_the_accuracy_is_that_of_the_report(page: Page) -> None:
    until(lambda: page.get("/api/accuracy").json["reviewed"])  # the journal knows the run by then
    assert page.get("/api/accuracy").json["reviewed"] == {
        "labelled": 0,
        "right": 0,
        "share": None,
        "low": None,
        "high": None,
        "frames": 0.0,
        "no_class": 0,
        "not_looked_at": ["ordinary", "unsure"],
    }
    pictures = page.get("/api/review/next").json["pictures"]
    last = len(pictures) - 1
    for number, picture in enumerate(pictures[:-3]):
        said = {"none": True} if number == 0 else {"choice": int(number % 3 == 0)}
        slip = label(page, id=picture["id"], **said)
        told = page.get("/api/accuracy").json["reviewed"]
        if number in (0, 1, 2, last - 3):
            (report,) = gather([journal(page)]).journals
            by_source = {each.source: each.top1 for each in report.accuracy}
            share = by_source.get(REVIEWED)
            if share is None or not share.total:
                assert (told["labelled"], told["share"]) == (0, None)
                continue
            assert (told["share"], told["low"], told["high"]) == (share.value, share.low, share.high)
            assert (told["labelled"], told["frames"]) == (share.counted, share.total)
    assert (told["no_class"], told["not_looked_at"]) == (1, [])
    assert told["low"] < told["share"] < told["high"]
    # Undone and said otherwise: what was counted before is not told.
    page.post("/api/review/undo", {"label_id": slip["label_id"]})
    label(page, id=pictures[-4]["id"], choice=4)
    assert page.get("/api/accuracy").json["reviewed"] != told


def test_only_files_of_the_folder_itself_are_shown(page: Page, tmp_path: Path) -> None:
    folder = pictures_folder(journal(page))
    jpeg = next(folder.iterdir()).read_bytes()
    (tmp_path / "outside.jpg").write_bytes(jpeg)
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "text.jpg").write_text("<script>alert(1)</script>")
    (folder / "folder.jpg").mkdir()
    (folder / "page.html").write_bytes(jpeg)
    wrong = [
        "../outside.jpg",
        str(tmp_path / "outside.jpg"),
        "link.jpg",
        "text.jpg",
        "folder.jpg",
        "page.html",
        "gone.jpg",
    ]
    with closing(schema.connect(journal(page))) as connection:
        for number, name in enumerate(["", *wrong], start=1):
            connection.execute("UPDATE pictures SET file = ? WHERE id = ?", (name, number))
    for number in range(1, len(wrong) + 2):
        reply = page.get(f"/api/review/picture/{number}")
        assert (reply.status, jpeg in reply.body) == (404, False), number
    assert page.get(f"/api/review/picture/{COUNT}").status == 200
    shown = {each["id"] for each in page.get("/api/review/next?count=100").json["pictures"]}
    assert not {1, 8} & shown
    assert set(range(9, COUNT + 1)) <= shown


def test_pictures_that_may_not_be_looked_at(page: Page) -> None:
    with closing(schema.connect(journal(page))) as connection:
        connection.execute("UPDATE pictures SET file = ? WHERE id = 1", (f"{'x' * 300}.jpg",))
        connection.execute("UPDATE pictures SET file = ? WHERE id = 2", ("x\0.jpg",))
    assert {1, 2} & {each["id"] for each in page.get("/api/review/next?count=100").json["pictures"]} == set()
    folder = pictures_folder(journal(page))
    folder.chmod(0)
    if os.access(folder, os.X_OK):
        pytest.skip("root may look everywhere")
    reply = page.get("/api/review/next")
    folder.chmod(0o750)
    assert (reply.status, "cannot be read: Permission denied" in reply.json["error"]) == (503, True)


def test_a_journal_that_another_program_holds(page: Page) -> None:
    file = file_of(page, 1)
    with closing(sqlite3.connect(journal(page), isolation_level=None, timeout=20)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        with ThreadPoolExecutor(6) as clients:
            replies = [clients.submit(say, page, id=1, file=file, none=True) for _ in range(6)]
            assert page.get("/api/review/next").json["waiting"] == COUNT
            assert page.get("/api/review/picture/1").status == 200
            assert page.get("/api/accuracy").status == 200
            assert time.monotonic() - began_s < 0.9  # while labels wait
            for reply in (each.result(20) for each in replies):
                assert (reply.status, "another program holds it: try again" in reply.json["error"]) == (503, True)
        assert time.monotonic() - began_s < 3
        holder.execute("ROLLBACK")
    assert label(page, id=1, none=True)["labelled"] == 1


def test_what_waits_for_a_slow_card_is_bounded(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.web.api.LOCKED_S", 0.3)
    file = file_of(page, 1)
    with closing(sqlite3.connect(journal(page), isolation_level=None, timeout=20)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(40) as clients:
            replies = list(clients.map(lambda _: say(page, id=1, file=file, none=True), range(40)))
        holder.execute("ROLLBACK")
    assert {reply.status for reply in replies} == {503}
    assert sum("too much is waiting" in reply.json["error"] for reply in replies) >= 10
    assert page.get("/api/state").status == 200
    assert label(page, id=1, none=True)


def test_a_journal_that_cannot_be_read(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "absent.db"
    overview = Overview(classifier.run, classifier.ran, classifier.bundle.labels, "camera", path)
    with closing(Web(WebSettings(port=0), PrivacySettings())) as web:
        web.begin(overview)
        page = Page(web, overview, path)
        for asked in ("/api/review/next", "/api/review/picture/1"):
            reply = page.get(asked)
            assert (reply.status, "No journal" in reply.json["error"]) == (503, True)
        assert say(page, id=1, file="x.jpg", none=True).status == 503
        told = page.get("/api/accuracy").json
        assert (told["reviewed"], "No journal" in told["trouble"]) == (None, True)
        assert page.get("/api/state").status == 200
        assert not path.exists()
        path.write_text("no journal at all")
        assert "Cannot read the journal" in page.get("/api/review/next").json["error"]
        path.unlink()
        schema.connect(path).close()
        assert page.get("/api/review/next").json == {"pictures": [], "waiting": 0, "labelled": 0}
        assert page.get("/api/accuracy").json["reviewed"] == {}
