"""Measuring what quantization cost, on the runtime and pictures that a device would have."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.verify import verify as command
from deploy.conversion import bundles, golden, keras_files, quantize
from deploy.conversion.keras_files import Card
from deploy.pictures import copies, datasets
from deploy.pictures.truth import class_indices
from deploy.verification import verify
from deploy.verification.paired import paired_difference
from deploy.verification.verify import Answer, Seen, Side
from edge import Classifier
from edge.cameras import CameraSettings
from edge.cameras.directory import Directory
from edge.errors import ConfigError
from edge.images import read_rgb
from edge.measuring import class_folders, evaluate
from edge.model.bundle import Contract, Provenance, open_bundle, read_contract
from edge.model.loading import BareOptions
from edge.runtimes import open_runtime
from edge.tensors import InputSpec, OutputSpec
from tests.conftest import KERAS_WITH_NUMPY_2, MODEL, ROOT

LABELS = ("red, or rouge", "grün", "blue sky")
SWAPPED = ("grün", "red, or rouge", "blue sky")
SIDE_PX = 16


def draw_pictures(root: Path, labels: tuple[str, ...], count: int, seed: int = 0) -> None:
    """Pictures whose colours are so close to grey that quantization changes some answers, and a few are wrong."""
    rng = np.random.default_rng(seed)
    for index, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(96, 160, (24, 20, 3))
            picture[..., index % 3] += rng.integers(-1, 4)
            cv2.imwrite(str(root / label / f"{number:03}.png"), picture[..., ::-1].astype(np.uint8))


def write_bundle(folder: Path, model: Path, labels: tuple[str, ...], name: str = "tiny") -> Path:
    runtime = open_runtime("auto", model)
    given, told = runtime.input_details[0], runtime.output_details[0]
    runtime.close()
    side = Side(
        model,
        InputSpec(
            *given.shape[1:3], given.dtype, mean=(127.5,), std=(127.5,), scale=given.scale, zero_point=given.zero_point
        ),
        OutputSpec(max(told.shape), told.dtype, "softmax", told.scale, told.zero_point),
    )
    text = "\n".join(labels) + "\n"
    contract = Contract(
        name=name,
        file="model.tflite",
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        input=side.input,
        output=side.output,
        labels="labels.txt",
        labels_sha256=hashlib.sha256(text.encode()).hexdigest(),
        golden=golden.choose_golden(side, 50).golden,
        provenance=Provenance("drawn", "none", "tests"),
    )
    bundles.write(folder, contract, model.read_bytes(), text)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("colours")
    draw_pictures(root, LABELS, 40)
    return root


@pytest.fixture
def bundle(tiny, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny", tiny["softmax_uint8"], LABELS)


@pytest.fixture
def reference(tiny, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny["softmax_float32"], tmp_path / "float.tflite"))


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


def invoke(bundle: object, reference: object, data: object, *options: object) -> Done:
    given = [str(bundle), "--against", str(reference), "--data", str(data), *map(str, options)]
    exit_code, out, err = 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command.main(given, standalone_mode=False)
        except SystemExit as exit_:
            exit_code = exit_.code
    return Done(exit_code, out.getvalue(), err.getvalue())


def document(bundle: object, reference: object, data: object, *options: object) -> dict:
    done = invoke(bundle, reference, data, "--json", "--max-drop", 100, *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def on_the_device(bundle: Path, folder: Path) -> evaluate.Result:
    with Classifier.open(str(bundle), top=5) as classifier:
        truth = class_folders.truth_of(folder, classifier.bundle.labels)
        return evaluate.evaluate(classifier, Directory(CameraSettings(source=str(folder))), truth)


def first_labels(bundle: Path, paths: list[Path]) -> list[str]:
    with Classifier.open(str(bundle), top=1) as classifier:
        return [classifier.classify(read_rgb(path)).predictions[0].label for path in paths]


def test_it_tells_what_the_device_will_see_to_the_picture(bundle, reference, pictures, tiny, tmp_path) -> None:
    told = document(bundle, reference, pictures)
    seen = on_the_device(bundle, pictures)
    twin = write_bundle(tmp_path / "twin", tiny["softmax_float32"], LABELS)
    assert told["comparison"]["images"] == seen.images == 120
    assert round(told["comparison"]["top1"], 6) == seen.top1
    assert round(told["comparison"]["float_top1"], 6) == on_the_device(twin, pictures).top1
    assert {each["label"]: round(each["top1"], 6) for each in told["per_class"]} == {
        name: each.top1 for name, each in seen.per_class.items()
    }
    paths = sorted(pictures.rglob("*.png"))
    before, after = first_labels(twin, paths), first_labels(bundle, paths)
    changed = {str(path): (a, b) for path, a, b in zip(paths, before, after) if a != b}
    assert changed
    assert {each["path"]: (each["float_label"], each["label"]) for each in told["changed"]} == changed
    assert all(each["truth"] == Path(each["path"]).parent.name for each in told["changed"])
    assert told["comparison"]["agreement"] == pytest.approx(1 - len(changed) / 120)
    lost = sum(each["drop_points"] * each["images"] for each in told["per_class"])
    assert lost == pytest.approx(told["drop_points"] * 120)


def test_the_bundle_then_says_its_accuracy_unless_told_not_to(bundle, reference, pictures) -> None:
    before = read_contract(bundle)
    told = document(bundle, reference, pictures, "--no-write")
    assert read_contract(bundle) == before
    assert before.accuracy is None
    (bundle / "notes.txt").write_text("mine")
    document(bundle, reference, pictures)
    after, seen = open_bundle(bundle).contract, on_the_device(bundle, pictures)
    written = after.accuracy
    assert msgspec.structs.replace(after, accuracy=None) == before
    assert (bundle / "notes.txt").exists()
    assert (written.top1, written.top5, written.images) == (seen.top1, seen.top5, seen.images)
    assert written.top1_interval95 == seen.top1_interval95
    assert written.float_top1 == pytest.approx(told["comparison"]["float_top1"], abs=1e-6)
    assert "training pictures may be among them" in written.data


def test_a_split_beside_the_float_model_gives_its_test_part(bundle, reference, pictures, tmp_path) -> None:
    dataset = datasets.split(pictures, seed=3)
    datasets.write_split(dataset, reference.parent / "split.csv")
    told = document(bundle, reference, pictures)
    part = dataset.part("test")
    assert 0 < len(part) < len(dataset.pictures) / 2
    assert told["comparison"]["images"] == len(part)
    assert told["warning"] is None
    assert read_contract(bundle).accuracy.data == f"the test part of {pictures.name} by split.csv"
    copies.copy_parts(dataset, tmp_path / "for the device")
    assert round(told["comparison"]["top1"], 6) == on_the_device(bundle, tmp_path / "for the device" / "test").top1
    train = document(bundle, reference, pictures, "--part", "train")
    assert train["comparison"]["images"] == len(dataset.part("train"))
    assert "learnt" in train["warning"]


def test_a_split_of_other_pictures_is_not_used_unless_it_was_asked_for(bundle, reference, pictures, tmp_path) -> None:
    draw_pictures(tmp_path / "others", LABELS, 12, seed=1)
    other = reference.parent / "split.csv"
    datasets.write_split(datasets.split(tmp_path / "others"), other)
    told = document(bundle, reference, pictures)
    assert told["comparison"]["images"] == 120
    assert told["warning"].startswith("training pictures may be among them: ")
    done = invoke(bundle, reference, pictures, "--split", other)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert done.stdout == ""


def test_pictures_that_cannot_be_read_are_left_out_and_named(bundle, reference, tmp_path) -> None:
    draw_pictures(tmp_path / "data", LABELS, 5)
    broken = tmp_path / "data" / LABELS[1] / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no more")
    told = document(bundle, reference, tmp_path / "data")
    assert told["comparison"]["images"] == 15
    assert len(told["skipped"]) == 1
    assert str(broken) in told["skipped"][0]
    done = invoke(bundle, reference, tmp_path / "data", "--max-drop", 100)
    assert "15 pictures, 1 more could not be read" in done.stdout
    assert str(broken) in done.stdout
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_bytes(b"")
    done = invoke(bundle, reference, tmp_path / "data")
    assert done.exit_code == 1
    assert "Not one of the 16 pictures" in done.stderr


def test_past_the_bar_it_fails_and_still_reports(bundle, reference, pictures) -> None:
    told = document(bundle, reference, pictures)
    bar = told["drop_points"] - 0.5
    done = invoke(bundle, reference, pictures, "--max-drop", bar)
    assert done.exit_code == 1
    assert "Layers with the least signal to noise" in done.stdout
    assert f"drop         {told['drop_points']:.2f} points" in done.stdout
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"Error: tiny loses {told['drop_points']:.2f} points")
    assert "--max-drop" in sentence
    assert read_contract(bundle).accuracy is not None
    assert invoke(bundle, reference, pictures, "--max-drop", told["drop_points"]).exit_code == 0


def test_as_many_pictures_are_shown_as_wished(bundle, reference, pictures) -> None:
    changed = document(bundle, reference, pictures)["changed"]
    for most in (0, 1, len(changed)):
        shown = invoke(bundle, reference, pictures, "--max-drop", 100, "--pictures", most).stdout
        assert sum(each["path"] in shown for each in changed) == most


def test_a_float_bundle_is_a_reference_too(bundle, reference, pictures, tiny, tmp_path) -> None:
    twin = write_bundle(tmp_path / "twin", tiny["softmax_float32"], LABELS)
    assert document(bundle, twin, pictures)["comparison"] == document(bundle, reference, pictures)["comparison"]


def test_mistakes_are_one_sentence(bundle, reference, pictures, tiny, tmp_path) -> None:
    draw_pictures(tmp_path / "other labels", ("cat", "dog"), 1)
    draw_pictures(tmp_path / "flat" / "x", ("a",), 1)
    swapped = write_bundle(tmp_path / "swapped", tiny["softmax_float32"], SWAPPED)
    (tmp_path / "text.tflite").write_text("hello")
    (tmp_path / "no.keras").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "two.csv").write_text("a,b\n")
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    (broken / "labels.txt").write_text("red\n")
    mistakes = [
        (("nothing", reference, pictures), "No model 'nothing'"),
        ((tiny["softmax_uint8"], reference, pictures), "is not a bundle: expected the folder"),
        ((tmp_path / "empty", reference, pictures), "is not a model bundle: it has no model.yaml"),
        ((broken, reference, pictures), "is not the label file of its contract"),
        ((bundle, "nothing.tflite", pictures), "Cannot read the model nothing.tflite"),
        ((bundle, "nothing.keras", pictures), "Cannot read the model nothing.keras"),
        ((bundle, ROOT / "setup.cfg", pictures), "expected a .keras file, a .tflite file or a bundle's folder"),
        ((bundle, tmp_path / "text.tflite", pictures), "is not a TensorFlow Lite model"),
        ((bundle, tmp_path / "no.keras", pictures), "is not a .keras file"),
        ((bundle, tmp_path / "empty", pictures), "is not a model bundle"),
        ((bundle, tiny["softmax_uint8"], pictures), "is quantized itself"),
        ((bundle, tiny["grey"], pictures), "takes inputs of shape [[1, 16, 16, 1]], tiny [[1, 16, 16, 3]]"),
        ((bundle, tiny["two_outputs"], pictures), "has outputs of [3, 3], tiny [3]"),
        ((bundle, swapped, pictures), "calls class 0 'grün', tiny 'red, or rouge'"),
        ((bundle, ROOT / "models" / MODEL, pictures), "takes pictures of 224 x 224 px, tiny 16 x 16 px"),
        ((bundle, reference, "nowhere"), "nowhere does not exist"),
        ((bundle, reference, tmp_path / "empty"), "holds no pictures"),
        ((bundle, reference, tmp_path / "other labels"), "The model has no label for the class folders cat, dog"),
        ((bundle, reference, tmp_path / "flat" / "x" / "a"), "expected each in a folder named after its class"),
        ((bundle, reference, pictures, "--split", tmp_path / "two.csv"), "is not a split"),
        ((bundle, reference, pictures, "--part", "validation"), "Cannot read the split"),
        ((bundle, reference, pictures, "--split", "nowhere.csv"), "Cannot read the split nowhere.csv"),
    ]
    for arguments, sentence in mistakes:
        done = invoke(*arguments)
        assert done.exit_code == 1, sentence
        assert done.stdout == ""
        last = done.stderr.splitlines()[-1]
        assert last.startswith("Error: ")
        assert sentence in last


def test_folders_are_labels_or_else_numbers() -> None:
    labels = ("background", "tench, Tinca tinca", "Crane", "crane", "7")
    assert class_indices(["tench, Tinca tinca", "7", "crane", "Crane"], labels, 1) == {
        "tench, Tinca tinca": 1,
        "7": 4,
        "crane": 3,
        "Crane": 2,
    }
    assert class_indices(["Tinca_tinca"], labels, 1) == {"Tinca_tinca": 1}
    assert class_indices(["000_x", "003_7"], labels, 1) == {"000_x": 1, "003_7": 4}
    assert class_indices(["000_x", "003_7"], labels, 0) == {"000_x": 0, "003_7": 3}
    for folders in (["CRANE"], ["004_x"], ["tench, Tinca tinca", "001_x"]):
        with pytest.raises(ConfigError, match="has no label for the class folders"):
            class_indices(folders, labels, 1)


answers = st.lists(st.integers(0, 6), min_size=5, max_size=5, unique=True).map(lambda ids: Answer(tuple(ids), 0.5))
seen = st.builds(Seen, st.just(Path("p")), st.none() | st.integers(0, 6), answers, answers)


@given(st.lists(seen, min_size=1, max_size=60))
def test_the_summary_is_the_counts(pictures: list[Seen]) -> None:
    told = verify.summary(pictures)
    labelled = [each for each in pictures if each.truth is not None]
    assert told.agreement == sum(each.reference.class_ids[0] == each.quantized.class_ids[0] for each in pictures) / len(
        pictures
    )
    assert (told.images, told.labelled) == (len(pictures), len(labelled))
    if not labelled:
        assert {told.float_top1, told.float_top5, told.top1, told.top5, told.drop_points} == {None}
        assert told.drop_interval95_points is None
        return
    before = [each.reference.class_ids[0] == each.truth for each in labelled]
    after = [each.quantized.class_ids[0] == each.truth for each in labelled]
    assert told.float_top1 * len(labelled) == pytest.approx(sum(before))
    assert told.top1 * len(labelled) == pytest.approx(sum(after))
    assert told.top1 <= told.top5 == sum(each.truth in each.quantized.class_ids for each in labelled) / len(labelled)
    low, high = told.drop_interval95_points
    assert low <= told.drop_points <= high
    pairs = list(zip(before, after))
    table = [pairs.count(fate) for fate in ((True, True), (True, False), (False, True), (False, False))]
    assert (low / 100, high / 100) == pytest.approx(paired_difference(*table))


def test_the_shipped_model_against_itself_loses_nothing(data: Path, tmp_path: Path) -> None:
    for folder in sorted((data / "imagenet_sample").iterdir())[::100]:
        if folder.is_dir():
            shutil.copytree(folder, tmp_path / "data" / folder.name)
    shipped = open_bundle(ROOT / "models" / MODEL)
    side = Side(shipped.path, shipped.input, shipped.output)
    told = verify.compare(side, side, datasets.find_pictures(tmp_path / "data"))
    assert (told.agreement, told.drop_points) == (1.0, 0.0)
    assert told.top1 > 0.5
    low, high = told.drop_interval95_points
    assert low < 0 < high


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.filterwarnings(f"ignore:{KERAS_WITH_NUMPY_2}:DeprecationWarning")
def test_a_keras_file_is_a_reference(pictures: Path, tmp_path: Path) -> None:
    import keras

    spec = InputSpec(SIDE_PX, SIDE_PX, "float32", mean=(127.5,), std=(127.5,))
    image = keras.Input((SIDE_PX, SIDE_PX, 3), name="image")
    tensor = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="_first")(image)
    tensor = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(name="norm")(tensor))
    tensor = keras.layers.GlobalAveragePooling2D(name="pool")(tensor)
    model = keras.Model(image, keras.layers.Dense(3, "softmax", name="scores")(tensor))
    keras_files.save(tmp_path / "model.keras", model, Card("mobilenet_v2", spec, LABELS, "random", "none"))
    model.save(tmp_path / "bare.keras")
    (tmp_path / "float.tflite").write_bytes(quantize.to_float(model))
    some = sorted(pictures.rglob("*.png"))[:20]
    quantized = quantize.to_tflite(model, quantize.recipe("static_wi8_ai8"), some, spec)
    (tmp_path / "int8.tflite").write_bytes(quantized)
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "int8.tflite", LABELS)
    told = document(bundle, tmp_path / "model.keras", pictures)
    expected = document(bundle, tmp_path / "float.tflite", pictures)
    assert told["comparison"] == expected["comparison"]
    assert told["layers"] == expected["layers"]
    first = told["layers"]["layers"][0]
    assert first["operator"] == "CONV_2D"
    assert first["name"].startswith("_first")
    assert all(layer["snr_db"] > 15 for layer in told["layers"]["layers"])
    assert "give --backbone NAME" in invoke(bundle, tmp_path / "bare.keras", pictures).stderr
    other = write_bundle(tmp_path / "other", tmp_path / "int8.tflite", SWAPPED)
    assert "calls class 0 'red, or rouge', tiny 'grün'" in invoke(other, tmp_path / "model.keras", pictures).stderr


def test_numbered_folders_do_not_count_the_background(data: Path) -> None:
    model = data / "coral" / "mobilenet_v2_1.0_224_quant.tflite"
    options = BareOptions(labels=str(data / "coral" / "imagenet_labels.txt"), background=True)
    with Classifier.open(str(model), options=options) as classifier:
        side = Side(model, classifier.input, classifier.output)
    paths = sorted((data / "imagenet_sample").glob("*/*.jpg"))[::40]
    compared = verify.compare(side, side, paths)
    assert compared.labelled == len(paths)
    assert compared.top1 is not None
    assert compared.top1 > 0.6
