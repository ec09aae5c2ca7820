"""Bundles are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from deploy.conversion import bundles
from edge.errors import ConfigError, ModelError
from edge.model.bundle import Contract, open_bundle, read_contract
from tests.conftest import MODEL, ROOT


@pytest.fixture(scope="module")
def parts() -> tuple[Contract, bytes, str]:
    shipped = ROOT / "models" / MODEL
    return read_contract(shipped), (shipped / "model.tflite").read_bytes(), (shipped / "labels.txt").read_text()


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_what_is_written_opens(parts: tuple[Contract, bytes, str], tmp_path: Path) -> None:
    bundles.write(tmp_path / "new" / "mine", *parts)
    assert open_bundle(tmp_path / "new" / "mine").contract == parts[0]
    assert entries(tmp_path / "new") == ["mine"]
    assert entries(tmp_path / "new" / "mine") == ["labels.txt", "model.tflite", "model.yaml"]


def test_the_shipped_contract_is_what_would_be_written(parts: tuple[Contract, bytes, str]) -> None:
    assert (ROOT / "models" / MODEL / "model.yaml").read_text() == bundles.contract_text(parts[0])


def test_others_may_read_it(parts: tuple[Contract, bytes, str], tmp_path: Path) -> None:
    kept = os.umask(0o022)
    try:
        bundles.write(tmp_path / "mine", *parts)
    finally:
        os.umask(kept)
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "mine" / "model.tflite").stat().st_mode) == 0o644


def test_an_older_bundle_is_replaced(parts: tuple[Contract, bytes, str], tmp_path: Path) -> None:
    bundles.write(tmp_path / "mine", *parts)
    newer = msgspec.structs.replace(parts[0], name="newer")
    bundles.write(tmp_path / "mine", newer, *parts[1:])
    assert read_contract(tmp_path / "mine").name == "newer"
    assert entries(tmp_path) == ["mine"]


@pytest.mark.parametrize("older", [False, True])
def test_a_bundle_that_breaks_its_contract_leaves_nothing(
    parts: tuple[Contract, bytes, str], tmp_path: Path, older: bool
) -> None:
    if older:
        bundles.write(tmp_path / "mine", *parts)
    with pytest.raises(ModelError, match="sha256"):
        bundles.write(tmp_path / "mine", parts[0], parts[1] + b"\0", parts[2])
    assert entries(tmp_path) == (["mine"] if older else [])
    assert not older or open_bundle(tmp_path / "mine").contract == parts[0]


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_full_disk_keeps_the_older_bundle(
    parts: tuple[Contract, bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    bundles.write(tmp_path / "mine", *parts)
    rename = Path.rename

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def only_back(self: Path, target: Path) -> Path:
        if "model.yaml" in entries(self) and target == tmp_path / "mine" and not self.name.endswith(".old"):
            full()
        return rename(self, target)

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "rename", only_back)
    with pytest.raises(ConfigError, match=r"Cannot write the bundle .*No space left"):
        bundles.write(tmp_path / "mine", *parts)
    assert open_bundle(tmp_path / "mine").contract == parts[0]
    assert entries(tmp_path) == ["mine"]


def test_a_folder_of_other_things_is_left_alone(parts: tuple[Contract, bytes, str], tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="something other than a model bundle"):
        bundles.write(tmp_path / "thesis", *parts)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def test_a_file_is_left_alone(parts: tuple[Contract, bytes, str], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(ConfigError, match="is not a folder"):
        bundles.write(tmp_path / "mine", *parts)


def test_a_folder_with_more_than_a_bundle_is_left_alone(parts: tuple[Contract, bytes, str], tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "model.yaml").write_text("layers: 3\n")
    bundles.write(tmp_path / "more", *parts)
    (tmp_path / "more" / "thesis.txt").write_text("dear reader")
    for folder in (foreign, tmp_path / "more"):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(ConfigError, match="something other than a model bundle"):
            bundles.write(folder, *parts)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_folder_one_is_in_is_refused(
    parts: tuple[Contract, bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the folder you are in"):
        bundles.write(Path(), *parts)


def test_ctrl_c_between_old_and_new_keeps_the_old(
    parts: tuple[Contract, bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract, model, labels = parts
    bundles.write(tmp_path / "bundle", contract, model, labels)
    renames = []
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        renames.append(path)
        if len(renames) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bundles.write(tmp_path / "bundle", msgspec.structs.replace(contract, name="newer"), model, labels)
    assert open_bundle(tmp_path / "bundle").name == contract.name
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
