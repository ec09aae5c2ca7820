"""Journals that differ from the others are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.report.gather import gather
from edge.report.outliers import modified_z_scores
from tests.journals import make_journal


def test_the_score_is_that_of_iglewicz_and_hoaglin() -> None:
    # Median 3, median of the distances 1.
    assert modified_z_scores([1, 2, 3, 4, 13]) == pytest.approx([-1.349, -0.6745, 0, 0.6745, 6.745])


def test_nothing_stands_out_among_values_that_are_all_but_equal() -> None:
    assert modified_z_scores([10.0, 10.0, 10.0, 10.01])[-1] < 0.1
    assert modified_z_scores([0.0, 0.0, 0.0]) == [0, 0, 0]


def test_a_slow_device_and_one_that_is_often_wrong_are_named(tmp_path: Path) -> None:
    paths = [
        make_journal(tmp_path / f"pi{number}.db", minutes=3, seed=number, reviewed=False, **options)
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
