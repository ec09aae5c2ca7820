"""The life of the page's server: from run to run, where it cannot listen, and at its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.error import URLError

import pytest

from edge import Classifier
from edge.cameras import CameraSettings, open_camera
from edge.errors import OutletError
from edge.overview import Overview
from edge.privacy import PrivacySettings
from edge.records import Event
from edge.web.outlet import Web
from edge.web.settings import WebSettings
from tests.journaling import until
from tests.web import Page, served


def overview_of(classifier: Classifier) -> Overview:
    return Overview(classifier.run, classifier.ran, classifier.bundle.labels, "camera")


def threads(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == name]


def test_a_run_without_a_journal(classifier: Classifier, tmp_path: Path) -> None:
    with served(classifier, tmp_path, journal=False, preview=False) as page:
        assert page.get("/api/state").json["features"] == {
            "preview": False,
            "truth": True,
            "review": False,
            "login": False,
        }
        assert page.get("/picture.jpg").status == 404
        for path in ("/api/review/next", "/api/review/picture/1"):
            reply = page.get(path)
            assert (reply.status, "restart" in reply.json["error"]) == (404, True)
        assert page.post("/api/review/label", {"id": 1, "file": "x.jpg", "none": True}).status == 404
        assert page.get("/api/accuracy").json["reviewed"] is None
        assert page.web.wants_pixels is False


def test_another_run_begins_its_chart_and_its_counts_anew(classifier: Classifier, tmp_path: Path) -> None:
    with (
        closing(Web(WebSettings(port=0), PrivacySettings())) as web,
        closing(open_camera(CameraSettings(source="scene", fps=200.0))) as camera,
    ):
        page = None
        for number in range(2):
            overview = overview_of(classifier)
            web.begin(overview)
            page = page or Page(web, overview, None)
            frame = camera.read()
            assert frame
            for _ in range(3 + number):
                record = classifier.finish(classifier.infer(frame), 0, "busy", "wall clock", None, 0)
                overview.write(record)
                web.write(record)
            web.event(Event(0, "2026-01-01T00:00:00+00:00", 0, "asleep", {}, "asleep"))
            assert page.get("/api/accuracy").json["live"] == {"frames": 3 + number, "right": 3 + number, "share": 1.0}
            assert page.get("/api/state").json["status"]["frames"] == 3 + number


def test_before_the_first_run_there_is_nothing_to_tell(classifier: Classifier, tmp_path: Path) -> None:
    with closing(Web(WebSettings(port=0), PrivacySettings())) as web:
        page = Page(web, overview_of(classifier), None)
        for path in ("/api/state", "/api/state?after=1", "/api/labels", "/api/accuracy", "/api/review/next"):
            assert page.get(path).status == 503, path
        assert page.get("/").status == 200


def test_a_port_in_use_is_tried_again_and_told_once(classifier: Classifier, caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        web = Web(WebSettings(port=port), PrivacySettings())
        try:
            until(lambda: web.status().trouble is not None, "trouble")
            trouble = str(web.status().trouble)
            assert f"cannot listen at http://127.0.0.1:{port}/ (Address already in use)" in trouble
            assert "give another web.address or web.port" in trouble
            web.begin(overview_of(classifier))
            taken.close()
            until(lambda: web.status().trouble is None, "the port")
            assert Page(web, overview_of(classifier), None).get("/api/state").status == 200
        finally:
            web.close()
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("web: cannot")]
    assert len(told) == 1


def test_an_address_that_is_not_this_machines_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    web = Web(WebSettings(address="192.0.2.1", port=0, token_file=str(tmp_path / "token")), PrivacySettings())
    until(lambda: web.status().trouble is not None, "trouble")
    assert web.status().where == "http://192.0.2.1:0/"
    web.close()


def test_nobody_else_is_served_without_a_token() -> None:
    with pytest.raises(OutletError, match=r"web\.token_file"):
        Web(WebSettings(address="0.0.0.0"), PrivacySettings())


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine knows no IPv6")
def test_ipv6(classifier: Classifier, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no address ::1 ({error})")
    with served(classifier, tmp_path, journal=False, address="::1") as page:
        assert page.url.startswith("http://[::1]:")
        assert page.get("/api/state").status == 200
        assert page.post("/api/truth", {"name": None}).status == 200


def test_closing_ends_those_who_wait_within_half_a_second(classifier: Classifier, tmp_path: Path) -> None:
    with closing(Web(WebSettings(port=0), PrivacySettings())) as web, ThreadPoolExecutor(4) as clients:
        web.begin(overview_of(classifier))
        page = Page(web, overview_of(classifier), None)
        waiting = [clients.submit(page.get, "/picture.jpg") for _ in range(4)]
        until(lambda: web._preview._waiting == 4, "waiting clients")
        assert web.status().waiting == 0  # whoever waits for what has not happened is no backlog
        began_s = time.monotonic()
        web.close()
        assert time.monotonic() - began_s < 1.5
        assert all(each.exception(20) is not None for each in waiting)
        assert not threads("page")
        port = int(page.url.rpartition(":")[2])
        with closing(Web(WebSettings(port=port), PrivacySettings())) as again:
            again.begin(page.overview)
            until(lambda: answers(page), "the port")


def answers(page: Page) -> bool:
    try:
        return page.get("/api/state").status == 200
    except URLError:
        return False


def test_without_its_package_it_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from edge.web.outlet import Web; from edge.web.settings import WebSettings\n"
        "from edge.privacy import PrivacySettings\n"
        "Web(WebSettings(), PrivacySettings())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "OutletError: aiohttp is not installed: in the checkout `.venv/bin/pip install -e '.[web]'`" in done.stderr


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_another_token_in_the_file_is_taken_and_none_lets_nobody_in(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge.web.token.READ_EVERY_S", 0.0)
    with served(classifier, tmp_path, journal=False, token="first", address="0.0.0.0") as page:
        page.url = page.url.replace("0.0.0.0", "127.0.0.1")
        known = {"Cookie": page.log_in("first")}
        (tmp_path / "token").write_text("second\r\n")
        assert page.get("/api/state", **known).status == 401
        assert page.get("/api/state", **_bearer("second")).status == 200
        (tmp_path / "token").unlink()
        for headers in (known, _bearer("second")):
            reply = page.get("/api/state", **headers)
            assert (reply.status, "web.token_file" in reply.json["error"]) == (503, True)
            assert str(tmp_path) not in reply.json["error"]
        said = page.post("/login", b"token=second", Content_Type="application/x-www-form-urlencoded")
        for reply in (said, page.get("/login", **known)):
            assert (reply.status, reply.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
            assert b"cannot read its token" in reply.body
            assert str(tmp_path).encode() not in reply.body
        assert f"'{tmp_path / 'token'}', which cannot be read" in str(page.web.status().trouble)
        os.mkfifo(tmp_path / "token")
        assert page.get("/api/state", **known).status == 503
        assert "it is no regular file" in str(page.web.status().trouble)
        (tmp_path / "token").unlink()
        (tmp_path / "token").write_text(" \u00a0\n")
        assert page.get("/api/state", **known).status == 503
        assert "holds no token" in str(page.web.status().trouble)
        (tmp_path / "token").write_text("")
        assert page.get("/api/state", **_bearer("second")).status == 503
        (tmp_path / "token").write_text("third")
        assert page.get("/api/state", **_bearer("third")).status == 200
        assert page.web.status().trouble is None
    assert len([record for record in caplog.records if "web.token_file" in record.getMessage()]) == 1


def test_a_token_that_cannot_be_read_is_told_at_the_start(classifier: Classifier, tmp_path: Path) -> None:
    with served(classifier, tmp_path, journal=False, token_file=str(tmp_path / "absent")) as page:
        until(lambda: page.web.status().trouble, "trouble")
        assert "web.token_file" in str(page.web.status().trouble)
        assert page.get("/").status == 200
        assert page.post("/login", b"token=", Content_Type="application/x-www-form-urlencoded").status == 503
