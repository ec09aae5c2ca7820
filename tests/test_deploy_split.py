"""The split as a file and as folders, and `edge-deploy split` as a user runs it."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from deploy.commands.split import split as command
from deploy.pictures import copies, datasets
from edge.errors import ConfigError
from tests.test_deploy_datasets import fill, parts, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set with a bit of everything."""
    root = fill(tmp_path / "data", **{"cat, big": 12, "Löwe": 10})
    picture(root / "cat, big" / 'deep "er"' / "0.png", 500)
    picture(root / "Löwe" / "line\nbreak.jpg", 501)
    picture(root / "Löwe" / "copy.jpg", 501)
    (root / "Löwe" / "bad.jpg").write_bytes(b"no picture")
    picture(root / "Löwe" / os.fsdecode(b"\xff.jpg"), 502)
    return root


def edge_deploy_split(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_split_is_read_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    picture(folder / "Löwe" / os.fsdecode(b"\xff") / "1.jpg", 503)
    dataset = datasets.split(folder)
    file = tmp_path / "split.csv"
    datasets.write_split(dataset, file)
    again = datasets.read_split(file, folder)
    assert again.pictures == dataset.pictures
    assert again.classes == dataset.classes
    assert again.report() == dataset.report()
    assert len(again.skipped) == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["split.csv"]


def test_a_split_beside_its_pictures_moves_with_them(folder: Path, tmp_path: Path) -> None:
    dataset = datasets.split(folder)
    datasets.write_split(dataset, folder / "split.csv")
    folder.rename(tmp_path / "moved")
    assert parts(datasets.read_split(tmp_path / "moved" / "split.csv")) == parts(dataset)


def test_given_parts_are_read_as_they_were_written(tmp_path: Path) -> None:
    folders = [fill(tmp_path / name, cat=3, dog=3) for name in ("a/train", "a/validation", "b/train/test")]
    dataset = datasets.from_parts(*folders)
    datasets.write_split(dataset, tmp_path / "split.csv")
    picture(folders[2] / "dog" / "new.jpg", 700)
    again = datasets.read_split(tmp_path / "split.csv", tmp_path)
    assert again.pictures == dataset.pictures
    assert len(again.report().across_parts) == 6
    assert again.report().unlisted == ("b/train/test/dog/new.jpg",)


def test_new_pictures_are_named_and_not_used(folder: Path, tmp_path: Path) -> None:
    dataset = datasets.split(folder)
    datasets.write_split(dataset, tmp_path / "split.csv")
    picture(folder / "cat, big" / "new.jpg", 700)
    picture(folder / "owl" / "1.jpg", 701)
    picture(folder / ".hidden" / "1.jpg", 702)
    again = datasets.read_split(tmp_path / "split.csv", folder)
    assert again.pictures == dataset.pictures
    assert again.report().unlisted == ("cat, big/new.jpg", "owl/1.jpg")


def test_missing_and_changed_pictures_are_errors(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    datasets.write_split(datasets.split(folder), file)
    path = folder / "cat, big" / "3.jpg"
    content = path.read_bytes()
    path.write_bytes(content + b"more")
    with pytest.raises(ConfigError, match=r"1 of the 25 pictures .* changed .*3\.jpg is the first"):
        datasets.read_split(file, folder)
    path.unlink()
    (folder / "cat, big" / "4.jpg").unlink()
    with pytest.raises(ConfigError, match=r"2 of the 25 pictures .* missing .*3\.jpg is the first"):
        datasets.read_split(file, folder)
    with pytest.raises(ConfigError, match=r"25 of the 25 pictures .* give the folder that the split was made from"):
        datasets.read_split(file, tmp_path / "elsewhere")


HEAD = "path,class,part,sha256,bytes,group,notes\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a CSV file with the columns path, class"),
        (b"path,class\na,b\n", "expected a CSV file with the columns path, class"),
        (b"\xff\xfe", "expected CSV in UTF-8"),
        (HEAD + '"open', "expected CSV in UTF-8"),
        (HEAD, "lists no pictures"),
        (HEAD + "a/1.jpg,a,train\n", "too few or too many fields in picture 1"),
        (HEAD + "a/1.jpg,a,train,0,1,g,,,\n", "too few or too many fields in picture 1"),
        (HEAD + "/etc/1.jpg,a,train,0,1,g,\n", "'/etc/1.jpg', not one below the data folder"),
        (HEAD + "a/../../1.jpg,a,train,0,1,g,\n", "not one below the data folder"),
        (HEAD + "a/1.jpg,a,dev,0,1,g,\n", "the part 'dev', not one of train, validation, test"),
        (HEAD + "a/1.jpg,a,train,0,x,g,\n", "the size 'x'"),
        (HEAD + "a/1.jpg,a,train,0,1,g,\n" * 2, "for a second time in picture 2"),
        (HEAD + "a/1.jpg,a,train,0,1,g,\n", "no validation picture of the class 'a'"),
    ],
)
def test_files_that_are_no_split(tmp_path: Path, content: str | bytes, message: str) -> None:
    file = tmp_path / "split.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        datasets.read_split(file)
    assert "\n" not in str(caught.value)


