"""How much shares of right answers say when answers that follow each other resemble each other."""

from contextlib import closing

import pytest

from edge.journal import schema
from edge.report.comparison.compare import compare
from edge.report.comparison.text import verdict
from edge.stats import wilson
from tests.journals import NS, insert, make_journal
from tests.pairs import Minute, pair, varied


def test_accuracy_that_changes_from_minute_to_minute_is_less_sure(tmp_path):
    a = varied(20, 1, right=240)
    changing = [Minute(right=300 if place % 10 else 0) for place in range(20)]
    comparison = compare(*pair(tmp_path, a, changing), ["age"])
    (told,) = comparison.accuracy
    assert told.b.value == 0.9
    assert told.verdict == "cannot tell"
    assert told.b.effective < 20 < told.a.effective
    assert told.change_points.low < 0 < told.change_points.high


def test_accuracy_where_all_is_right_counts_minutes(tmp_path):
    (told,) = compare(*pair(tmp_path, varied(10, 1, right=300), varied(10, 2, right=300)), ["age"]).accuracy
    assert (told.a.effective, told.a.high, told.verdict) == (8, 1.0, "cannot tell")
    assert told.a.low < 0.75


def test_labels_said_later_are_a_source_of_their_own(tmp_path):
    paths = [make_journal(tmp_path / f"{name}.db", minutes=24, seed=seed) for seed, name in enumerate("ab")]
    for path in paths:
        with closing(schema.connect(path)) as connection:
            ((utc_ns,),) = connection.execute("SELECT started_ns + utc_minus_monotonic_ns FROM runs JOIN clocks")
            insert(
                connection, "labels", from_utc_ns=utc_ns, to_utc_ns=utc_ns + 12 * 60 * NS, truth="robin", said_by="bo"
            )
    comparison = compare(*map(str, paths), ["age"])
    told = {each.source: each for each in comparison.accuracy}
    assert list(told) == ["known at the time", "labels", "reviewed pictures"]
    assert told["labels"].a.value < 0.5 < told["known at the time"].a.value
    assert told["labels"].a.effective < 20
    assert told["reviewed pictures"].a.stretches is None
    assert {each.verdict for each in told.values()} == {"cannot tell"}
    assert "accuracy (labels): cannot tell" in verdict(comparison)


def test_answers_that_are_independent_count_nearly_all(tmp_path):
    a, b = pair(tmp_path, varied(20, 1, right=240), varied(20, 2, right=240))
    (told,) = compare(a, b, ["age"]).accuracy
    assert (told.a.effective, told.a.counted, told.a.stretches) == (6000, 6000, 8)
    assert (told.a.low, told.a.high) == pytest.approx(wilson(4800, 6000))


def test_a_truth_that_is_no_class_counts_nowhere(tmp_path):
    a, b = pair(tmp_path, varied(20, 1, right=240), varied(20, 2, right=240))
    with closing(schema.connect(tmp_path / "b.db")) as connection:
        connection.execute("UPDATE windows SET answers = replace(answers, 'robin', 'unicorn')")
    assert [each.reason for each in compare(a, b, ["age"]).accuracy] == ["B knows no truth of this kind"]
