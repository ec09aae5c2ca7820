"""The choice of pictures that calibrate, which are never those that measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.conversion import calibrations
from deploy.pictures import datasets
from edge.errors import ConfigError
from tests.test_deploy_datasets import fill


def choose(model: Path, folder: Path, count: int = 200) -> tuple[calibrations.Calibration, list[str]]:
    warnings: list[str] = []
    return calibrations.choose(model, folder, count, warnings.append), [
        warning for warning in warnings if "pictures calibrate: the ranges" not in warning
    ]


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Path]:
    """Three folders of class folders, with their split beside a model that is elsewhere."""
    root = tmp_path / "data"
    folders = {part: fill(root / part, cat=6, dog=4) for part in datasets.PARTS}
    (tmp_path / "out").mkdir()
    dataset = datasets.from_parts(*folders.values())
    datasets.write_split(dataset, tmp_path / "out" / "split.csv")
    return folders


def test_the_training_folder_of_given_parts_calibrates(parts: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(parts["train"])
    for folder in (parts["train"], tmp_path / "link"):
        chosen, warnings = choose(tmp_path / "out" / "model.keras", folder)
        assert {path.resolve() for path in chosen.pictures} == set(datasets.find_pictures(parts["train"]))
        assert warnings == []
        assert chosen.origin.startswith("10 of 10 training pictures by split.csv")
    chosen, warnings = choose(tmp_path / "out" / "model.keras", parts["train"].parent)
    assert set(chosen.pictures) == set(datasets.find_pictures(parts["train"]))
    assert warnings == []


def test_pictures_that_may_measure_later_are_warned_of(parts: dict[str, Path], tmp_path: Path) -> None:
    for model, folder, sentence in (
        (tmp_path / "out" / "model.keras", parts["test"], "has no training pictures in it: verify on others."),
        (tmp_path / "out" / "model.keras", fill(tmp_path / "other", cat=5), "split.csv is of other pictures: "),
        (tmp_path / "model.keras", parts["train"], "use other pictures for `edge-deploy verify`."),
    ):
        chosen, warnings = choose(model, folder)
        assert set(chosen.pictures) == set(datasets.find_pictures(folder))
        (warning,) = warnings
        assert sentence in warning
    assert choose(tmp_path / "model.keras", parts["train"] / "cat")[1] == []


def test_the_next_picture_calibrates_for_one_that_cannot_be_read(tmp_path: Path) -> None:
    paths = datasets.find_pictures(fill(tmp_path, cat=9) / "cat")
    for broken in (3, 4):
        paths[broken].write_bytes(b"no picture")
    chosen, (warning,) = choose(tmp_path / "model.keras", tmp_path / "cat", 3)
    assert chosen.pictures == (paths[0], paths[5], paths[6])
    assert f"2 pictures cannot be read ({paths[3]} is the first)" in warning
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"Not one of 9 pictures .*0\.jpg is the first"):
        choose(tmp_path / "model.keras", tmp_path / "cat", 3)