def test_places_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    dataset = datasets.split(folder)
    for place in (tmp_path, Path(), tmp_path / "no" / "split.csv", Path("/proc/split.csv")):
        with pytest.raises(ConfigError, match="Cannot write"):
            datasets.write_split(dataset, place)
    with pytest.raises(ConfigError, match="Cannot read the split"):
        datasets.read_split(tmp_path / "no.csv")


def test_parts_as_folders_hold_each_picture_once(folder: Path, tmp_path: Path) -> None:
    picture(folder / "cat, big" / "deep_0.jpg", 600)
    picture(folder / "cat, big" / "deep" / "0.jpg", 601)
    dataset = datasets.split(folder)
    copies.copy_parts(dataset, tmp_path / "copy")
    copied = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert all(len(path.relative_to(tmp_path / "copy").parts) == 3 for path in copied)
    assert Counter((path.parts[-3], path.parts[-2], path.read_bytes()) for path in copied) == Counter(
        (one.part, dataset.classes[one.class_id], one.path.read_bytes()) for one in dataset.pictures
    )
    again = datasets.from_parts(*(tmp_path / "copy" / part for part in datasets.PARTS))
    assert again.report().counts == dataset.report().counts
    assert again.report().across_parts == ()


def test_folders_that_are_taken_stay_as_they_are(folder: Path, tmp_path: Path) -> None:
    dataset = datasets.split(folder)
    with pytest.raises(ConfigError, match="is not an empty folder"):
        copies.copy_parts(dataset, folder)
    with pytest.raises(ConfigError, match="is not an empty folder"):
        copies.copy_parts(dataset, folder / "Löwe" / "0.jpg")
    shutil.rmtree(folder / "Löwe")
    with pytest.raises(ConfigError, match=r"Cannot copy to .*new: No such file"):
        copies.copy_parts(dataset, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_command_writes_prints_and_copies(folder: Path, tmp_path: Path) -> None:
    out, copy = tmp_path / "split.csv", tmp_path / "copy"
    copy.mkdir()
    done = edge_deploy_split(folder, "--out", out, "--shares", "50,25,25", "--seed", 3, "--copy", copy)
    assert done.exit_code == 0, done.output
    assert parts(datasets.read_split(out, folder)) == parts(datasets.split(folder, 3, (0.5, 0.25, 0.25)))
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["class", "train", "validation", "test"]
    assert lines[3].split() == ["all", "13", "6", "6"]
    assert lines[4].startswith("duplicates: 1 equal files, 0 near")
    assert "left out: 2" in lines
    assert any("bad.jpg is not a picture" in line for line in lines)
    assert {path.name for path in (copy / "test").iterdir()} == {"Löwe", "cat, big"}


def test_the_command_prints_json(folder: Path, tmp_path: Path) -> None:
    done = edge_deploy_split(folder, "--out", tmp_path / "split.csv", "--json", "--near-bits", -1)
    report = msgspec.json.decode(done.stdout, type=datasets.Report)
    assert report == datasets.split(folder, near_bits=-1).report()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--shares", "80,x,10"], "The shares are '80,x,10': expected three percentages such as 80,10,10."),
        (["--shares", "80,10,20"], "expected three above 0 that add up to 1"),
        (["--copy", "data"], "is not an empty folder"),
        (["--out", "no/split.csv"], "Cannot write the split no/split.csv: there is no folder no."),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = edge_deploy_split(folder, "--out", "split.csv", *options)
    assert done.exit_code == 1
    assert sentence in done.output
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1
    assert not (tmp_path / "split.csv").exists()


def test_the_file_is_plain_csv(folder: Path, tmp_path: Path) -> None:
    datasets.write_split(datasets.split(folder), tmp_path / "split.csv")
    with (tmp_path / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["part"] for row in rows) == {"train": 21, "validation": 2, "test": 2, "skipped": 2}
    assert 'cat, big/deep "er"/0.png' in {row["path"] for row in rows}
