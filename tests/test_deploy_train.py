"""Training from class folders to files, through the command as a user runs it and with real weights."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.train import train as command
from deploy.pictures import datasets
from deploy.training import report as training_report
from deploy.training.settings import Settings, arguments, check
from edge import images, labels
from edge.errors import ConfigError
from edge.tensors import Preprocessor
from tests.conftest import KERAS_WITH_NUMPY_2, ROOT, Trained, cut_photos, full_disk

pytestmark = pytest.mark.filterwarnings(f"ignore:{KERAS_WITH_NUMPY_2}:DeprecationWarning")
FILES = {
    "confusion.png",
    "curves.png",
    "history.csv",
    "labels.txt",
    "metrics.json",
    "model.keras",
    "settings.json",
    "split.csv",
}
NAMES = ("Löwe, groß", "玫瑰 'x'")


def edge_deploy_train(*arguments: object) -> Result:
    options = ("--backbone", "efficientnet_lite0", "--weights", "random")
    return CliRunner().invoke(command, [str(argument) for argument in (*options, *arguments)])


def refused(*arguments: object) -> str:
    """The one sentence that a command ends with."""
    done = edge_deploy_train(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert last.endswith(".")
    assert "Traceback" not in done.stderr
    return last


@pytest.fixture(scope="module")
def two(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, whose names are hard, and a few things to find in their folders."""
    root = cut_photos(tmp_path_factory.mktemp("two"), photos, 16, NAMES)
    shutil.copyfile(root / NAMES[0] / "0.jpg", root / NAMES[0] / "again.jpg")
    (root / NAMES[1] / "broken.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_training_leaves_what_it_promises(trained: Trained) -> None:
    assert {path.name for path in trained.out.iterdir()} == FILES
    metrics = training_report.read(trained.out)
    dataset = datasets.read_split(trained.out / "split.csv", trained.data)
    assert labels.read(trained.out / "labels.txt") == dataset.classes == metrics.classes
    assert metrics.pictures["train"] == len(dataset.part("train"))
    assert metrics.test_accuracy > 0.6
    assert metrics.test_interval95[0] < metrics.test_accuracy <= metrics.test_interval95[1]
    assert set(metrics.seconds) == {"pictures", "features", "head", "finetune", "all"}
    assert f"test         {metrics.test_accuracy:.2%}" in trained.said
    history = training_report.read_history(trained.out)
    assert [epoch.phase for epoch in history].count("finetune") == 4
    with (trained.out / "history.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(history)


def test_fine_tuning_is_at_least_as_good_as_the_head_alone(trained: Trained) -> None:
    metrics = training_report.read(trained.out)
    assert metrics.validation_accuracy >= metrics.head_validation_accuracy > 0.5
    assert metrics.validation_accuracy == max(
        epoch.validation_accuracy for epoch in training_report.read_history(trained.out) if epoch.phase == "finetune"
    )


def test_fine_tuning_trains_the_kernels_of_the_last_blocks_and_nothing_else(trained: Trained) -> None:
    import keras

    from deploy.backbones import backbone, weights
    from deploy.backbones.networks import HEAD
    from deploy.conversion import keras_files
    from deploy.training import heads

    before, _ = weights.pretrained(backbone("efficientnet_lite0"), None)
    after, _ = keras_files.load(trained.out / "model.keras")
    last_blocks = {layer.name for layer in heads.tail(before, heads.cut_before(before, 2)).layers}
    layers = [layer for layer in before.layers if layer.weights and layer.name != HEAD]
    moved = {
        layer.name
        for layer in layers
        if not all(map(np.array_equal, layer.get_weights(), after.get_layer(layer.name).get_weights()))
    }
    kernels = {layer.name for layer in layers if not isinstance(layer, keras.layers.BatchNormalization)}
    assert moved == kernels & last_blocks
    assert moved
    losses = [epoch.train_loss for epoch in training_report.read_history(trained.out) if epoch.phase == "finetune"]
    assert losses[-1] < losses[1]  # 0 is the head


def test_the_file_answers_as_the_training_said(trained: Trained) -> None:
    """The model on disk, in Keras and from pixels, gets the test pictures right that the metrics say."""
    from deploy.conversion import keras_files

    model, card = keras_files.load(trained.out / "model.keras")
    pictures = datasets.read_split(trained.out / "split.csv", trained.data).part("test")
    tensor = np.empty((len(pictures), card.input.height_px, card.input.width_px, 3), np.float32)
    for place, picture in enumerate(pictures):
        Preprocessor(card.input).fill(images.read_rgb(picture.path), tensor[place])
    answers = np.asarray(model.predict_on_batch(tensor)).argmax(axis=1)
    metrics = training_report.read(trained.out)
    truth = [picture.class_id for picture in pictures]
    # features are kept in float16: a picture on the border between two classes may fall to the other side
    assert abs(int((answers == truth).sum()) - round(metrics.test_accuracy * len(truth))) <= 1
    assert card.labels == metrics.classes
    assert card.weights_sha256 == metrics.weights_sha256
    assert card.data == trained.data.name


def test_the_converted_model_is_at_least_as_good_as_the_head_alone(trained: Trained, tmp_path: Path) -> None:
    from deploy.commands.convert import convert
    from edge import Classifier

    options = [
        trained.out / "model.keras",
        "--calibrate",
        trained.data,
        "--out",
        tmp_path / "int8",
        "--calibration-images",
        16,
    ]
    done = CliRunner().invoke(convert, [str(option) for option in options])
    assert done.exit_code == 0, done.output
    pictures = datasets.read_split(trained.out / "split.csv", trained.data).part("validation")
    with Classifier.open(tmp_path / "int8") as classifier:
        right = [
            classifier.classify(images.read_rgb(picture.path)).predictions[0].class_id == picture.class_id
            for picture in pictures
        ]
    head_right = round(training_report.read(trained.out).head_validation_accuracy * len(pictures))
    assert sum(right) >= head_right


def test_a_finished_training_is_left_alone(trained: Trained) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.out.iterdir()}
    assert "holds a finished training: give another --out" in refused(trained.data, "--out", trained.out)
    assert {path: path.stat().st_mtime_ns for path in trained.out.iterdir()} == before


@pytest.mark.usefixtures("tensorflow")
def test_hard_labels_two_classes_and_all_options(two: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--hidden", 128, "--augment", "flip, crop,colour", "--views", 2, "--class-weights", "--epochs", 2]
    done = edge_deploy_train(two, "--out", out, "--cache", cache, *options, "--label-smoothing", 0.1, "--json")
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)
    assert metrics == json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["classes"] == sorted(NAMES) == (out / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert set(metrics["per_class"]) == set(NAMES)
    assert metrics["settings"]["augment"] == ["flip", "crop", "colour"]
    assert {path.name for path in out.iterdir()} == FILES
    assert done.stderr.splitlines() == [
        "reading the pictures …",
        "building efficientnet_lite0 …",
        "features of 33 pictures …",
        f"features of {metrics['pictures']['train']} pictures, view 2 of 2 …",
        "training the head …",
    ]


@pytest.mark.usefixtures("tensorflow")
def test_the_same_seed_gives_the_same_and_the_pictures_are_told_of(two: Path, cache: Path, tmp_path: Path) -> None:
    said, measured = [], []
    for name in ("one", "same"):
        done = edge_deploy_train(two, "--out", tmp_path / name, "--cache", cache, "--epochs", 2, "--seed", 3)
        assert done.exit_code == 0, done.output
        said.append(done.stdout.splitlines())
        history = training_report.read_history(tmp_path / name)
        measured.append([msgspec.structs.replace(epoch, seconds=0.0) for epoch in history])
    assert measured[0] == measured[1]
    kept = ("split.csv", "labels.txt", "curves.png", "confusion.png")
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "same" / name).read_bytes() for name in kept)
    assert kernels(tmp_path / "one") == kernels(tmp_path / "same")
    found = "  found        1 duplicates (0 of them near), 1 left out; split.csv tells which"
    assert said[0][3] == found
    (skipped,) = training_report.read(tmp_path / "one").data.skipped
    assert "broken.jpg is not a picture" in skipped


