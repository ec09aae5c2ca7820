"""Windows gathered into spans of the time line."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge.journal import schema
from edge.report.figures import Moment
from edge.report.gather import gather
from tests.journals import BOOTED_NS, NS, START_UTC_S, insert, make_journal


def moments(path: Path, bins: int = 300) -> list[Moment]:
    return gather([path], bins).journals[0].moments


def test_a_minute_is_a_moment_while_there_is_room(tmp_path: Path) -> None:
    told = moments(make_journal(tmp_path / "field.db", minutes=6))
    assert [moment.from_utc_s - START_UTC_S for moment in told] == [0, 60, 120, 180, 240, 300]
    first, last = told[0], told[-1]
    assert (first.frames, first.fps) == (600, 10.0)
    assert (first.throttled, last.throttled) == ([], ["under-voltage", "throttled"])
    assert first.temperature_c == (44.0, 45.0, 46.5)
    assert first.clock_mhz == (1500.0, 1795.0, 1800.0)
    assert (first.memory_available_min_bytes, first.resident_max_bytes) == (2_900_000_000, 95_000_000)
    assert (first.load_mean, first.coral_max_c) == (1.3, None)
    p50, p90, p99 = first.stages["age"]
    assert 12 < p50 < p90 < 30
    assert p99 is None  # 550 steady samples


def test_moments_join_minutes_by_time(tmp_path: Path) -> None:
    told = moments(make_journal(tmp_path / "field.db", minutes=6), bins=3)
    assert [(moment.to_utc_s - moment.from_utc_s, moment.frames) for moment in told] == [(120, 1_200)] * 3
    assert told[0].temperature_c[0] == 44.0
    assert told[0].stages["age"][2] is not None  # 1,150 samples


def test_runs_are_not_joined_while_they_are_few(tmp_path: Path) -> None:
    told = moments(make_journal(tmp_path / "field.db", runs=2, minutes=2), bins=8)
    gap_s = told[2].from_utc_s - told[1].to_utc_s
    assert (len(told), gap_s) == (4, 30)
    assert len(moments(tmp_path / "field.db", bins=1)) == 1


def test_a_board_that_tells_nothing_is_none_and_not_zero(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    with closing(schema.connect(path)) as connection:
        insert(connection, "models")
        insert(connection, "runs")
        insert(connection, "clocks")
        insert(connection, "windows")
    (moment,) = moments(path)
    assert (moment.throttled, moment.temperature_c, moment.clock_mhz, moment.load_mean) == (None, None, None, None)
    assert (moment.frames, moment.stages) == (0, {})


def test_means_are_weighted_by_time(tmp_path: Path) -> None:
    path = tmp_path / "field.db"
    with closing(schema.connect(path)) as connection:
        insert(connection, "models")
        insert(connection, "runs")
        insert(connection, "clocks")
        for began_s, long_s, warm_c in ((0, 90, 40.0), (90, 30, 80.0)):
            told = dict.fromkeys(("temperature_min_c", "temperature_mean_c", "temperature_max_c"), warm_c)
            began_ns = BOOTED_NS + began_s * NS
            insert(connection, "windows", began_ns=began_ns, ended_ns=began_ns + long_s * NS, frames=60, **told)
    (moment,) = moments(path, bins=1)
    assert moment.temperature_c == (40.0, 50.0, 80.0)
    assert (moment.frames, moment.fps) == (120, 1.0)


def test_a_window_in_which_the_machine_slept_is_as_long_as_it_worked(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", minutes=2)
    with closing(schema.connect(path)) as connection:
        offset_ns = START_UTC_S * NS - BOOTED_NS + 3_600 * NS
        insert(connection, "clocks", since_ns=BOOTED_NS + 30 * NS, utc_minus_monotonic_ns=offset_ns)
    first, second = moments(path)
    assert first.to_utc_s - first.from_utc_s == second.to_utc_s - second.from_utc_s == 60
    assert first.to_utc_s == pytest.approx(START_UTC_S + 3_660)


def test_a_clock_that_was_never_set_still_makes_few_moments(tmp_path: Path) -> None:
    path = make_journal(tmp_path / "field.db", runs=2, minutes=4)
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE clocks SET utc_minus_monotonic_ns = 0 WHERE run_id = 1")
    told = moments(path, bins=8)
    assert len(told) <= 8
    assert sum(moment.frames for moment in told) == 4_800
    assert max(moment.to_utc_s - moment.from_utc_s for moment in told) <= 240
