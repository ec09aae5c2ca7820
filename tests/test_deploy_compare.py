"""The comparison of backbones as a user runs it."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from edge import Classifier
from edge.model.bundle import open_bundle
from tests.conftest import ROOT, cut_photos

LITE, UNTRAINED = "efficientnet_lite0", "mobilenet_v2"
PICTURES = {"accuracy_latency.png", "sizes.png", "latency.png", "curves.png"}
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed (extra: convert)"
)


def edge_deploy_compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.quick_deploy", "compare", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def refused(*arguments: object) -> str:
    """The one sentence on stderr that is not a step of the work."""
    done = edge_deploy_compare(*arguments)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    *steps, last = done.stderr.splitlines()
    assert all(step.endswith(" …") for step in steps), steps
    assert last.startswith("Error: ")
    return last


class Compared(NamedTuple):
    """A finished comparison and how to ask for it again."""

    data: Path
    cache: Path
    out: Path
    arguments: list[object]
    told: str


@pytest.fixture(scope="module")
def compared(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """One trained model and one with random weights."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed (extra: convert)")
    folder = tmp_path_factory.mktemp("compared")
    data, cache, out = cut_photos(folder / "pictures", photos, 25), folder / "cache", folder / "out"
    arguments = [data, "--backbones", f"{LITE},{UNTRAINED}:random", "--cache", cache, "--out", out]
    arguments += ["--epochs", 4, "--learning-rate", 3e-3, "--calibration-images", 2]
    done = edge_deploy_compare(*arguments)
    assert done.returncode == 0, done.stderr
    return Compared(data, cache, out, arguments, done.stdout)


def test_it_leaves_tables_and_pictures(compared: Compared) -> None:
    assert {path.name for path in compared.out.iterdir() if path.is_file()} == {
        *("table.md", "table.csv", "comparison.json"),
        *PICTURES,
    }
    assert (compared.out / "table.md").read_text() == compared.told.rstrip("\n") + "\n"
    assert "no weights here" in compared.told
    with (compared.out / "table.csv").open() as file:
        lite, untrained = csv.DictReader(file)
    assert (lite["model"], untrained["model"]) == (LITE, f"{UNTRAINED}:random")
    assert all(lite.values())
    unknown = {name for name, value in untrained.items() if not value}
    assert unknown == {
        *("keras_top1", "float32_top1", "int8_top1", "test_images", "seeds"),
        *("training_seconds", "features_seconds", "peak_memory_bytes"),
    }


def test_the_numbers_are_those_of_the_files(compared: Compared) -> None:
    document = json.loads((compared.out / "comparison.json").read_text())
    for line in document["lines"]:
        folder = compared.out / line["name"].replace(":", "-") / "seed0"
        paths = {"keras": folder / "training" / "model.keras"}
        paths |= {form: folder / form / "model.tflite" for form in ("float32", "int8")}
        assert line["bytes"] == {form: path.stat().st_size for form, path in paths.items()}
        assert line["bytes"]["int8"] < line["bytes"]["float32"] / 3
        for times in line["latency_ms"].values():
            assert 0 < times["min"] <= times["p50"] <= times["p90"] <= times["max"]
    lite, untrained = document["lines"]
    metrics = json.loads((compared.out / LITE / "seed0" / "training" / "metrics.json").read_text())
    (trial,) = lite["trials"]
    assert trial["images"] == metrics["pictures"]["test"]
    assert trial["top1"]["keras"] == pytest.approx(metrics["test_accuracy"], abs=1.5 / trial["images"])
    contract = open_bundle(compared.out / LITE / "seed0" / "int8").contract
    assert contract is not None
    assert contract.accuracy is not None
    assert contract.accuracy.top1 == pytest.approx(trial["top1"]["int8"])
    # published: 3.50 M parameters with 1000 classes, 300 M multiply-adds. Source: Sandler et al., "MobileNetV2", 2018
    assert untrained["parameters"] == pytest.approx(2.2e6, rel=0.02)
    assert untrained["macs"] == pytest.approx(300e6, rel=0.01)