@pytest.mark.usefixtures("tensorflow")
def test_given_parts_and_given_splits(two: Path, cache: Path, tmp_path: Path) -> None:
    from deploy.pictures import copies

    split = datasets.split(two, 5)
    copies.copy_parts(split, tmp_path / "parts")
    folders = [text for part in datasets.PARTS for text in (f"--{part}", str(tmp_path / "parts" / part))]
    datasets.write_split(split, tmp_path / "split.csv")
    place = ("--cache", cache, "--epochs", 1)
    done = edge_deploy_train(*folders, "--out", tmp_path / "one", *place)
    assert done.exit_code == 0, done.output
    done = edge_deploy_train(two, "--split", tmp_path / "split.csv", "--out", tmp_path / "two", *place)
    assert done.exit_code == 0, done.output
    one, other = (training_report.read(tmp_path / name) for name in ("one", "two"))
    assert one.pictures == other.pictures == {part: len(split.part(part)) for part in datasets.PARTS}
    assert one.test_accuracy == other.test_accuracy


class At:
    """Tells nobody how far a training is, and presses Ctrl-C at one place of it."""

    def __init__(self, place: Optional[str] = None, count: int = 1) -> None:
        self.place, self.count, self.stage, self.steps = place, count, "", []

    def step(self, text: str) -> None:
        self.steps.append(text)
        self.stage = f"{text.partition(' ')[0]} {sum(step.startswith('features') for step in self.steps)}"

    @contextlib.contextmanager
    def pictures(self, count: Optional[int]) -> Iterator[Callable[[int], object]]:
        yield self._done

    @contextlib.contextmanager
    def epochs(self, epochs: int) -> Iterator[Callable[[Any], object]]:
        yield lambda epoch: self._done(1)

    def _done(self, done: int) -> None:
        if self.stage == self.place and done:
            self.count -= 1
            if self.count == 0:
                signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("tensorflow", "ctrl_c")
