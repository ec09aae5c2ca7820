"""The commands as a user runs them: real processes, real model, real pictures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.edgetpu import Standin

EDGE = [sys.executable, "-m", "edge"]


def edge(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*EDGE, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def assert_one_sentence(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_classify_prints_a_json_line_for_each_picture(photo_files: dict[str, Path], tmp_path: Path) -> None:
    result = edge("classify", "--json", *photo_files.values(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found = lines(result.stdout)
    assert [line["path"] for line in found] == [str(path) for path in photo_files.values()]
    best = [line["predictions"][0]["label"] for line in found]
    assert best[0] in ("tabby", "tiger cat", "Egyptian cat")
    assert best[1:] == ["espresso", "missile"] or best[1] in ("espresso", "cup")
    for line in found:
        assert set(line) == {"path", "predictions", "timings_ms", "backend"}
        assert line["backend"] == "cpu"
        assert set(line["timings_ms"]) == {"preprocess", "invoke", "postprocess"}
        scores = [prediction["score"] for prediction in line["predictions"]]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)


def test_classify_tells_what_auto_chose_and_what_answered(
    compiled_bundle: Path, photo_files: dict[str, Path], standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--model", compiled_bundle, photo_files["cat"])
    monkeypatch.setenv("EDGE_RUNTIME_LIBRARY", standin.library)
    result = edge("classify", *given)
    assert result.returncode == 0, result.stderr
    assert [line["backend"] for line in lines(result.stdout)] == ["edgetpu-standin"]
    assert result.stderr.startswith("auto chose an Edge TPU (usb ")
    standin.set(devices="")
    result = edge("classify", *given)
    assert [line["backend"] for line in lines(result.stdout)] == ["cpu"]
    assert result.stderr.startswith("auto chose the CPU")
    result = edge("classify", "--runtime", "edgetpu", *given)
    assert (result.returncode, result.stdout) == (1, "")
    assert "none is plugged in" in result.stderr


def test_classify_goes_on_after_a_bad_picture(photo_files: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    result = edge("classify", "--top", 1, bad, photo_files["coffee"])
    assert result.returncode == 1
    assert len(lines(result.stdout)) == 1
    assert "bad.jpg is not a picture" in result.stderr


def test_a_bare_model_with_its_labels(tiny: Any, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((20, 20, 3), (0, 0, 255), np.uint8))
    bare = ["--model", tiny["softmax_int8"], "--labels", tiny.labels, "--mean", "127.5", "--std", "127.5,127.5,127.5"]
    result = edge("classify", *bare, tmp_path / "red.png")
    assert result.returncode == 0, result.stderr
    assert lines(result.stdout)[0]["predictions"][0]["label"] == "red"


def test_flags_for_bare_files_are_refused_for_bundles(photo_files: dict[str, Path]) -> None:
    result = edge("classify", "--mean", "0", "--std", "255", photo_files["cat"])
    assert_one_sentence(result, "--mean is for a bare .tflite")


def test_errors_are_one_sentence(tiny: Any, photo_files: dict[str, Path], tmp_path: Path) -> None:
    picture = photo_files["cat"]
    page = tmp_path / "model.tflite"
    page.write_text("<html>404</html>")
    assert_one_sentence(edge("classify", "--model", "nope", picture), "No model 'nope'", "efficientnet_lite0_int8")
    assert_one_sentence(edge("classify", "--model", page, picture), "HTML page")
    assert_one_sentence(edge("classify", "--model", tiny["softmax_uint8"], picture), "--labels")
    assert_one_sentence(edge("classify", "--runtime", "tpu", picture), "No runtime 'tpu'", "litert")
    assert_one_sentence(edge("run", "--camera", tmp_path / "absent.mp4"), "absent.mp4")
    assert_one_sentence(edge("run", "--config", tmp_path / "absent.yaml"), "absent.yaml")
    assert_one_sentence(edge("evaluate", tmp_path / "absent"), "absent")


def test_numbers_that_are_none_are_usage_errors() -> None:
    for arguments in (
        ["run", "--fps", "nan"],
        ["run", "--fps", "1e-300"],
        ["run", "--seconds", "inf"],
        ["classify", "--mean", "nan", "--std", "1", "x.jpg"],
        ["classify", "--crop-fraction", "nan", "x.jpg"],
        ["classify", "--threads", "3000000000", "x.jpg"],
    ):
        assert edge(*arguments).returncode == 2, arguments


def test_names_of_files_need_not_be_utf8(photo_files: dict[str, Path], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(photo_files["coffee"], path)
    result = subprocess.run([*EDGE, "classify", "--json", path], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["path"].endswith("caf\ufffd.png")


def test_a_folder_may_be_called_scene(photo_files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "scene" / "espresso"
    folder.mkdir(parents=True)
    shutil.copy(photo_files["coffee"], folder)
    result = edge("evaluate", "--json", "scene", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["images"] == 1


@pytest.mark.parametrize(
    "arguments", [["classify"], ["nope"], ["run", "--frames", "0"], ["run", "--frames", "1", "--seconds", "1"]]
)
def test_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = edge(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_damaged_bundle_says_what_is_wrong(bundle_copy: Path, photo_files: dict[str, Path]) -> None:
    model = bundle_copy / "model.tflite"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    result = edge("classify", "--model", bundle_copy, photo_files["cat"])
    assert_one_sentence(result, "is not the model of its contract")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, np.ndarray]) -> Path:
    """A video of 40 frames that shows the coffee cup, then the cat."""
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 240))
    for name in ("coffee", "cat"):
        frame = cv2.resize(cv2.cvtColor(photos[name], cv2.COLOR_RGB2BGR), (320, 240))
        for _ in range(20):
            writer.write(frame)
    writer.release()
    return path


def test_run_takes_exactly_n_frames_of_a_file_in_order(clip: Path) -> None:
    result = edge("run", "--camera", clip, "--frames", 30, "--json")
    assert result.returncode == 0, result.stderr
    records = lines(result.stdout)
    assert [record["sequence"] for record in records] == list(range(30))
    assert all(record["dropped"] == 0 and record["backend"] == "cpu" for record in records)
    assert len({record["run"] for record in records}) == 1
    first, last = records[0]["predictions"][0]["label"], records[-1]["predictions"][0]["label"]
    assert first in ("espresso", "cup")
    assert "cat" in last or last == "tabby"
    for record in records:
        stages = record["timings_ms"]
        assert stages["age"] == pytest.approx(sum(value for name, value in stages.items() if name != "age"), abs=0.01)
    assert "30 frames" in result.stderr


def test_run_ends_with_the_file_and_sums_up(clip: Path) -> None:
    result = edge("run", "--camera", clip)
    assert result.returncode == 0, result.stderr
    assert "efficientnet_lite0_int8" in result.stdout
    assert "40 frames in" in result.stdout.splitlines()[-1]


def test_run_on_class_folders_counts_what_is_right(photo_files: dict[str, Path], tmp_path: Path) -> None:
    for name, label in (("coffee", "espresso"), ("cat", "goldfish")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "p.png").write_bytes(photo_files[name].read_bytes())
    (tmp_path / "goldfish" / "broken.png").write_text("no picture")
    result = edge("run", "--camera", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    assert [record["truth"] for record in lines(result.stdout)] == ["espresso", "goldfish"]
    assert "broken.png is not a picture" in result.stderr
    assert "truth known for 2, top-1 right in" in result.stderr


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Address of a server that accepts and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def ends_well(process: subprocess.Popen[bytes], number: signal.Signals) -> str:
    """Send a signal; what the process then says. The promise is one second; a busy machine gets a few more."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=6)
    assert process.returncode == 0, errors
    assert b" frame" in errors
    return errors.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_summary(number: signal.Signals) -> None:
    command = [*EDGE, "run", "--camera", "scene", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        errors = ends_well(process, number)
    assert "drawn scene" in errors


@pytest.mark.parametrize("camera", ["scene", "clip"])
def test_a_signal_ends_a_run_whose_output_nobody_reads(camera: str, clip: Path, tmp_path: Path) -> None:
    many = tmp_path / "config.yaml"
    many.write_text("model: {top: 900}")
    source = str(clip) if camera == "clip" else camera
    command = [*EDGE, "run", "--camera", source, "--loop", "--config", str(many), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        time.sleep(1.0)  # the pipe holds 64 KiB, a record with 900 predictions much more than half
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=6) == 0
        assert process.stderr is not None
        assert b" frame" in process.stderr.read()
        process.stdout.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_signal_ends_a_run_that_waits_for_a_silent_stream(scheme: str, silent_server: str) -> None:
    command = [*EDGE, "run", "--camera", f"{scheme}://{silent_server}/live"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(2.0)  # imports and the model; then it waits inside OpenCV
        ends_well(process, signal.SIGTERM)


def test_seconds_and_fps_are_kept(clip: Path) -> None:
    result = edge("run", "--camera", clip, "--loop", "--seconds", 1.5, "--fps", 4, "--json")
    assert result.returncode == 0, result.stderr
    assert 4 <= len(lines(result.stdout)) <= 7


def test_a_reader_that_leaves_is_no_error(clip: Path) -> None:
    command = [*EDGE, "run", "--camera", str(clip), "--loop", "--frames", "500", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(timeout=60)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_sentence(clip: Path) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*EDGE, "run", "--camera", str(clip), "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_models_lists_the_shipped_bundle_and_names_a_broken_one(bundle_copy: Path) -> None:
    found = json.loads(edge("models", "--json").stdout)
    shipped = next(row for row in found if row["name"] == "efficientnet_lite0_int8")
    assert shipped["problem"] is None
    assert shipped["input"] == "224x224 uint8"
    assert 0.5 < shipped["top1"] <= 1
    (bundle_copy / "labels.txt").write_text("cat\n")
    broken = edge("models", env={**os.environ, "EDGE_MODELS": str(bundle_copy.parent)})
    assert broken.returncode == 0
    assert "unusable" in broken.stdout


def test_bench_tells_what_ran_and_refuses_percentiles() -> None:
    result = edge("bench", "--seconds", 1, "--threads", 1, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["threads"] == 1
    assert found["samples"] >= 50
    assert found["invoke_ms"]["p50"] > 0
    if found["samples"] < 6636:
        assert found["invoke_ms"]["p999"] is None


def test_evaluate_by_folder_names(photo_files: dict[str, Path], tmp_path: Path) -> None:
    for name, label in (("coffee", "espresso"), ("cat", "Egyptian_cat")):
        (tmp_path / label).mkdir()
        (tmp_path / label / "p.png").write_bytes(photo_files[name].read_bytes())
    found = json.loads(edge("evaluate", "--json", tmp_path).stdout)
    assert found["images"] == 2
    assert found["top5"] == 1.0
    assert set(found["per_class"]) == {"espresso", "Egyptian cat"}
