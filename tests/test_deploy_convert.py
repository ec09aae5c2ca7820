"""Converting tiny Keras models for real; only where TensorFlow is installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from deploy.commands.convert import convert as command
from edge import Classifier
from edge.model import tflite_file
from edge.model.bundle import open_bundle
from edge.model.loading import BareOptions
from edge.tensors import pixel_table
from tests.conftest import ROOT

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed (extra: convert)", allow_module_level=True)

RECIPES = {"float32": 1e-4, "float16": 0.01, "dynamic_wi8": 0.06, "static_wi8_ai8": 0.06}  # of a score
NORMALIZATIONS = ("one", "channels", "pixels")
MAKE = """
import json, sys
from pathlib import Path
import msgspec, numpy as np
from deploy.heavy import require_tensorflow
require_tensorflow()
from deploy.conversion import convert, keras_files
from edge import images
from edge.tensors import Preprocessor
from tests.fixtures import make_keras
folder, pictures = Path(sys.argv[1]), Path(sys.argv[2])
make_keras.save_all(folder)
reports = {}
for name in make_keras.MEANS:
    for recipe in convert.quantize.RECIPES:
        calibrate = pictures if recipe == "static_wi8_ai8" else None
        for again in ("", "_again") if name == "one" else ("",):
            request = convert.Request(folder / f"{name}.keras", folder / f"{name}_{recipe}{again}", recipe, calibrate,
                                      name="the tiny one")
            report = convert.convert(request, lambda step: None, lambda warning: None)
            reports[f"{name}_{recipe}{again}"] = msgspec.to_builtins(report)
    model, card = keras_files.load(folder / f"{name}.keras")
    given = np.empty((1, 32, 32, 3), np.float32)
    for path in sorted(pictures.glob("*.png")):
        Preprocessor(card.input).fill(images.read_rgb(path), given)
        reports[f"{name} {path.stem}"] = np.asarray(model(given, training=False))[0].tolist()
(folder / "reports.json").write_text(json.dumps(reports))
"""


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(photo_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models as .keras and converted in all ways, and reports.json with what was told and Keras' own scores."""
    place = tmp_path_factory.mktemp("converted")
    done = run("-W", "error::UserWarning:keras", "-c", MAKE, place, next(iter(photo_files.values())).parent)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def reports(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "reports.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_device_gives_keras_scores(
    folder: Path, reports: dict[str, Any], photos: dict[str, np.ndarray], normalization: str, recipe: str
) -> None:
    with Classifier.open(str(folder / f"{normalization}_{recipe}"), threads=1) as classifier:
        for name, photo in photos.items():
            told = {each.class_id: each.score for each in classifier.classify(photo).predictions}
            expected = dict(enumerate(reports[f"{normalization} {name}"]))
            assert told == pytest.approx(expected, abs=RECIPES[recipe])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_bare_file_answers_as_the_bundle(
    folder: Path, photos: dict[str, np.ndarray], normalization: str, recipe: str
) -> None:
    bundle = folder / f"{normalization}_{recipe}"
    options = BareOptions(crop_fraction=0.875)
    with (
        Classifier.open(str(bundle), threads=1) as one,
        Classifier.open(str(bundle / "model.tflite"), threads=1, options=options) as other,
    ):
        for photo in photos.values():
            assert one.classify(photo).predictions == other.classify(photo).predictions


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_pixel_is_its_own_tensor_value(folder: Path, normalization: str) -> None:
    bundle = open_bundle(folder / f"{normalization}_static_wi8_ai8")
    assert bundle.input is not None
    assert (bundle.input.dtype, pixel_table(bundle.input)) == ("uint8", None)


@pytest.mark.parametrize("recipe", RECIPES)
def test_converting_twice_gives_the_same_bytes(reports: dict[str, Any], recipe: str) -> None:
    assert reports[f"one_{recipe}"]["sha256"] == reports[f"one_{recipe}_again"]["sha256"]


def test_smaller_recipes_are_smaller(reports: dict[str, Any]) -> None:
    sizes = [reports[f"one_{recipe}"]["bytes"] for recipe in ("float32", "float16")]
    assert sizes == sorted(sizes, reverse=True)


def test_the_file_says_what_it_is(folder: Path) -> None:
    for normalization, expected in (
        ("one", 127.5),
        ("channels", 0.0),
        ("pixels", 0.0),
    ):  # those by channel: in the graph
        path = folder / f"{normalization}_float32" / "model.tflite"
        assert tflite_file.read(path).mean == (expected,)
        assert tflite_file.packed_labels(path) == "red, rot\ngrün\nblue sky\n"
        assert b"the tiny one" in path.read_bytes()


def test_the_contract_tells_where_it_came_from(folder: Path) -> None:
    contract = open_bundle(folder / "one_static_wi8_ai8").contract
    assert contract is not None
    assert (contract.name, contract.accuracy) == ("the tiny one", None)
    assert contract.provenance.weights == "random initialization, not trained"
    assert contract.provenance.calibration is not None
    assert contract.provenance.calibration.startswith("3 of 3 pictures of ")
    assert contract.provenance.versions["tensorflow"]


