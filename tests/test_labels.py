from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import labels
from edge.errors import LabelError

NAME = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda name: not name[0].isdigit() and name.strip() == name
)


@given(st.lists(NAME, min_size=1), st.sampled_from(["{name}", "{index} {name}", "{index}  {name}", "{index}: {name}"]))
def test_every_documented_form_reads_back(names: list[str], form: str) -> None:
    text = "\n".join(form.format(index=index, name=name) for index, name in enumerate(names))
    assert labels.parse(text + "\n\n", "labels.txt") == tuple(names)


def test_numbered_lines_may_stand_in_any_order() -> None:
    assert labels.parse("1 dog\n0 cat\n2 hen\n", "x") == ("cat", "dog", "hen")


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff0 crème\r\n1 brûlée\r\n".encode())
    assert labels.read(path) == ("crème", "brûlée")


def test_names_that_begin_with_a_number_are_names() -> None:
    assert labels.parse("3 musketeers\n7 dwarfs\n", "x") == ("3 musketeers", "7 dwarfs")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("cat\n\ndog\n", "line 2 is empty"),
        ("0 cat\ndog\n", "line 2 is 'dog'"),
        ("0 cat\n0 dog\n", "repeats index 0"),
        ("0 cat\n2 dog\n", "no line for index 1"),
        ("cat\0dog\n", "not a label file"),
        ("1 tench\n2 goldfish\n", "no line for index 0"),
    ],
)
def test_damaged_files_are_named(text: str, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        labels.parse(text, "labels.txt")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    with pytest.raises(LabelError, match="expected UTF-8 text"):
        labels.read(path)
    with pytest.raises(LabelError, match="No such file"):
        labels.read(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    "folder", ["great_white_shark", "Great-White shark", "man-eater", "great white shark, man-eater"]
)
def test_classes_are_found_by_what_people_call_them(folder: str) -> None:
    classes = labels.ClassNames(["goldfish", "great white shark, man-eater", "tiger shark"])
    assert classes.find(folder) == {1}
    assert classes.find("shark") == set()


def test_an_ambiguous_name_is_both_and_a_whole_label_comes_first() -> None:
    classes = labels.ClassNames(["crane", "crane", "maillot", "maillot, tank suit"])
    assert classes.find("crane") == {0, 1}
    assert classes.find("maillot") == {2}


def test_an_exact_name_comes_before_one_in_other_letters() -> None:
    classes = labels.ClassNames(["red_rose", "Red rose", "red-rose, rosa"])
    assert [classes.find(name) for name in ("red_rose", "Red rose", "red-rose, rosa")] == [{0}, {1}, {2}]
    assert classes.find("RED ROSE") == {0, 1}


def test_background_is_told_by_the_names_or_by_the_flag() -> None:
    assert labels.fit(["background", "cat"], 2, None, "x") == (("background", "cat"), 1)
    assert labels.fit(["background", "cat"], 2, False, "x") == (("background", "cat"), 0)
    assert labels.fit(["cat", "dog"], 3, True, "x") == (("background", "cat", "dog"), 1)
    assert labels.fit(["cat", "dog"], 2, None, "x") == (("cat", "dog"), 0)


@pytest.mark.parametrize(
    ("names", "classes", "background", "sentence"),
    [
        (["cat", "dog"], 3, None, "--background"),
        (["cat", "dog"], 3, False, "--background"),
        (["cat", "dog"], 2, True, "with --background expected 1 names"),
        (["cat", "dog"], 4, None, "has 2 names and the model 4 outputs"),
        (["background", "cat", "dog"], 2, None, "has 3 names and the model 2 outputs"),
    ],
)
def test_counts_that_do_not_fit(names: list[str], classes: int, background: bool | None, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        labels.fit(names, classes, background, "labels.txt")