def test_an_interrupted_training_goes_on_to_the_very_same_end(two: Path, tmp_path: Path) -> None:
    from deploy.training.train import train

    asked = Settings(
        "efficientnet_lite0", (str(two),), "random", "finetune", blocks=1, epochs=3, finetune_epochs=3, batch=8
    )
    wanted = train(asked, tmp_path / "whole", tmp_path / "cache", At())
    out = tmp_path / "parts"
    for place, count, kept in (
        ("features 1", 5, None),
        ("training 1", 2, ("head", 2)),
        ("features 2", 5, ("head", 3)),
        ("training 2", 1, ("finetune", 1)),
    ):
        at = At(place, count)
        if kept is None:
            with pytest.raises(KeyboardInterrupt):
                train(asked, out, tmp_path / "other cache", at)
            assert not (out / "model.keras").exists()
        else:
            metrics = train(asked, out, tmp_path / "other cache", at)
            assert metrics.interrupted
            last = training_report.read_history(out)[-1]
            assert (last.phase, last.epoch) == kept
            assert (out / "model.keras").stat().st_size > 1e7
        assert at.count == 0
    with pytest.raises(ConfigError, match="holds a training with other settings"):
        train(msgspec.structs.replace(asked, epochs=4), out, None, At())
    got = train(asked, out, tmp_path / "other cache", At())
    varying = {"seconds": {}, "peak_memory_bytes": 0}
    assert msgspec.structs.replace(got, **varying) == msgspec.structs.replace(wanted, **varying)
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    histories = [training_report.read_history(folder) for folder in (tmp_path / "whole", out)]
    one, other = ([msgspec.structs.replace(epoch, seconds=0.0) for epoch in history] for history in histories)
    assert one == other
    assert kernels(tmp_path / "whole") == kernels(out)


def kernels(out: Path) -> list[bytes]:
    from deploy.conversion import keras_files

    return [variable.numpy().tobytes() for variable in keras_files.load(out / "model.keras")[0].weights]


