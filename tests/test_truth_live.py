from __future__ import annotations

import threading
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ControlError, LabelError
from edge.truth.live import Truth, label_of, nearest

LABELS = [
    "tabby, tabby cat",
    "tiger cat",
    "crane",
    "crane",
    "great white shark, white shark",
    "shark, sandbar",
    "Shark",
]


class Heard(list[tuple[Optional[str], str]]):
    """Collects changes."""

    def __call__(self, name: Optional[str], by: str) -> None:
        self.append((name, by))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("tabby", "tabby, tabby cat"),
        ("Tabby_Cat", "tabby, tabby cat"),
        ("crane", "crane"),
        ("great-white shark", "great white shark, white shark"),
        ("shark", "Shark"),
    ],
)
def test_a_class_is_spelt_as_the_model_spells_it(name: str, label: str) -> None:
    assert label_of(name, LABELS) == label


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tabbi", "did you mean 'tabby, tabby cat'?"),
        ("cat", "'tabby, tabby cat' or 'tiger cat'"),
        ("zebra crossing", "none of the model's 7 classes: give one of the names"),
        ("", "''"),
    ],
)
def test_the_nearest_classes_are_told(name: str, words: str) -> None:
    with pytest.raises(LabelError) as caught:
        label_of(name, LABELS)
    assert words in str(caught.value)


def test_a_name_of_several_labels_is_not_guessed() -> None:
    with pytest.raises(LabelError, match="may be 'bank, river' or 'bank, money': give the whole label"):
        label_of("bank", ["bank, river", "bank, money"])


@given(st.text(max_size=20), st.lists(st.text(max_size=20), min_size=1, max_size=10))
def test_any_name_is_a_label_or_an_error(name: str, labels: list[str]) -> None:
    try:
        assert label_of(name, labels) in labels
    except LabelError:
        assert set(nearest(name, labels)) <= set(labels)


def test_the_truth_is_set_and_cleared_and_changes_are_told() -> None:
    heard = Heard()
    truth = Truth(LABELS, heard)
    assert truth.current is None
    assert truth.said is None
    assert truth.set("tabby", "ann") == "tabby, tabby cat"
    assert truth.current == "tabby, tabby cat"
    truth.set("tabby cat", "bob")
    truth.set("crane", "bob")
    with pytest.raises(LabelError):
        truth.set("unicorn", "ann")
    assert truth.current == "crane"
    truth.clear("ann")
    truth.clear("ann")
    assert truth.current is None
    assert heard == [("tabby, tabby cat", "ann"), ("crane", "bob"), (None, "ann")]


def test_many_threads_leave_the_truth_that_was_told_last() -> None:
    heard = Heard()
    truth = Truth([str(number) for number in range(8)], heard)

    def say(number: int) -> None:
        for _ in range(200):
            truth.set(str(number), "a thread")
            truth.clear("a thread")

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard[-1][0] == truth.current
    assert all(before[0] != after[0] for before, after in zip(heard, heard[1:]))


def test_requests_are_answered() -> None:
    truth = Truth(LABELS, Heard())
    assert truth.answer({"do": "truth"}) == {"truth": None}
    answer = truth.answer({"do": "truth", "name": "tabby", "by": "ann"})
    assert answer.pop("for_s") >= 0
    assert answer == {"truth": "tabby, tabby cat", "by": "ann"}
    assert truth.answer({"do": "truth"})["by"] == "ann"
    assert truth.answer({"do": "truth", "name": None}) == {"truth": None}


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "truth", "name": 3},
        {"do": "truth", "nmae": "tabby"},
        {"do": "truth", "name": "tabby", "by": ""},
        {"do": "truth", "name": "tabby", "by": "x" * 201},
        {"do": "truth", "name": "tabby", "by": None},
    ],
)
def test_requests_that_are_not_as_they_should_be(request_: dict[str, Any]) -> None:
    truth = Truth(LABELS, Heard())
    with pytest.raises(ControlError, match="not as it should be"):
        truth.answer(request_)
    assert truth.current is None
