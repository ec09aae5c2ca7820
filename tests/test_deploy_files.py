"""Files that are whole under their name, or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deploy import files
from edge.errors import ConfigError
from tests.conftest import full_disk


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "grün, rot.txt"
    files.write(path, "äöü\n")
    assert path.read_bytes() == "äöü\n".encode()
    files.write(path, b"\0\xff")
    assert path.read_bytes() == b"\0\xff"
    assert list(path.parent.iterdir()) == [path]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    files.write(path, "older")
    with full_disk(), pytest.raises(ConfigError, match=r"Cannot write .*metrics\.json: File too large\."):
        files.write(path, b"x" * 5000)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for path in (tmp_path / "file" / "below", tmp_path / "folder", Path("/proc/nothing/here"), tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="Cannot write"):
            files.write(path, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
