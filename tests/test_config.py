from __future__ import annotations

from pathlib import Path

import pytest

from edge import config
from edge.errors import ConfigError


def read(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return config.read(path)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == config.Config()


def test_what_is_given_is_taken_and_the_rest_stays(tmp_path: Path) -> None:
    found = read(
        tmp_path, "camera: {source: scene, fps: 5}\nruntime: {threads: 2}\nmodel: {bare: {mean: [0], std: [255]}}\n"
    )
    assert (found.camera.source, found.camera.fps, found.camera.width_px) == ("scene", 5.0, 640)
    assert found.runtime.threads == 2
    assert found.model.bare.std == (255.0,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("camera: {widht_px: 640}", r"unknown key camera\.widht_px: did you mean camera\.width_px"),
        ("camra: {}", r"unknown key camra: expected one of camera\.source"),
        ("frames: 3", r"unknown key frames: expected one of"),
        ("camera: scene", r"camera: Expected keys with values, got `str`"),
        ("zzz: 1", r"unknown key zzz: expected one of camera\.source"),
        ("runtime: {threads: many}", r"runtime\.threads: Expected `int \| null`, got `str`"),
        ("runtime: {threads: 0}", r"runtime\.threads: Expected `int` >= 1"),
        ("fps: -1", r"fps: Expected `float` >= 0"),
        ("[1, 2]", "Expected keys with values, got `array`"),
        ("camera: {", "is not valid YAML"),
        ("fps: 2024-99-99", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("fps: .nan", r"fps: Expected `float`"),
        ("fps: .inf", r"fps: Expected `float`"),
        ("runtime: {threads: 3000000000}", r"runtime\.threads: Expected `int` <= 1024"),
    ],
)
def test_mistakes_name_the_path_and_what_was_expected(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path, text)


def test_a_cameras_number_may_be_a_number(tmp_path: Path) -> None:
    assert read(tmp_path, "camera: {source: 0}").camera.source == "0"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        config.read(tmp_path / "absent.yaml")