@pytest.mark.usefixtures("tensorflow")
def test_ctrl_c_at_the_command(two: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--backbone", "efficientnet_lite0", "--weights", "random", "--out", out, "--cache", cache]
    options += ["--epochs", 100_000, "--patience", 100_000]
    # SIGINT may be ignored by whoever runs the tests, and is then by Python
    started = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from deploy.cli import main; main()"
    )
    line = [sys.executable, "-c", started, "train", two, *options]
    with subprocess.Popen(list(map(str, line)), stdout=-1, stderr=-1, text=True, cwd=ROOT) as running:
        deadline = time.monotonic() + 300
        while not list(out.glob(".training/head-*/state.npz")) and time.monotonic() < deadline:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        said, complained = running.communicate(timeout=300)
    assert running.returncode == 130, complained
    assert complained.splitlines()[-1] == "Interrupted: this is the best so far; run it again to go on."
    assert all(line.endswith(" …") for line in complained.splitlines()[:-1])  # TensorFlow is silent
    assert "  test         " in said
    assert {path.name for path in out.iterdir()} == {*FILES, ".training"}
    assert training_report.read(out).interrupted


@pytest.mark.usefixtures("tensorflow")
def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(two: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = (two, "--out", out, "--cache", cache, "--epochs", 1)
    filled = edge_deploy_train(two, "--out", tmp_path / "filled", "--cache", cache, "--epochs", 1)
    assert filled.exit_code == 0, filled.output
    with full_disk(1000):
        assert f"Cannot write {out / 'split.csv'}: " in refused(*options)
    with full_disk(1 << 20):
        assert "Cannot write the model" in refused(*options)
    assert {path.name for path in out.iterdir()} == {"settings.json", "split.csv", ".training"}
    done = edge_deploy_train(*options)
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.usefixtures("tensorflow")
def test_a_picture_that_went_is_named(two: Path, tmp_path: Path) -> None:
    from deploy.training.train import train

    root = Path(shutil.copytree(two, tmp_path / "data"))
    gone = root / NAMES[0] / "3.jpg"

    class Gone(At):
        def step(self, text: str) -> None:
            if text.startswith("features"):
                gone.unlink()

    asked = Settings("efficientnet_lite0", (str(root),), "random")
    with pytest.raises(Exception, match=r"Cannot read the picture .*3\.jpg: No such file or directory\."):
        train(asked, tmp_path / "out", tmp_path / "cache", Gone())
    assert "3.jpg" in refused(root, "--out", tmp_path / "out", "--cache", tmp_path / "cache")


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dropout", 1.5], "--dropout 1.5 was given: expected a share from 0 to below 1"),
        (["--dropout", "nan"], "--dropout nan was given"),
        (["--learning-rate", 0], "--learning-rate 0 was given: expected a number above 0"),
        (["--learning-rate", "nan"], "--learning-rate nan was given"),
        (["--finetune-learning-rate", "inf"], "--finetune-learning-rate inf was given"),
        (["--label-smoothing", -0.1], "--label-smoothing -0.1 was given"),
        (["--warmup-epochs", -1], "--warmup-epochs -1 was given"),
        (["--batch", 0], "--batch 0 was given: expected a number from 1 to"),
        (["--epochs", -1], "--epochs -1 was given"),
        (["--epochs", 10**30], "expected a number from 1 to 1000000"),
        (["--seed", 2**40], "--seed 1099511627776 was given"),
        (
            ["--mode", "finetune", "--blocks", 99],
            "99 blocks were asked for: efficientnet_lite0 can train its last 1 to",
        ),
        (["--shares", "80,20"], "--shares 80,20 was given: expected three percentages"),
        (["--shares", "80,20,10"], "expected three above 0 that add up to 1"),
        (["--shares", "nan,20,10"], "expected three above 0 that add up to 1"),
        (["--augment", "flip,spin"], "No augmentation 'spin': expected some of flip, crop, colour"),
        (["--augment", "flip", "--views", 1], "--views 1 was given: expected a number from 2"),
        (["--backbone", "vgg"], "No backbone 'vgg': expected one of mobilenet_v2"),
        (["--weights", "nowhere.h5"], "Cannot read the weights nowhere.h5"),
        (["--split", "nowhere.csv"], "Cannot read the split nowhere.csv"),
        (["--split", "s.csv", "--shares", "70,20,10"], "--shares was given for pictures that are divided already"),
        (["--train", "elsewhere"], "Expected one folder of classes as DATA, or all of --train"),
    ],
)
def test_options_that_make_no_sense(two: Path, tmp_path: Path, options: list[object], sentence: str) -> None:
    out = tmp_path / "out"
    assert sentence in refused(two, "--out", out, "--cache", tmp_path / "cache", *options)
    assert list(tmp_path.iterdir()) == []  # the right command can be given at once


