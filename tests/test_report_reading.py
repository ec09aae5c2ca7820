"""A journal is read as it is, also while it is written and where it is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional

import numpy as np
import pytest

from edge.errors import JournalError
from edge.journal import schema
from edge.report.reading import Reader
from edge.report.rows import Answer, Clock
from tests.conftest import ROOT
from tests.journals import BOOTED_NS, LABELS, NS, START_UTC_S, insert, insert_many, make_journal


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_journal(tmp_path_factory.mktemp("field") / "field.db", runs=2, minutes=6)


def test_runs_know_their_model(field: Path) -> None:
    with Reader(field) as reader:
        first, second = reader.runs.values()
        assert (first.run, second.run) == ("field-1", "field-2")
        assert first.model.labels == LABELS
        assert first.model.label(1) == "robin"
        assert first.model.label(400) == "class 400"
        assert first.board["processors"] == 4
        assert (first.opened_ns, first.first_invoke_ns) == (310_000_000, 41_000_000)


def test_windows_come_in_the_order_of_their_times(field: Path) -> None:
    with Reader(field) as reader:
        windows = list(reader.windows())
        times = [(window.run_id, window.began_ns, window.ended_ns) for window in windows]
        assert reader.window_times().tolist() == [list(each) for each in times]
        assert len(windows) == 12
        assert {window.frames for window in windows} == {600}
        assert all(sum(answer.frames for answer in window.answers) == 600 for window in windows)
        assert windows[0].temperature_c == (44.0, 45.0, 46.5)
        assert windows[0].clock_mhz == (1500.0, 1795.0, 1800.0)
        assert (windows[0].governor, windows[0].coral_max_c) == ("ondemand", None)
        assert isinstance(windows[0].answers[0], Answer)


def test_histograms_hold_every_frame_of_the_window(field: Path) -> None:
    with Reader(field) as reader:
        for window in reader.windows():
            states = reader.histograms(window)
            assert sum(stages["age"].samples for stages in states.values()) == window.frames
        assert not reader.damaged


def test_kept_frames_come_in_columns(field: Path) -> None:
    with Reader(field) as reader:
        chunks = list(reader.frames(("run_id", "sequence", "stands_for", "truth")))
        assert [len(chunk) for chunk in chunks] == [4]
        run_id, _, stands_for, truth = chunks[0]
        assert len(run_id) == reader.kept() == 12 * 600 / 5
        assert set(stands_for) == {5}
        assert {"robin", None} <= set(truth)


def test_frames_of_a_run_and_around_some_spans_of_time(field: Path) -> None:
    spans_ns = BOOTED_NS + NS * np.array([[60, 120], [185, 190]])
    with Reader(field) as reader:
        ((monotonic_ns,),) = reader.frames(("monotonic_ns",), around_ns=spans_ns)
        ((all_ns,),) = reader.frames(("monotonic_ns",), run_id=1)
        ((run_id,),) = reader.frames(("run_id",), run_id=2)
        assert set(run_id) == {2}
        assert not list(reader.frames(("run_id",), around_ns=spans_ns, run_id=2))
        assert not list(reader.frames(("run_id",), around_ns=spans_ns[:0]))
    wanted = {each for each in all_ns if any(first <= each <= last for first, last in spans_ns)}
    assert wanted <= set(monotonic_ns)
    assert len(monotonic_ns) < len(wanted) * 1.2


def test_very_many_spans_of_time_find_what_is_in_them(field: Path) -> None:
    begins_ns = BOOTED_NS + 50_000 * NS + 3 * NS * np.arange(6_000)
    spans_ns = np.stack((begins_ns, begins_ns + NS), axis=1)
    spans_ns[0] = BOOTED_NS, BOOTED_NS + 30 * NS
    with Reader(field) as reader:
        ((monotonic_ns,),) = reader.frames(("monotonic_ns",), around_ns=spans_ns, run_id=1)
        ((all_ns,),) = reader.frames(("monotonic_ns",), run_id=1)
    assert {each for each in all_ns if each <= BOOTED_NS + 30 * NS} <= set(monotonic_ns)


def test_labels_events_and_pictures(field: Path) -> None:
    with Reader(field) as reader:
        assert [event.kind for event in reader.events()][:2] == ["started", "camera lost"]
        assert {label.said_by for label in reader.labels()} == {"anna"}
        assert {picture.stratum for picture in reader.pictures()} == {"ordinary", "unsure"}


def test_a_clock_turns_monotonic_times_into_utc() -> None:
    clock = Clock([100, 200], [1_000, 5_000])
    assert clock.utc_ns(np.array([50, 100, 199, 200, 300])).tolist() == [1_050, 1_100, 1_199, 5_200, 5_300]
    assert clock.utc_s(200) == 5_200 / 1e9


def test_a_clock_turns_spans_of_utc_into_monotonic_ones() -> None:
    clock = Clock([100, 200], [1_000, 5_000])  # it slept from 1,200 to 5,200
    told = clock.monotonic_ns(np.array([[1_050, 1_120], [1_150, 5_230], [2_000, 3_000], [9_000, 9_001]]))
    assert told.tolist() == [[50, 120], [150, 199], [200, 230], [4_000, 4_001]]


def test_each_run_goes_by_its_own_clock(field: Path) -> None:
    with Reader(field) as reader:
        utc_ns = reader.utc_ns(np.array([1, 9, 2]), np.array([BOOTED_NS] * 3))
        assert utc_ns.tolist() == [START_UTC_S * NS, BOOTED_NS, START_UTC_S * NS]  # nobody knows about run 9
        assert (reader.has_clock(1), reader.has_clock(9)) == (True, False)


def test_a_reader_sees_one_moment_of_a_journal_that_is_being_written(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    with closing(schema.connect(path)) as writer, Reader(path) as reader:
        before = len(reader.window_times())
        insert(writer, "windows", frames=7)
        assert len(list(reader.windows())) == before
        with Reader(path) as later:
            assert len(list(later.windows())) == before + 1


@pytest.mark.parametrize("column", ["drops", "answers", "histograms"])
def test_a_damaged_window_is_counted_once_and_the_rest_of_it_read(tmp_path: Path, column: str) -> None:
    path = make_journal(tmp_path / "field.db", minutes=3)
    with closing(schema.connect(path)) as connection:
        connection.execute(f"UPDATE windows SET {column} = x'7b22ff' WHERE id = 2")
    with Reader(path) as reader:
        windows = list(reader.windows())
        told = [reader.histograms(window) for window in windows]
        assert [window.frames for window in windows] == [600] * 3
        assert dict(reader.damaged) == {"windows": 1}
        empty = {"drops": windows[1].drops, "answers": windows[1].answers, "histograms": told[1]}[column]
        assert not empty


def test_damaged_json_elsewhere_is_counted(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE events SET detail = '{' WHERE id = 1")
        connection.execute("UPDATE runs SET board = '[1]'")
        connection.execute("UPDATE models SET labels = CAST(x'22ff' AS TEXT)")
    with Reader(path) as reader:
        assert next(iter(reader.events())).detail == {}
        assert reader.runs[1].board == {}
        assert reader.runs[1].model.label(1) == "class 1"
        assert dict(reader.damaged) == {"events": 1, "runs": 1, "models": 1}


def test_what_is_no_utf8_is_shown_as_well_as_it_can_be(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE runs SET camera = CAST(x'ff63616d' AS TEXT)")
    with Reader(path) as reader:
        assert reader.runs[1].camera == "\ufffdcam"


def test_a_journal_whose_pages_are_damaged_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    with closing(schema.connect(path)) as connection:
        insert(connection, "models", labels=json.dumps(LABELS))
        insert(connection, "runs")
        connection.execute("BEGIN")
        insert_many(connection, "windows", [{"frames": number, "drops": "{}" * 50} for number in range(2_000)])
        connection.execute("COMMIT")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :: 512] = bytes(len(content[len(content) // 2 :: 512]))
    path.write_bytes(content)
    with (
        pytest.raises(JournalError, match=r"Cannot read all of the journal .*field.db: .*malformed"),
        Reader(path) as reader,
    ):
        list(reader.windows())


def test_without_a_journal_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No journal"):
        Reader(tmp_path / "none.db")


@pytest.mark.parametrize("gap", [1, 1000])
def test_how_many_predictions_the_frames_of_a_run_have(tmp_path: Path, gap: int) -> None:
    path = tmp_path / "field.db"
    lengths = [4, 0, 2, 2, 4, 1, 3]
    with closing(schema.connect(path)) as connection:
        connection.execute("BEGIN")
        insert(connection, "models")
        frame_id = 0
        for number, others in enumerate(lengths):
            run_id = insert(connection, "runs", run=f"run-{number}")
            for sequence in range(1 + number % 3):
                frame_id += gap if sequence else 1
                insert(connection, "frames", id=frame_id, run_id=run_id, sequence=sequence, others=b"\0" * 4 * others)
        insert(connection, "runs", run="without frames")
        connection.execute("COMMIT")
    with Reader(path) as reader:
        assert reader.predictions() == {1 + number: 1 + others for number, others in enumerate(lengths)}
        assert sorted(reader.named_frames(("run_id", "sequence"), [(3, 2), (1, 0), (1, 1), (9, 0)])) == [(1, 0), (3, 2)]


def test_without_frames_nobody_knows_how_many_predictions_they_have(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    schema.connect(path).close()
    with Reader(path) as reader:
        assert reader.predictions() == {}
        assert list(reader.named_frames(("run_id",), [(1, 1)])) == []


AS_NOBODY = """
import os, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional
from edge.report.reading import Reader
become = sys.argv[2].split(",")
getattr(os, become[0])(65534); getattr(os, become[1])(65534)
with Reader(Path(sys.argv[1])) as reader:
    print(len(list(reader.windows())), reader.kept())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("become", ["setgid,setuid", "setegid,seteuid"])
