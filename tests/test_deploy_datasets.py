"""Finding pictures and dividing them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.pictures import datasets
from edge.errors import ConfigError


def picture(path: Path, seed: int, quality: int = 95) -> Path:
    """A small picture like no other, the same for the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    path.write_bytes(cv2.imencode(path.suffix, cv2.resize(rough, (48, 40)), options)[1].tobytes())
    return path


def fill(root: Path, **counts: int) -> Path:
    """Class folders with so many pictures each."""
    for number, (name, count) in enumerate(counts.items()):
        for index in range(count):
            picture(root / name / f"{index}.jpg", 1000 * number + index)
    return root


def parts(dataset: datasets.Dataset) -> dict[str, str]:
    return {dataset.relative(one.path): one.part for one in dataset.pictures}


def test_pictures_are_found_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        "b/1.jpg",
        "a/2.PNG",
        "a/1.jpeg",
        "a/notes.txt",
        "credits.csv",
        ".git/1.jpg",
        "a/._2.png",
        "a/x/3.webp",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in datasets.find_pictures(tmp_path)]
    assert found == ["a/1.jpeg", "a/2.PNG", "a/x/3.webp", "b/1.jpg"]


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


def test_calibration_pictures_are_of_every_class() -> None:
    paths = [Path("cat", str(number)) for number in range(48)] + [Path("dog", str(number)) for number in range(16)]
    chosen = datasets.calibration_pictures(paths, 16)
    assert set(chosen) <= set(paths)
    assert Counter(path.parent.name for path in chosen) == {"cat": 12, "dog": 4}
    assert datasets.calibration_pictures(paths, 1000) == tuple(paths)
    with pytest.raises(ConfigError, match="0 calibration images"):
        datasets.calibration_pictures(paths, 0)


def test_frames_of_a_fixed_camera_are_told_a_way_out(tmp_path: Path) -> None:
    for name in ("empty", "full"):
        for quality in range(80, 95):
            picture(tmp_path / name / f"{quality}.jpg", 1 if name == "full" else 2, quality)
    with pytest.raises(ConfigError, match=r"has 15 pictures, 1 when .* allow them with --near-bits -1\.$"):
        datasets.split(tmp_path)
    assert datasets.split(tmp_path, near_bits=-1).report().counts["full"] == {"train": 11, "validation": 2, "test": 2}


def test_each_class_is_divided_by_the_shares(tmp_path: Path) -> None:
    counts = datasets.split(fill(tmp_path, cat=30, dog=15, owl=3)).report().counts
    assert counts == {
        "cat": {"train": 24, "validation": 3, "test": 3},
        "dog": {"train": 11, "validation": 2, "test": 2},
        "owl": {"train": 1, "validation": 1, "test": 1},
    }