def test_data_that_is_none(photos: dict[str, np.ndarray], tensorflow: None, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    one = cut_photos(tmp_path / "one", photos, 3, ("cat",))
    hollow = cut_photos(tmp_path / "hollow", photos, 3, ("cat", "dog"))
    (hollow / "owl").mkdir()
    few = cut_photos(tmp_path / "few", photos, 2, ("cat", "dog"))
    odd = cut_photos(tmp_path / os.fsdecode(b"\xff"), photos, 3, ("cat", "dog"))
    for data, sentence in (
        (empty, "is empty: expected a folder of pictures for each class"),
        (one, "holds one class only, 'cat'"),
        (hollow, "owl holds no pictures"),
        (few, "The class 'cat' in"),
        (tmp_path / "nowhere", "nowhere does not exist"),
        (odd, "has a name that is not UTF-8"),
    ):
        assert sentence in refused(data, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_the_sentence_says_what_to_install(two: Path, tmp_path: Path) -> None:
    assert "in the checkout `.venv/bin/pip install -e '.[convert]'`" in refused(two, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_places_that_are_taken(two: Path, tensorflow: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file", tmp_path / "file" / "below"):
        said = refused(two, "--out", out)
        assert "holds something other than a training" in said or "Cannot write" in said or "Not a directory" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for out in (two, two / "run", two / NAMES[0] / "a" / "run"):
        assert "lies inside the pictures in" in refused(two, "--out", out)
    assert sorted(path.name for path in two.iterdir()) == sorted(NAMES)


PARTS = st.integers(1, 97).flatmap(lambda one: st.tuples(st.just(one), st.integers(1, 98 - one)))


@given(
    st.builds(
        Settings,
        backbone=st.sampled_from(["mobilenet_v2", "efficientnet_lite0"]),
        data=st.sampled_from([("a, b",), ("x/train", "x/val", "x/test")]),
        weights=st.none() | st.just("random"),
        mode=st.sampled_from(["head", "finetune"]),
        blocks=st.integers(1, 9),
        hidden=st.none() | st.integers(1, 999),
        dropout=st.floats(0, 0.99),
        learning_rate=st.floats(1e-9, 10),
        augment=st.sampled_from([(), ("flip",), ("crop", "colour")]),
        class_weights=st.booleans(),
        seed=st.integers(0, 2**32 - 2),
        near_bits=st.none() | st.integers(-1, 128),
        shares=PARTS.map(lambda two: (two[0] / 100, two[1] / 100, (100 - sum(two)) / 100)),
    )
)
def test_settings_as_a_command_line_are_the_same_settings(settings: Settings) -> None:
    from deploy.commands import train as module

    with contextlib.suppress(ConfigError):
        check(settings)
    context = module.train.make_context("train", [*arguments(settings), "--out", "o"])
    options = {name: value for name, value in context.params.items() if name in Settings.__struct_fields__}
    parts = tuple(context.params[f"{name}_folder"] for name in ("train", "validation", "test"))
    again = Settings(
        **{
            **options,
            "data": module._folders(context.params["data"], parts),
            "shares": module._shares(context.params["shares"]),
            "augment": module.kinds(context.params["augment"]),
        }
    )
    assert again == settings
