"""UTC of what was recorded, however the clock was set."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.journal import clock, schema
from edge.journal.sink import Journal
from tests.journaling import NS, MadeUpClocks, events, record, recording, rows, until, value
from tests.journals import insert

TRUE_S = 1_767_225_600.0
UTC = """SELECT sequence, round(utc_s, 3) FROM frames_utc JOIN runs ON runs.id = run_id ORDER BY frames_utc.id"""


def take(journal: Journal, clocks: MadeUpClocks, sequence: int, run: str = "run-1") -> None:
    """A frame now, and a batch behind it."""
    journal.write(record(sequence, clocks.now.monotonic_ns, run))
    journal.event("batch", frame=sequence)
    until(lambda: events(journal.path).count("batch") >= sequence + 1)


def test_a_pi_that_starts_in_1970(tmp_path: Path) -> None:
    """All of the boot, earlier runs too, gets the time that the network told later; order and durations stay."""
    path, clocks = tmp_path / "j.db", MadeUpClocks(monotonic_s=20, utc_s=20)
    with recording(path, "run-1", clocks) as journal:
        take(journal, clocks, 0)
        clocks.go(10)
        take(journal, clocks, 1)
    clocks.go(5)
    with recording(path, "run-2", clocks) as journal:
        take(journal, clocks, 2, "run-2")
        clocks.go(10, step_s=TRUE_S)
        take(journal, clocks, 3, "run-2")
        clocks.go(10)
        take(journal, clocks, 4, "run-2")
    assert rows(path, UTC) == [(n, TRUE_S + s) for n, s in enumerate((20, 30, 35, 45, 55))]
    assert [each for (each,) in rows(path, "SELECT monotonic_ns FROM frames")] == [s * NS for s in (20, 30, 35, 45, 55)]
    jumps = rows(path, "SELECT run_id, detail FROM events WHERE kind = 'clock jumped'")
    assert [(run, json.loads(detail)) for run, detail in jumps] == [(2, {"by_s": TRUE_S})]


def test_a_clock_that_is_set_while_nothing_runs(tmp_path: Path) -> None:
    path, clocks = tmp_path / "j.db", MadeUpClocks(monotonic_s=20, utc_s=20)
    with recording(path, "run-1", clocks) as journal:
        take(journal, clocks, 0)
    clocks.go(60, step_s=TRUE_S)
    with recording(path, "run-2", clocks) as journal:
        take(journal, clocks, 1, "run-2")
    assert rows(path, UTC) == [(0, TRUE_S + 20), (1, TRUE_S + 80)]
    assert value(path, "SELECT count(*) FROM events WHERE kind = 'clock jumped' AND run_id = 2") == 1


def test_runs_of_other_boots_are_left_as_they_are(tmp_path: Path) -> None:
    path, clocks = tmp_path / "j.db", MadeUpClocks(monotonic_s=20, utc_s=20)
    with closing(schema.connect(path)) as connection:
        insert(connection, "models")
        insert(connection, "runs", boot_id="another", run="run-0", ended_ns=9)
        insert(connection, "runs", boot_id=None, run="run-00", ended_ns=9)
        for run_id in (1, 2):
            insert(connection, "clocks", run_id=run_id, since_ns=5, utc_minus_monotonic_ns=77)
    with recording(path, "run-1", clocks) as journal:
        clocks.go(10, step_s=TRUE_S)
        take(journal, clocks, 0)
    assert rows(path, "SELECT utc_minus_monotonic_ns FROM clocks ORDER BY run_id") == [(77,), (77,), (TRUE_S * NS,)]


def test_a_clock_that_is_set_back_keeps_the_order(tmp_path: Path) -> None:
    path, clocks = tmp_path / "j.db", MadeUpClocks(monotonic_s=20, utc_s=TRUE_S)
    with recording(path, "run-1", clocks) as journal:
        for sequence in range(3):
            take(journal, clocks, sequence)
            clocks.go(10, step_s=-3600 if sequence == 0 else 0)
    assert rows(path, UTC) == [(n, TRUE_S - 3600 + 10 * n) for n in range(3)]


def test_a_suspension_moves_only_what_comes_behind_it(tmp_path: Path) -> None:
    path, clocks = tmp_path / "j.db", MadeUpClocks(monotonic_s=20, utc_s=TRUE_S)
    with recording(path, "run-1", clocks) as journal:
        take(journal, clocks, 0)
        clocks.go(1, asleep_s=7200)
        take(journal, clocks, 1)
        clocks.go(1)
        take(journal, clocks, 2)
    with recording(path, "run-2", clocks) as journal:
        take(journal, clocks, 3, "run-2")
    assert rows(path, UTC) == [(n, TRUE_S + s) for n, s in enumerate((0, 7201, 7202, 7202))]
    assert [each for each in events(path) if each in ("suspended", "clock jumped")] == ["suspended"]


def test_small_corrections_are_nothing_until_they_add_up(tmp_path: Path) -> None:
    path, clocks = tmp_path / "j.db", MadeUpClocks(monotonic_s=20, utc_s=TRUE_S)
    with recording(path, "run-1", clocks) as journal:
        for sequence in range(12):
            take(journal, clocks, sequence)
            clocks.go(10, step_s=0.3)
    (last_s,) = rows(path, f"SELECT max(utc_s) FROM ({UTC.replace('round(utc_s, 3)', 'utc_s')})")[0]
    assert abs(last_s - (clocks.now.utc_ns / NS - 10.3)) <= 1.0
    assert events(path).count("clock jumped") == 3


@given(
    st.lists(
        st.tuples(
            st.floats(0.001, 1e5),
            st.sampled_from([0.0, 0.0, 0.4, -0.4, 3.0, -3600.0, 5e8]),
            st.sampled_from([0.0, 0.0, 60.0]),
        ),
        max_size=12,
    )
)
def test_every_moment_gets_the_utc_that_the_last_clock_tells(moves: list[tuple[float, float, float]]) -> None:
    """With `change` and `correct` over any moves, and what a clock without steps would have told."""
    clocks, connection = MadeUpClocks(monotonic_s=20, utc_s=1_000), schema.sqlite3.connect(":memory:")
    connection.executescript(schema.TABLES)
    insert(connection, "models")
    insert(connection, "runs", started_ns=20 * NS)
    reference = clocks.now
    insert(connection, "clocks", run_id=1, since_ns=20 * NS, utc_minus_monotonic_ns=reference.utc_minus_monotonic_ns)
    asleep_s, moments = 0.0, []
    for number, (seconds, step_s, for_s) in enumerate(moves):
        clocks.go(seconds, step_s, for_s)
        asleep_s += for_s
        changed = clock.change(reference, clocks.now)
        clock.correct(connection, 1, changed, clocks.now)
        if changed != clock.Change():
            reference = clocks.now
        insert(connection, "frames", sequence=number, monotonic_ns=clocks.now.monotonic_ns)
        moments.append((clocks.now.monotonic_ns, asleep_s))
    told = connection.execute("SELECT monotonic_ns, utc_s FROM frames_utc ORDER BY id").fetchall()
    booted_s = clocks.now.utc_ns / NS - clocks.now.boot_ns / NS
    # A suspension fixes what small differences there are by then for what came before it.
    off_s = 1.001 * connection.execute("SELECT count(*) FROM clocks").fetchone()[0]
    assert [at_ns for at_ns, _ in told] == sorted(at_ns for at_ns, _ in told)
    for (at_ns, utc_s), (moment_ns, slept_s) in zip(told, moments):
        assert at_ns == moment_ns
        assert utc_s == pytest.approx(booted_s + at_ns / NS + slept_s, abs=off_s)
    connection.close()


def test_the_clocks_of_this_machine() -> None:
    first, second = clock.read(), clock.read()
    assert first.monotonic_ns <= second.monotonic_ns
    assert clock.change(first, second) == clock.Change()
    assert clock.boot_id() == clock.boot_id()
