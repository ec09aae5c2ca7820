"""Runs that were cut off: processes that are killed at any moment, and what the next run makes of what they left."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import recovery, schema
from edge.journal.packing import FALLBACK, STEADY, THROTTLED, pack_others, unpack_histograms
from edge.records import Prediction
from tests.conftest import ROOT
from tests.journaling import NS, rows, value
from tests.journals import BOOTED_NS, LABELS, insert

LANES = [("batches", 102), ("batches", 102), ("shrinking", 50), ("beginning", 50), ("migrating", 25)]


def test_kills_at_any_moment_damage_nothing_and_lose_at_most_the_last_batch(tmp_path: Path) -> None:
    """Some 330 kills; tests/kills.py tells what must hold after each."""
    running = []
    for number, (lane, rounds) in enumerate(LANES):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-m", "tests.kills", lane, str(folder), str(rounds), str(number)]
        quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        running.append(
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet)
        )
    told = [process.communicate(timeout=120) for process in running]
    for process, (_, errors) in zip(running, told):
        assert process.returncode == 0, errors
    first, second, shrinking, beginning, migrating = (json.loads(output) for output, _ in told)
    assert sum(each["kills"] for each in (first, second, shrinking, beginning, migrating)) == 329
    for batches in (first, second):
        assert batches["kills"] == 102
        assert batches["cut a batch"] > 5
        assert batches["rows"] > 200
    assert shrinking["deleted"] > 0
    assert shrinking["largest"] <= 90_000 + 30_000
    assert beginning["kills"] == 50
    assert migrating["kills"] == 25


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    """A run that stopped without a word, half a minute after its first window."""
    path = tmp_path / "j.db"
    with closing(schema.connect(path)) as connection:
        insert(connection, "models", labels=json.dumps(LABELS))
        insert(connection, "runs", configuration=json.dumps({"fps": 2.0}))
        insert(connection, "windows", frames=9, ended_ns=BOOTED_NS + 60 * NS)
        others = pack_others([Prediction(1, "", 0.5), Prediction(2, "", 0.2)])
        for number in range(12):
            at_ns = BOOTED_NS + (50 + 3 * number) * NS
            hot = number > 9
            insert(
                *(connection, "frames"),
                sequence=number * 4,
                monotonic_ns=at_ns,
                stands_for=4,
                dropped=number % 2,
                truth=LABELS[2],
                others=others,
                state=THROTTLED if hot else STEADY,
                throttled=0x50005 if hot else 0,
            )
    return path


def test_the_last_minute_is_counted_from_its_rows(cut_off: Path) -> None:
    with closing(schema.connect(cut_off)) as connection:
        recovery.recover(connection, "run-2")
    assert rows(cut_off, "SELECT frames, drops, answers, throttled, began_ns, ended_ns FROM windows WHERE id = 2") == [
        (32, '{"paced":16}', f'[["{LABELS[2]}",1,32,32]]', 5, BOOTED_NS + 60 * NS, BOOTED_NS + 83 * NS)
    ]
    histograms = unpack_histograms(value(cut_off, "SELECT histograms FROM windows WHERE id = 2"))
    assert {state: stages["invoke"].samples for state, stages in histograms.items()} == {"steady": 6, "throttled": 2}
    assert rows(cut_off, "SELECT ended_ns, ended_because FROM runs") == [(BOOTED_NS + 83 * NS, recovery.BECAUSE)]


def test_answers_of_the_cpu_stay_apart_in_the_last_minute(cut_off: Path) -> None:
    with closing(schema.connect(cut_off)) as connection:
        connection.execute("UPDATE runs SET backend = 'edgetpu'")
        connection.execute("UPDATE frames SET state = ? WHERE sequence >= 36", (FALLBACK,))
        recovery.recover(connection, "run-2")
    histograms = unpack_histograms(value(cut_off, "SELECT histograms FROM windows WHERE id = 2"))
    assert {state: stages["age"].samples for state, stages in histograms.items()} == {"steady": 5, "fallback": 3}


def test_it_is_done_once_and_not_to_a_run_that_goes_on(cut_off: Path) -> None:
    with closing(schema.connect(cut_off)) as connection:
        recovery.recover(connection, "run-1")
        assert connection.execute("SELECT ended_ns FROM runs").fetchall() == [(None,)]
        recovery.recover(connection, "run-2")
        recovery.recover(connection, "run-3")
    assert value(cut_off, "SELECT count(*) FROM windows") == 2


def test_each_run_is_counted_by_its_own_rows(cut_off: Path) -> None:
    with closing(schema.connect(cut_off)) as connection:
        later_ns = BOOTED_NS + 3600 * NS
        run_id = insert(connection, "runs", run="run-2", started_ns=later_ns)
        insert(connection, "frames", run_id=run_id, monotonic_ns=later_ns + NS, dropped=3)
        insert(connection, "runs", run="run-3", started_ns=later_ns + 2 * NS)
        recovery.recover(connection, "run-4")
    assert rows(cut_off, "SELECT run_id, frames, drops FROM windows WHERE id > 1") == [
        (1, 32, '{"paced":16}'),
        (2, 1, '{"busy":3}'),
    ]
    assert rows(cut_off, "SELECT ended_ns FROM runs WHERE id > 1") == [(later_ns + NS,), (later_ns + 2 * NS,)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE frames SET others = x'010203'",
        "UPDATE frames SET invoke_ns = 'x'",
        "UPDATE frames SET invoke_ns = -1",
        "UPDATE frames SET state = 77",
        "UPDATE windows SET ended_ns = 'late'",
        "UPDATE models SET labels = '{'",
        "UPDATE runs SET configuration = 'x'",
    ],
)
def test_damage_within_values_does_not_keep_the_next_run_out(cut_off: Path, damage: str) -> None:
    with closing(schema.connect(cut_off)) as connection:
        connection.execute(damage)
        recovery.recover(connection, "run-2")
    assert value(cut_off, "SELECT ended_because FROM runs") == recovery.BECAUSE


def test_a_damaged_file_is_noticed_when_a_run_was_cut_off(cut_off: Path) -> None:
    content = bytearray(cut_off.read_bytes())
    root = value(cut_off, "SELECT rootpage FROM sqlite_master WHERE name = 'frames'")
    content[(root - 1) * schema.PAGE_BYTES : root * schema.PAGE_BYTES] = bytes(schema.PAGE_BYTES)
    cut_off.write_bytes(content)
    with closing(schema.connect(cut_off)) as connection, pytest.raises(sqlite3.DatabaseError):
        recovery.recover(connection, "run-2")
