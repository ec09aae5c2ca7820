"""What a reader should know before trusting a figure."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import schema
from edge.report.gather import gather
from tests.journals import insert, make_journal


@pytest.fixture
def field(tmp_path: Path) -> Path:
    return make_journal(tmp_path / "field.db", minutes=3, truth=False, reviewed=False, throttling=False)


def notes(path: Path) -> list[str]:
    return gather([path]).journals[0].notes


def changed(path: Path, *statements: str) -> list[str]:
    with closing(schema.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return notes(path)


def happened(path: Path, *events: tuple[str, dict[str, object]]) -> list[str]:
    with closing(schema.connect(path)) as connection:
        for kind, detail in events:
            insert(connection, "events", kind=kind, detail=json.dumps(detail))
    return notes(path)


def test_a_board_that_tells_no_throttling(field: Path) -> None:
    assert "This board tells no throttling: frames that it slowed down count as steady." in notes(field)


def test_throttled_frames_are_counted(tmp_path: Path) -> None:
    told = notes(make_journal(tmp_path / "field.db", minutes=3))
    assert any(note.startswith("600 frames of 1,750 (34.3 %) came while the board was held back") for note in told)
    assert any("too little for a p99, which needs 662" in note for note in told)


@pytest.mark.parametrize(
    ("statement", "note"),
    [
        ("UPDATE windows SET unrecorded = 4 WHERE id = 1", "4 frames were not recorded and count nowhere."),
        (
            "UPDATE windows SET histograms = x'00' WHERE id < 3",
            "2 minutes of the journal are damaged in part: what could not be read counts nowhere.",
        ),
        (
            "UPDATE events SET detail = '' WHERE id = 1",
            "1 event of the journal is damaged in part: what could not be read counts nowhere.",
        ),
        ("UPDATE runs SET ended_ns = NULL", "field-1 has no end: running, or ended without a chance to say so."),
        (
            "DELETE FROM clocks",
            "Nobody knows what time it was in field-1: shown as if the machine had started in 1970.",
        ),
        ("DELETE FROM windows", "The journal holds no minutes yet: no frame was recorded for long enough."),
        (
            """UPDATE windows SET answers = '[["a chair", 1, 600, 0]]' WHERE id = 1""",
            "600 frames have a truth (known at the time) that is no class of lite0: counted in no share.",
        ),
    ],
)
def test_what_is_missing_is_told(field: Path, statement: str, note: str) -> None:
    assert note in changed(field, statement)


@pytest.mark.parametrize(
    ("events", "note"),
    [
        (
            [("clock jumped", {"by_s": 1200.5})],
            "The clock jumped by 1200.5 s; times of that boot were set right.",
        ),
        (
            [("clock jumped", {"by_s": 5}), ("clock jumped", {"by_s": -90})],
            "The clock jumped 2 times, by up to -90 s; times of those boots were set right.",
        ),
        ([("suspended", {"for_s": 60})], "The machine was suspended once."),
        (
            [("oldest frames deleted", {"rows": 700}), ("oldest frames deleted", {"rows": 300})],
            "1,000 rows of frames were deleted to keep the journal small; minutes count them on.",
        ),
        (
            [("not recording", {"why": "disk full"}), ("recording again", {"rows_lost": 12})],
            "The journal could not be written once, at last because of: disk full.",
        ),
        ([("recording again", {"rows_lost": 12})], "12 rows of frames could not be written."),
        (
            [("journal moved aside", {"name": "field.db.damaged-1"})],
            "A damaged journal was moved aside; what came before is in field.db.damaged-1.",
        ),
    ],
)
def test_what_went_wrong_is_told(field: Path, events: list[tuple[str, dict[str, object]]], note: str) -> None:
    assert note in happened(field, *events)


def test_details_of_another_kind_do_no_harm(field: Path) -> None:
    told = happened(field, ("clock jumped", {"by_s": "much"}), ("oldest frames deleted", {"rows": None}))
    assert "The clock jumped 1 times; times of those boots were set right." not in told
    assert "The clock jumped once; times of that boot were set right." in told


def test_intervals_say_what_they_leave_out(tmp_path: Path) -> None:
    assert any("the true uncertainty is larger" in note for note in notes(make_journal(tmp_path / "a.db", minutes=3)))


def test_how_much_the_intervals_take_is_told(tmp_path: Path) -> None:
    few = notes(make_journal(tmp_path / "few.db", minutes=3, fps=2.0, reviewed=False))
    assert any(note.startswith("The truth is known in 2 minutes only, too few to tell how much") for note in few)
    many = notes(make_journal(tmp_path / "many.db", minutes=15, fps=2.0, reviewed=False))
    (told,) = [note for note in many if "independent" in note or "for itself" in note or "intervals" in note]
    assert told.startswith("For the accuracy of lite0 (known at the time) there were 1,200 frames")


def test_a_top_5_of_kept_frames_is_told(tmp_path: Path) -> None:
    told = notes(make_journal(tmp_path / "field.db", minutes=6, fps=2.0))
    (only,) = [note for note in told if "first five" in note]
    assert only.endswith("is known of kept frames only: 24, which stand for 120 of 120.")