def test_few_pictures_are_warned_of(reports: dict[str, Any]) -> None:
    (warning,) = reports["one_static_wi8_ai8"]["warnings"]
    assert warning.startswith("3 pictures calibrate: ")
    assert reports["one_float16"]["warnings"] == []


@pytest.fixture
def classes(photo_files: dict[str, Path], tmp_path: Path) -> Path:
    """Two classes of five pictures."""
    for number, path in enumerate(photo_files[name] for name in ("cat", "coffee")):
        picture = cv2.imread(str(path))
        (tmp_path / "data" / "ab"[number]).mkdir(parents=True)
        for turn in range(5):
            cv2.imwrite(str(tmp_path / "data" / "ab"[number] / f"{turn}.png"), picture[turn * 40 :, turn * 30 :])
    return tmp_path / "data"


@pytest.mark.usefixtures("tensorflow")
def test_the_split_beside_the_model_is_kept(folder: Path, classes: Path, tmp_path: Path) -> None:
    from deploy.pictures import datasets

    shutil.copy(folder / "one.keras", tmp_path / "model.keras")
    dataset = datasets.split(classes, near_bits=-1)
    datasets.write_split(dataset, tmp_path / "split.csv")
    arguments = [tmp_path / "model.keras", "--calibrate", classes, "--out", tmp_path / "x"]
    done = convert(*arguments, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    count = len(dataset.part("train"))
    assert told["calibration"] == f"{count} of {count} training pictures by split.csv of data, evenly spaced by path"

    for path in classes.rglob("*.png"):
        path.rename(path.with_name(f"other{path.name}"))
    done = convert(*arguments, "--calibration-images", 1)
    assert done.exit_code == 0, done.output
    assert "Warning: All of " in done.stderr
    assert "Warning: One picture calibrates: " in done.stderr
    assert "1 of 10 pictures of data" in done.stdout


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_nothing(folder: Path, full_disk: Path) -> None:
    program = "from deploy.commands.convert import convert; convert()"
    done = run("-c", program, folder / "one.keras", "--recipe", "float32", "--out", full_disk / "mine")
    assert done.returncode == 1
    *steps, error = done.stderr.splitlines()
    assert all(step.endswith(" …") for step in steps)  # TensorFlow is silent
    assert error == f"Error: Cannot write the bundle {full_disk / 'mine'}: No space left on device."
    assert list(full_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.keras"], "Cannot read the model {folder}/missing.keras: No such file or directory."),
        (["reports.json"], "{folder}/reports.json is not a .keras file: expected one that Keras 3 saved."),
        (["one.keras", "--recipe", "static_wi8_ai8"], "needs pictures to calibrate on: give --calibrate FOLDER."),
        (
            ["one.keras", "--recipe", "static_wi8_ai8", "--calibrate", "missing"],
            "missing does not exist: expected a folder",
        ),
        (["one.keras", "--recipe", "static_wi8_ai8", "--calibrate", "tests/fixtures"], "holds no pictures"),
        (["one.keras", "--out", "tests"], "tests holds something other than a model bundle"),
        (["no_card.keras"], "does not say how its pictures are prepared or its labels: give --backbone NAME and"),
        (
            ["no_card.keras", "--backbone", "alexnet", "--labels", "{folder}/two.txt"],
            "No backbone 'alexnet': expected one of",
        ),
        (
            ["no_card.keras", "--backbone", "mobilenet_v2", "--labels", "{folder}/two.txt"],
            "is not a mobilenet_v2: 0 of the 52 ",
        ),
        (["one.keras", "--backbone", "mobilenet_v2"], "is a tiny, and --backbone says mobilenet_v2"),
        (["one.keras", "--labels", "{folder}/two.txt"], "two.txt has 2 names and the model 3 outputs"),
        (["one.keras", "--labels", "{folder}/missing.txt"], "Cannot read the labels {folder}/missing.txt: No such"),
        (["code.keras"], "has a Lambda layer, which is code that would run here"),
        (["segmenter.keras"], "segmenter.keras is no classifier of RGB pictures"),
    ],
)
@pytest.mark.usefixtures("tensorflow")
def test_mistakes_are_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(ROOT)
    (folder / "two.txt").write_text("a\nb\n")
    shutil.copy(folder / "one.keras", tmp_path)
    name, *options = (argument.format(folder=folder) for argument in arguments)
    if name in ("code.keras", "segmenter.keras"):
        options += ["--backbone", "mobilenet_v2", "--labels", str(folder / "two.txt")]
    chosen = [] if "--recipe" in options else ["--recipe", "float32"]
    out = [] if "--out" in options else ["--out", str(tmp_path / "out")]
    done = convert(folder / name, *chosen, *out, *options)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if not line.endswith(" …")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert sentence.format(folder=folder) in errors[0]
    assert not (tmp_path / "out").exists()