def test_its_bundles_run_on_the_device(compared: Compared, photos: dict[str, np.ndarray]) -> None:
    for folder in compared.out.glob("*/seed0/*/model.yaml"):
        with Classifier.open(str(folder.parent)) as classifier:
            assert classifier.classify(photos["cat"]).predictions


def kept(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.glob("*/seed0/**/*") if path.is_file()}


def test_nothing_finished_is_done_again(compared: Compared) -> None:
    before = kept(compared.out)
    done = edge_deploy_compare(*compared.arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert kept(compared.out) == before
    assert json.loads(done.stdout) == json.loads((compared.out / "comparison.json").read_text())
    assert "training" not in done.stderr
    assert "converting" not in done.stderr


def test_what_is_missing_is_done(compared: Compared) -> None:
    folder = compared.out / f"{UNTRAINED}-random" / "seed0"
    before = kept(compared.out)
    shutil.rmtree(folder / "float32")
    done = edge_deploy_compare(*compared.arguments)
    assert done.returncode == 0, done.stderr
    after = kept(compared.out)
    assert {path for path in before if after[path] != before[path]} == set((folder / "float32").iterdir())


def test_other_settings_are_refused(compared: Compared) -> None:
    said = refused(*compared.arguments, "--dropout", 0.5)
    assert "was made with other settings" in said
    assert str(compared.out / LITE / "seed0" / "asked.json") in said


@pytest.mark.parametrize("step", ["reading the pictures", "building", "training the head"])
def test_ctrl_c_is_one_sentence_and_the_next_run_goes_on(step: str, compared: Compared, tmp_path: Path) -> None:
    options = ["--backbones", LITE, "--cache", compared.cache, "--epochs", 3000, "--patience", 3000]
    arguments = ["compare", compared.data, *options, "--out", tmp_path / "out"]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        seen = [next(line for line in process.stderr if step in line)]
        os.killpg(process.pid, signal.SIGINT)
        seen += process.stderr.readlines()
    assert process.returncode == 130
    assert seen[-1] == "Interrupted: what is finished is kept, run it again to go on.\n"
    assert all(line.endswith(" …\n") for line in seen[:-1]), seen


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from deploy.cli import cli
cli(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--backbones", "resnet9000"], "No backbone 'resnet9000': expected one of "),
        (["--backbones", f"{LITE}:best"], f"{LITE}:best asks for 'best': expected a backbone's name alone, or with "),
        (["--backbones", f"{LITE},{LITE}"], f"{LITE} was given twice"),
        (["--backbones", LITE, "--weights", LITE], f"--weights {LITE} was given: expected NAME=FILE."),
        (["--backbones", LITE, "--weights", f"{UNTRAINED}=x.h5"], f"--backbones trains no {UNTRAINED}."),
        (["--backbones", LITE, "--weights", f"{LITE}=no/such.pth"], f"or compare {LITE}:random."),
        (["--backbones", LITE, "--dropout", "2"], "--dropout 2 was given: expected a share"),
    ],
)
def test_mistakes_are_told_before_any_work(options: Sequence[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    said = refused(tmp_path / "pictures", *options, "--out", tmp_path / "out")
    assert sentence in said
    assert not (tmp_path / "out").exists()


def test_the_folder_of_pictures_must_be_there(tmp_path: Path) -> None:
    assert "no/pictures" in refused("no/pictures", "--backbones", LITE, "--out", tmp_path / "out")


@needs_tensorflow
def test_a_step_that_fails_is_told_once_with_its_model(photos: dict[str, np.ndarray], tmp_path: Path) -> None:
    pictures = cut_photos(tmp_path / "pictures", photos, 3)
    said = refused(pictures, "--backbones", "efficientnet_lite3", "--out", tmp_path / "out")
    assert said.startswith("Error: efficientnet_lite3: No weights of efficientnet_lite3 are published")