@settings(max_examples=25)
@given(st.data())
def test_a_split_is_a_stratified_partition_that_tears_no_group(draw: st.DataObject) -> None:
    shares = draw.draw(st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.1, 0.1, 0.8)]))
    seed = draw.draw(st.integers(0, 2**40))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sizes = {}
        for number, name in enumerate(("a", "b")):
            sizes[name] = draw.draw(st.lists(st.sampled_from([1, 1, 1, 2, 4]), min_size=3, max_size=15), label=name)
            for group, size in enumerate(sizes[name]):
                for copy in range(size):  # an equal one, then near ones
                    picture(root / name / f"{group}_{copy}.jpg", 1000 * number + group, 95 - 5 * (copy // 2))
        dataset = datasets.split(root, seed, shares)
        assert parts(datasets.split(root, seed, shares)) == parts(dataset)
    assert sorted(one.path for one in dataset.pictures) == sorted(
        root / name / f"{group}_{copy}.jpg"
        for name, groups in sizes.items()
        for group, size in enumerate(groups)
        for copy in range(size)
    )
    together: dict[str, set[str]] = {}
    for path, part in parts(dataset).items():
        together.setdefault(path.rpartition("_")[0], set()).add(part)
    assert all(len(found) == 1 for found in together.values())
    report = dataset.report()
    assert report.exact_duplicates == sum(size // 2 for groups in sizes.values() for size in groups)
    assert report.near_duplicates == sum(size == 4 for groups in sizes.values() for size in groups)
    for name, groups in sizes.items():
        assert min(report.counts[name].values()) >= 1
        for part, share in zip(datasets.PARTS[1:], shares[1:]):
            if set(groups) == {1}:
                wanted = max(1, int(share * len(groups) + 0.5))
                free = len(groups) - (2 if part == "test" else 1 + report.counts[name]["test"])
                assert report.counts[name][part] == min(wanted, free)
            elif len(groups) > 10 and share < 0.5:
                assert abs(report.counts[name][part] - share * sum(groups)) <= max(groups)


def test_a_split_knows_neither_names_nor_time_and_another_seed_is_another_one(tmp_path: Path) -> None:
    one = datasets.split(fill(tmp_path / "one", cat=40, dog=40))
    for path in sorted((tmp_path / "one").rglob("*.jpg"), reverse=True):
        target = tmp_path / "two" / path.parent.name / f"x{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    two = datasets.split(tmp_path / "two")
    assert parts(two) == {path.replace("/", "/x"): part for path, part in parts(one).items()}
    assert parts(datasets.split(tmp_path / "one", seed=1)) != parts(one)


def test_one_picture_more_moves_few(tmp_path: Path) -> None:
    before = parts(datasets.split(fill(tmp_path, cat=100, dog=100)))
    for number in range(5):
        picture(tmp_path / "cat" / f"new{number}.jpg", 5000 + number)
    after = parts(datasets.split(tmp_path))
    assert sum(after[path] != part for path, part in before.items()) <= 4


def test_a_file_in_two_classes_is_for_training_with_all_that_is_like_it(tmp_path: Path) -> None:
    fill(tmp_path, cat=20, dog=20)
    picture(tmp_path / "dog" / "same.jpg", 3)
    picture(tmp_path / "dog" / "near.jpg", 3, quality=80)
    for seed in range(6):
        dataset = datasets.split(tmp_path, seed)
        assert {parts(dataset)[name] for name in ("cat/3.jpg", "dog/same.jpg", "dog/near.jpg")} == {"train"}
        assert dataset.report().conflicts == (("cat/3.jpg", "dog/same.jpg"),)


def test_alike_pictures_of_two_classes_are_what_is_to_be_learned(tmp_path: Path) -> None:
    fill(tmp_path, cat=10, dog=10)
    for index in range(10):
        picture(tmp_path / "dog" / f"{index}.jpg", index, quality=80)
    assert datasets.split(tmp_path).report().near_duplicates == 0


def test_pictures_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    fill(tmp_path, cat=10, dog=10)
    (tmp_path / "cat" / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "dog" / "empty.png").touch()
    (tmp_path / "dog" / "gone.bmp").symlink_to("nowhere")
    os.mkfifo(tmp_path / "dog" / "pipe.jpg")
    dataset = datasets.split(tmp_path)
    assert len(dataset.pictures) == 20
    reasons = dataset.report().skipped
    assert [Path(one.path).name for one in dataset.skipped] == ["bad.jpg", "empty.png", "gone.bmp"]
    assert all(name in reason for name, reason in zip(("bad.jpg", "empty.png", "gone.bmp"), reasons))


def test_nested_folders_belong_to_the_class_above_and_names_may_be_any(tmp_path: Path) -> None:
    names = ["Löwe, groß", "猫 cat", "a-b_c"]
    for number, name in enumerate(names):
        for index in range(4):
            picture(tmp_path / name / ("deep/deeper" if index % 2 else "") / f"{index}.PNG", 10 * number + index)
    dataset = datasets.split(tmp_path)
    assert dataset.classes == tuple(sorted(names))
    assert Counter(dataset.classes[one.class_id] for one in dataset.pictures) == dict.fromkeys(names, 4)


def test_a_class_is_called_by_its_composed_name(tmp_path: Path) -> None:
    fill(tmp_path, **{"Lo\u0308we ": 3, "cat": 3})
    assert datasets.split(tmp_path).classes == ("L\u00f6we", "cat")
    fill(tmp_path, Löwe=3)
    with pytest.raises(ConfigError, match="differ only in spaces"):
        datasets.split(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty: expected a folder of pictures for each class"),
        (["cat/1.jpg", "cat/2.jpg"], "holds one class only, 'cat': expected two"),
        (["cat/1.jpg", "dog/notes.txt"], r"dog holds no pictures: expected files that end in"),
        (["cat/1.jpg", "dog/1.jpg", "1.jpg", "2.png"], r"in no class \(.*1\.jpg is the first of 2\)"),
        (["cat/1.jpg", "do\ng/1.jpg"], "cannot be a label"),
        (["cat/1.jpg", "  /1.jpg"], "cannot be a label"),
        (["cat/1.jpg", os.fsdecode(b"d\xffg/1.jpg")], "not UTF-8: rename it"),
        (["0 cat/1.jpg", "1 dog/1.jpg"], "write them as '1_rose'"),
        ([f"{number} x/1.jpg" for number in range(11)], "write them as '1_rose'"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path: Path, files: list[str], message: str) -> None:
    for seed, name in enumerate(files):
        picture(tmp_path / name, seed) if not name.endswith("txt") else (tmp_path / "dog").mkdir()
    with pytest.raises(ConfigError, match=message) as caught:
        datasets.split(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_class_needs_a_picture_for_each_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'dog' in .* has 2 pictures: expected at least 3, one each for training"):
        datasets.split(fill(tmp_path, cat=5, dog=2))
    for copy in range(3):
        picture(tmp_path / "dog" / f"copy{copy}.jpg", 1000)
    with pytest.raises(ConfigError, match=r"'dog' .* has 5 pictures, 2 when duplicates .* count once: expected"):
        datasets.split(tmp_path)
    picture(tmp_path / "dog" / "third.jpg", 9999)
    assert datasets.split(tmp_path).report().counts["dog"] == {"train": 4, "validation": 1, "test": 1}
    (tmp_path / "dog" / "third.jpg").write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"\(1 cannot be used; .*third\.jpg is not a picture"):
        datasets.split(tmp_path)


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.8, 0.2, 0.0), (0.8, 0.1, 0.2), (float("nan"), 0.1, 0.1)])
def test_shares_that_are_none(tmp_path: Path, shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="expected three above 0 that add up to 1"):
        datasets.split(fill(tmp_path, cat=5, dog=5), shares=shares)


def test_given_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("train", "other/val", "other/test")]
    for number, folder in enumerate(folders):
        for index in range(4):
            picture(folder / "cat" / f"{index}.jpg", 100 * number + index)
            picture(folder / "dog" / f"{index}.jpg", 100 * number + index + 50)
    dataset = datasets.from_parts(*folders)
    assert dataset.root == tmp_path
    assert dataset.report().counts == {name: {"train": 4, "validation": 4, "test": 4} for name in ("cat", "dog")}
    assert {one.part for one in dataset.pictures if "other/val" in str(one.path)} == {"validation"}
    assert dataset.report().across_parts == ()
    picture(folders[2] / "dog" / "seen.jpg", 50, quality=80)
    dataset = datasets.from_parts(*folders)
    assert dataset.report().across_parts == (("train/dog/0.jpg", "other/test/dog/seen.jpg"),)


