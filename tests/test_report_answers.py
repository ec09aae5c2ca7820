"""Accuracy by source and class, confusion, and what was seen."""

from __future__ import annotations

import msgspec
import pytest

from edge.report.drawn import answers
from edge.report.figures import ClassAccuracy
from tests import reports


def test_accuracy_has_its_interval_and_what_it_rests_on() -> None:
    told = reports.accuracy("labels", "lite0", 3)
    without = msgspec.structs.replace(told, top5=None)
    rows = answers.accuracy([told, without])
    assert rows[0][:3] == ["labels", "lite0", f"{100 * told.top1.value:.1f} %"]
    assert rows[0][3] == f"{100 * told.top1.low:.1f} to {100 * told.top1.high:.1f} %"
    assert rows[0][6:] == ["1,126", "1,126", "1,126", "12"]
    assert rows[1][4:6] == ["not told", ""]


def test_classes_name_their_main_mistakes() -> None:
    rows = answers.classes(reports.accuracy("labels", "lite0", 3))
    assert rows[0] == ["tomato, ripe", "89.9 %", "86.6 to 92.4 %", "405", "tomato, green (10.1 %)"]


@pytest.mark.parametrize(
    ("number", "columns", "folded"), [(8, 8, 0), (20, 20, 0), (21, 21, 0), (22, 21, 2), (90, 21, 70)]
)
def test_confusion_folds_the_least_frequent_and_loses_none(number: int, columns: int, folded: int) -> None:
    names = [f"class {each}" for each in range(number)]
    told = reports.accuracy("labels", "lite0", 3, names)
    confusion = answers.confusion(told)
    assert (len(confusion.columns), confusion.folded) == (columns, folded)
    assert confusion.columns[0] == "class 0"
    assert ("others" in confusion.columns) == (folded > 0)
    assert sum(int(cell.text or 0) for _, _, cells in confusion.rows for cell in cells) == told.top1.total
    for truth, whole, cells in confusion.rows:
        assert sum(int(cell.text or 0) for cell in cells) == int(whole)
        right = [column for column, cell in zip(confusion.columns, cells) if cell.right]
        assert right == ([] if truth == "others" else [truth])


def test_confusion_counts_answers_that_are_no_truth_and_weights_below_one() -> None:
    told = reports.accuracy("labels", "lite0", 1)
    cat = ClassAccuracy("cat", reports.share(3, 4), {"cat": 3.4, "dog": 0.3})
    confusion = answers.confusion(msgspec.structs.replace(told, classes=[cat]))
    assert confusion.columns == ["cat", "dog"]
    assert [(truth, [cell.text for cell in cells]) for truth, _, cells in confusion.rows] == [("cat", ["3", "<1"])]


def test_what_it_saw_ends_in_others() -> None:
    journal = reports.journal(days=1, count=2, predicted={f"class {each}": 100 - each for each in range(40)})
    rows = answers.predicted(journal)
    assert len(rows) == answers.MOST_CLASSES + 1
    assert rows[0][:2] == ("class 0", "100")
    assert rows[-1][0] == "20 others"
    assert max(length for *_, length in rows) == 1.0
    assert answers.predicted(reports.nothing().journals[0]) == []
