"""What two recordings do not have in common, and what a reader should know of them."""

import json
from contextlib import closing

from edge.journal import schema
from edge.report.comparison.compare import compare
from edge.report.comparison.text import text_of
from tests.pairs import Minute, pair, record, varied


def test_what_should_be_equal_and_is_not(tmp_path):
    a = record(tmp_path / "a.db", [varied(10, 1)], 1)
    board = {"model": "Raspberry Pi 5", "os": "Debian", "kernel": "6.6"}
    configuration = {"camera": {"width_px": 640, "height_px": 480}}
    others = {"board": json.dumps(board), "threads": 2, "configuration": json.dumps(configuration)}
    b = record(tmp_path / "b.db", [varied(10, 2, frames=600)], 2, **others)
    with closing(schema.connect(b)) as connection:
        connection.execute("UPDATE windows SET governor = 'performance', temperature_mean_c = 60")
    comparison = compare(str(a), str(b), ["age"])
    assert {each.what: (each.a, each.b) for each in comparison.differs} == {
        "board": ("Raspberry Pi 4 Model B Rev 1.2", "Raspberry Pi 5"),
        "system": ("not known", "Debian 6.6"),
        "threads": ("4", "2"),
        "camera size": ("not known", "640x480"),
        "governor": ("ondemand", "performance"),
        "frames a second": ("5.0", "10.0"),
        "mean temperature": ("not known", "60.0 °C"),
    }
    assert "  threads: 4 in A, 2 in B" in text_of(comparison).splitlines()


def test_what_a_reader_should_know(tmp_path):
    journal = record(tmp_path / "a.db", [varied(10, 1), varied(10, 2)], 1)
    with closing(schema.connect(journal)) as connection:
        connection.execute("INSERT INTO models SELECT 2, name || '2', sha256, labels FROM models")
        connection.execute("UPDATE runs SET model_id = 2 WHERE id = 2")
    comparison = compare(str(journal), f"{journal}:last", ["age"])
    assert [each.what for each in comparison.differs] == ["model"]
    assert comparison.differs[0].a == "lite0 (abababab) and lite02 (abababab)"
    assert comparison.notes == [
        "A mixes runs of 2 models: compare single runs, as in JOURNAL:1.",
        "B is one run: what may differ from one start of the program to the next is in no interval.",
    ]


def test_a_short_recording_is_called_short(tmp_path):
    a, b = pair(tmp_path, varied(10, 1), [Minute()], keep_every=1)
    with closing(schema.connect(tmp_path / "b.db")) as connection:
        connection.execute("UPDATE windows SET ended_ns = began_ns + 20000000000")
        connection.execute("DELETE FROM frames WHERE monotonic_ns > (SELECT ended_ns FROM windows)")
    assert "B is 20 s long, too short for a board to grow warm." in compare(a, b, ["age"]).notes
