"""Finding pictures and splitting them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy import datasets
from edge.errors import ConfigError


def test_pictures_are_found_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b/1.jpg", "a/2.PNG", "a/1.jpeg", "a/notes.txt", "credits.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in datasets.find_pictures(tmp_path)]
    assert found == ["a/1.jpeg", "a/2.PNG", "b/1.jpg"]


@pytest.mark.parametrize(("name", "message"), [("nowhere", "does not exist"), (".", "holds no pictures")])
def test_no_pictures_is_one_sentence(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        datasets.find_pictures(tmp_path / name)


@given(st.integers(2, 500), st.data())
def test_a_split_shares_nothing_and_loses_nothing(count: int, draw: st.DataObject) -> None:
    wanted = draw.draw(st.integers(1, count - 1))
    paths = [Path(f"{number:04}.jpg") for number in range(count)]
    split = datasets.calibration_split(paths, wanted)
    assert len(split.calibration) == wanted
    assert sorted(split.calibration + split.evaluation) == paths


def test_every_fifth_of_a_thousand() -> None:
    paths = [Path(f"{number}.jpg") for number in range(1000)]
    assert datasets.calibration_split(paths, 200).calibration == tuple(paths[::5])


@pytest.mark.parametrize("wanted", [0, 10, 11])
def test_something_must_be_left_to_measure(wanted: int) -> None:
    with pytest.raises(ConfigError, match=f"{wanted} calibration images .* holds 10"):
        datasets.calibration_split([Path(str(number)) for number in range(10)], wanted)


@pytest.mark.parametrize(
    ("folder", "expected"), [("007_n01_hen", 7), ("12", 12), ("1000_none", None), ("cats", None), ("n01443537", None)]
)
def test_the_folder_tells_the_class(folder: str, expected: object) -> None:
    assert datasets.class_index(Path("x", folder, "1.jpg"), 1000) == expected
