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
        ("camera: {widht_px: 640}", r":1: unknown key camera\.widht_px: did you mean camera\.width_px\?"),
        ("camra: {}", r":1: unknown key camra: did you mean camera\?"),
        ("\nwidth_px: 640", r":2: unknown key width_px: did you mean camera\.width_px\?"),
        ("model: {mean: [1]}", r":1: unknown key model\.mean: did you mean model\.bare\.mean\?"),
        ("zzz: 1", r"unknown key zzz: expected one of camera, fps, gate, "),
        ("runtime: {zzz: 1}", r"unknown key runtime\.zzz: expected one of name, threads\."),
        ("camera: scene", r"camera is scene: expected keys with values, such as camera\.source\."),
        ("[1, 2]", r"the file holds \[1, 2\]: expected keys with values"),
        ("runtime: {threads: many}", r"runtime\.threads is many: expected a whole number from 1 to 1024, or null\."),
        ("runtime: {threads: 0}", r"runtime\.threads is 0: expected"),
        ("runtime: {threads: '2'}", r"runtime\.threads is '2': expected"),
        ("runtime: {threads: 1.5}", r"runtime\.threads is 1\.5: expected"),
        ("runtime: {threads: 3000000000}", r"runtime\.threads is 3000000000: expected"),
        ("journal: {max_bytes: 5e8}", r"journal\.max_bytes is 5e8: expected a whole number from 1000000 to"),
        ("camera: {loop: 1}", r"camera\.loop is 1: expected true or false\."),
        ("camera: {width_px:}", r"camera\.width_px is empty: expected a whole number from 1 to 65535\."),
        ("fps: -1", r"fps is -1: expected a number from 0\.0001 to 1000000, or null"),
        ("fps: off", r"fps is off: expected a number"),
        ("gate: off", r"gate is off: expected motion, or null"),
        ("fps: .nan", r"fps is \.nan: expected a number"),
        ("fps: .inf", r"fps is \.inf: expected a number"),
        ("fps: 2024-99-99", r"fps is 2024-99-99: expected a number"),
        ("fps: " + "9" * 9999, r"fps is 9{60}…: expected a number"),
        ("camera: {fourcc: MJPEG}", r"camera\.fourcc is MJPEG: expected four letters, such as MJPG or YUYV\."),
        ("runtime: {name: tpu}", r"No runtime 'tpu': expected one of auto, litert, tflite\."),
        ("schedule: [06:00-20:00, 5]", r"schedule\[1\] is 5: expected text\."),
        ("schedule: [06:00-20:00, 6-8]", r"The schedule has '6-8', which is no span of time"),
        ("schedule: 06:00-20:00", r"schedule is 06:00-20:00: expected a list, each item text\."),
        ("privacy: {mask: [[0, 0, 1]]}", r"privacy\.mask\[0\] is \[0, 0, 1\]: expected a list of 4 values\."),
        ("privacy: {mask: [[0, 0, 1, 0]]}", r"privacy\.mask\[0\] is \[0, 0, 1, 0\]: .* with left < right"),
        ("model: {bare: {std: [0]}}", r"model\.bare\.std\[0\] is 0: expected a number from 1e-09 to"),
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