@pytest.mark.parametrize("left", [None, b""])
def test_a_copy_in_a_folder_that_this_user_cannot_write(become: str, left: Optional[bytes]) -> None:
    with TemporaryDirectory() as scratch:  # pytest's own folders are for their owner only
        path = make_journal(Path(scratch) / "field.db", minutes=1)
        if left is not None:
            path.with_name("field.db-wal").write_bytes(left)
        Path(scratch).chmod(0o555)
        command = [sys.executable, "-c", AS_NOBODY, str(path), become]
        told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert (told.stdout, told.stderr) == ("1 120\n", "")
        assert [each.name for each in Path(scratch).iterdir() if each.suffix == ".db"] == ["field.db"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("become", ["setgid,setuid", "setegid,seteuid"])
def test_a_copy_with_a_log_says_what_to_do(become: str) -> None:
    with TemporaryDirectory() as scratch:
        path = make_journal(Path(scratch) / "field.db", minutes=1)
        with closing(schema.connect(path)) as connection:
            insert(connection, "labels", run_id=1, sequence=1, truth="robin")
            log = path.with_name("field.db-wal").read_bytes()
        path.with_name("field.db-wal").write_bytes(log)
        Path(scratch).chmod(0o555)
        command = [sys.executable, "-c", AS_NOBODY, str(path), become]
        told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert "copy it, with field.db-wal, to a folder that can be written" in told.stderr
