"""Journals that differ from the others are named."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edge.journal import schema
from edge.report.gather import gather
from edge.report.outliers import modified_z_scores
from tests.journals import BOOTED_NS, NS, insert, make_journal
from tests.pairs import Minute, record


def test_the_score_is_that_of_iglewicz_and_hoaglin() -> None:
    # Median 3, median of the distances 1.
    assert modified_z_scores([1, 2, 3, 4, 13]) == pytest.approx([-1.349, -0.6745, 0, 0.6745, 6.745])


def test_nothing_stands_out_among_values_that_are_all_but_equal() -> None:
    assert modified_z_scores([10.0, 10.0, 10.0, 10.01])[-1] < 0.1
    assert modified_z_scores([0.0, 0.0, 0.0]) == [0, 0, 0]


def test_a_slow_device_and_one_that_is_often_wrong_are_named(tmp_path: Path) -> None:
    paths = [
        make_journal(tmp_path / f"pi{number}.db", minutes=12, fps=2.0, seed=number, reviewed=False, **options)
        for number, options in enumerate([{}, {}, {"slower": 1.5}, {"right": 0.5}])
    ]
    slow, wrong = gather(paths).outliers
    assert slow.startswith("pi2: half of its steady results are older than ")
    assert wrong.startswith("pi3: lite0 was right in ")
    assert "known at the time" in wrong


def test_devices_that_are_alike_raise_no_alarm(tmp_path: Path) -> None:
    paths = [make_journal(tmp_path / f"pi{number}.db", minutes=2, seed=3) for number in range(3)]
    assert gather(paths).outliers == []


def test_two_journals_have_no_outliers(tmp_path: Path) -> None:
    paths = [make_journal(tmp_path / f"pi{number}.db", minutes=2, slower=1.0 + 2 * number) for number in range(2)]
    assert gather(paths).outliers == []


def scenes(path: Path, random: np.random.Generator, minutes: int = 120, long: int = 10) -> Path:
    """A journal whose accuracy differs from one scene of ten minutes to the next."""
    with closing(schema.connect(path)) as connection:
        for table in ("models", "runs", "clocks"):
            insert(connection, table)
        connection.execute("BEGIN")
        for minute, level in enumerate(np.repeat(random.beta(7, 1.2, minutes // long), long)):
            right = int(random.binomial(600, level))
            began_ns = BOOTED_NS + minute * 60 * NS
            answers = json.dumps([["robin", 1, right, right], ["robin", 3, 600 - right, 0]])
            insert(
                *(connection, "windows"), began_ns=began_ns, ended_ns=began_ns + 60 * NS, frames=600, answers=answers
            )
        connection.execute("COMMIT")
    return path


def test_devices_of_one_kind_that_see_different_scenes_raise_hardly_any_alarm(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    batches = [[scenes(tmp_path / f"{batch}-{device}.db", random) for device in range(4)] for batch in range(10)]
    assert sum(bool(gather(paths).outliers) for paths in batches) <= 1


def test_a_few_minutes_of_truth_are_too_short_for_an_alarm(tmp_path: Path) -> None:
    levels = [0.9, 0.9, 0.9, 0.4]
    runs = [[Minute(right=round(300 * level))] * 7 for level in levels]
    short = [record(tmp_path / f"short{device}.db", [run], 1) for device, run in enumerate(runs)]
    assert gather(short).outliers == []
    runs = [[Minute(right=round(300 * level) + place % 2) for place in range(8)] for level in levels]
    long = [record(tmp_path / f"long{device}.db", [run], 1) for device, run in enumerate(runs)]
    (sentence,) = gather(long).outliers
    assert sentence.startswith("long3: ")