def test_given_parts_must_fit_each_other(tmp_path: Path) -> None:
    one, two, three = (fill(tmp_path / name, cat=3, dog=3) for name in ("one", "two", "three"))
    with pytest.raises(ConfigError, match="one is given for two parts"):
        datasets.from_parts(one, two, tmp_path / "two" / ".." / "one")
    fill(three, owl=3)
    with pytest.raises(ConfigError, match="must hold the same classes: only one of them holds 'owl'"):
        datasets.from_parts(one, two, three)
    shutil.rmtree(three / "owl")
    for path in (three / "dog").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"Not one picture of the class 'dog' in .*three can be read"):
        datasets.from_parts(one, two, three)


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    datasets.split(fill(tmp_path, cat=3, dog=4), progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 7) for number in range(1, 8)]


def test_flowers(data: Path) -> None:
    folder = data / "flowers"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    report = datasets.split(folder).report()
    total = Counter(part for counts in report.counts.values() for part in counts for _ in range(counts[part]))
    assert total == {"train": 2936, "validation": 367, "test": 367}
    assert report.exact_duplicates == 3
    assert 30 <= report.near_duplicates <= 40  # decoders differ by a bit
    assert report.conflicts == (("roses/15922772266_1167a06620.jpg", "tulips/15922772266_1167a06620.jpg"),)
