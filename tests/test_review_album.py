"""The folder of pictures: whole files, within its budget, and what goes wrong told as what it is."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.review.album import Album, BudgetError, file_name
from tests.conftest import full_disk

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


def utc(minutes: float) -> str:
    return (START + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def put(album: Album, minutes: float, content: bytes = b"x" * 1000) -> str:
    name = file_name(utc(minutes), "00ff", round(minutes * 60))
    album.make_room(utc(minutes), len(content))
    album.keep(name, content)
    return name


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_names_tell_time_run_and_sequence() -> None:
    assert file_name("2026-03-01T14:30:05.123+02:00", "00ff", 7) == "20260301-123005-00ff-7.jpg"


def test_the_oldest_pictures_make_room(tmp_path: Path) -> None:
    folder, deleted = tmp_path / "deep" / "pictures", []
    album = Album(folder, 3_500, 200, deleted.append)
    kept = [put(album, minute) for minute in range(5)]
    assert names(folder) == kept[2:]
    assert deleted == kept[:2]
    # another run knows what is there, and takes what somebody else removed as gone
    (folder / kept[2]).unlink()
    later: list[str] = []
    album = Album(folder, 3_500, 200, later.append)
    more = [put(album, minute) for minute in (10, 11)]
    assert names(folder) == [kept[4], *more]
    assert later == [kept[3]]
    # pictures that are gone without notice do not stop it
    for name in names(folder):
        (folder / name).unlink()
    last = put(album, 12)
    assert names(folder) == [last]


def test_a_power_cut_leaves_no_half_picture(tmp_path: Path) -> None:
    album = Album(tmp_path, 10_000, 200, print)
    half = tmp_path / "20260301-115900-00ff-1.jpg.part"
    half.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not a picture")
    kept = put(album, 0)
    assert names(tmp_path) == [kept, "notes.txt"]


def test_a_picture_larger_than_the_budget_deletes_nothing(tmp_path: Path) -> None:
    album = Album(tmp_path, 1_500, 200, print)
    kept = put(album, 0)
    with pytest.raises(BudgetError, match=r"2000 bytes, and review\.max_bytes is 1500"):
        put(album, 1, b"x" * 2_000)
    assert names(tmp_path) == [kept]


def test_runs_that_end_soon_do_not_keep_more_than_a_day_may_have(tmp_path: Path) -> None:
    for minute in range(6):
        put(Album(tmp_path, 1_000_000, 3, print), minute)
    album = Album(tmp_path, 1_000_000, 3, print)
    with pytest.raises(BudgetError, match="max_pictures_per_day"):
        put(album, 7)
    put(album, 24 * 60 + 1)
    assert len(names(tmp_path)) == 7


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    album = Album(tmp_path, 1_000_000, 200, print)
    kept = put(album, 0)
    with full_disk(), pytest.raises(OSError, match="large"):
        put(album, 1, b"x" * 10_000)
    assert names(tmp_path) == [kept]
    put(album, 2)
    assert len(names(tmp_path)) == 2


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"directory|exists"):
        put(Album(tmp_path / "file", 1_000_000, 200, print), 0)
