"""The page of the real daemon: switched on, asked, told, moved and switched off without an interruption."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tests.journaling import until
from tests.test_service import daemon_in


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def asked(port: int, path: str, body: object = None) -> Any:
    headers = {"Authorization": "Bearer let me in", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", content, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response) if "json" in response.headers["Content-Type"] else response.read()


def is_served(port: int) -> bool:
    try:
        return bool(asked(port, "/api/state"))
    except URLError:
        return False


def test_the_daemons_page(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("let me in\n")
    first, second = free_port(), free_port()
    web = {"enabled": True, "address": "0.0.0.0", "port": first, "token_file": str(tmp_path / "token")}
    with daemon_in(tmp_path) as daemon:
        daemon.configure(web=web, fps=20)
        daemon.start()
        daemon.notices.wait_for("READY")
        until(lambda: is_served(first), "the page")
        status = asked(first, "/api/state")["status"]
        assert status["journal"]["path"] == str(daemon.journal)
        assert status["outlets"]["web"]["where"] == f"http://0.0.0.0:{first}/"
        assert asked(first, "/picture.jpg").startswith(b"\xff\xd8")
        assert "note" in asked(first, "/api/truth", {"name": "wall clock"})
        until(lambda: ("truth set", {"truth": "wall clock", "by": "page"}) in daemon.events(), "the event")

        daemon.configure(web={**web, "port": second}, fps=20)
        assert daemon.asked("reload").stdout == "reloaded: web.port\n"
        until(lambda: is_served(second), "the page at its other port")
        assert not is_served(first)
        told = asked(second, "/api/state")
        assert "reloaded" in [event["kind"] for event in told["events"]]
        assert told["status"]["run"] != status["run"]

        daemon.configure(fps=20)
        assert daemon.asked("reload").returncode == 0
        assert not is_served(second)
        assert daemon.ends() == 0
    assert "let me in" not in daemon.log()


LOOKS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM labels").fetchone()[0])
connection.close()
"""


def test_a_label_leaves_the_journal_whole_whatever_others_open_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("let me in\n")
    port = free_port()
    with daemon_in(tmp_path) as daemon:
        web = {"enabled": True, "port": port, "token_file": str(tmp_path / "token")}
        sections = {"review": {"keep_pictures": True, "max_pictures_per_day": 100_000}}
        daemon.configure(**sections, web=web, fps=20)
        daemon.start()
        daemon.notices.wait_for("READY")
        until(lambda: is_served(port), "the page")
        until(lambda: asked(port, "/api/review/next")["pictures"], "a picture", 30)
        picture = asked(port, "/api/review/next")["pictures"][0]
        assert asked(port, f"/api/review/picture/{picture['id']}").startswith(b"\xff\xd8")
        said = {"id": picture["id"], "file": picture["file"], "none": True}
        slip = asked(port, "/api/review/label", said)
        daemon.configure(**sections, web={**web, "preview_px": 320}, fps=20)
        assert daemon.asked("reload").stdout == "reloaded: web.preview_px\n"
        until(lambda: is_served(port), "the page after the reload")
        assert asked(port, "/api/review/undo", {"label_id": slip["label_id"]})["labelled"] == 0
        assert asked(port, "/api/review/label", said)["labelled"] == 1
        asked(port, "/api/accuracy")
        # SQLite's command line does the same; whoever closes last empties the write-ahead log, and deletes it.
        looked = [sys.executable, "-c", LOOKS, str(daemon.journal)]
        assert subprocess.run(looked, capture_output=True, check=True, timeout=30).stdout == b"1\n"
        descriptors = Path(f"/proc/{daemon.process.pid}/fd")
        assert not [name for each in descriptors.iterdir() if "(deleted)" in (name := os.readlink(each))]
        ((before,),) = daemon.rows("SELECT max(id) FROM frames")
        until(lambda: daemon.rows("SELECT max(id) FROM frames")[0][0] > before, "rows after that")
        ((written,),) = daemon.rows("SELECT max(id) FROM frames")
        daemon.ends(signal.SIGKILL)
        assert daemon.rows("SELECT max(id) FROM frames")[0][0] >= written
        assert daemon.rows("SELECT truth, said_by FROM labels") == [("(no class)", "page")]
