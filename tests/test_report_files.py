"""Files that are whole, or not there."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.report.exports.files import replacing
from tests.conftest import full_disk


def test_a_file_appears_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["page.html"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


def test_the_older_one_stays_when_something_goes_wrong(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "no bytes"])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    told = pytest.raises(ConfigError, match=r"Cannot write .*page.html: File too large")
    with full_disk(), told, replacing(tmp_path / "page.html") as file:
        file.write(bytes(100_000))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot write .*: No such file"), replacing(tmp_path / "none" / "page.html"):
        pass


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "page.html").symlink_to(tmp_path / "kept" / "page.html")
    with replacing(tmp_path / "page.html") as file:
        file.write(b"new")
    assert (tmp_path / "page.html").is_symlink()
    assert (tmp_path / "kept" / "page.html").read_bytes() == b"new"


def test_what_is_no_regular_file_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    told: list[bytes] = []
    reader = threading.Thread(target=lambda: told.append(path.read_bytes()))
    reader.start()
    with replacing(path) as file:
        file.write(b"new")
    reader.join()
    assert told == [b"new"]
    assert stat.S_ISFIFO(path.stat().st_mode)
