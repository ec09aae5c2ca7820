"""The page of the real daemon: switched on, asked, told, moved and switched off without an interruption."""

from __future__ import annotations

import json
import socket
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
        return json.load(response) if path.startswith("/api/") else response.read()


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
