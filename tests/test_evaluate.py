"""Accuracy on labelled folders, with the shipped model and real photographs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge import Classifier
from edge.cameras import CameraSettings
from edge.cameras.directory import Directory
from edge.errors import CameraError, ConfigError
from edge.measuring import class_folders, evaluate
from edge.records import Frame
from edge.runtimes.settings import RuntimeSettings
from edge.stats import wilson
from tests.conftest import MODEL

LABELS = (
    "background",
    "tabby, tabby cat",
    "crane",
    "crane",
    "Egyptian cat",
    "maillot",
    "maillot, tank suit",
    "T-shirt",
)


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "a.jpg").touch()
    return root


@pytest.fixture
def photo_folders(tmp_path, photo_files):
    """Two class folders: a cat, and a cat and a coffee cup that both claim to be an espresso."""
    for name, folder in {"cat": "Egyptian_cat", "coffee": "espresso"}.items():
        (tmp_path / folder).mkdir()
        shutil.copy(photo_files[name], tmp_path / folder)
    shutil.copy(photo_files["cat"], tmp_path / "espresso")
    return tmp_path


def run(classifier, folder, **options):
    truth = class_folders.truth_of(folder, classifier.bundle.labels, **options)
    return evaluate.evaluate(classifier, Directory(CameraSettings(source=str(folder))), truth)


def test_counts_are_those_of_the_classifier(classifier, photos, photo_folders):
    labels = classifier.bundle.labels
    cat, cup = (classifier.classify(photos[name]).predictions for name in ("cat", "coffee"))
    result = run(classifier, photo_folders)
    right = [cat[0].label == "Egyptian cat", cup[0].label == "espresso", cat[0].label == "espresso"]
    in_top = [
        any(prediction.label == label for prediction in predictions)
        for predictions, label in ((cat, "Egyptian cat"), (cup, "espresso"), (cat, "espresso"))
    ]
    assert (result.images, result.skipped) == (3, 0)
    assert result.top1 == pytest.approx(sum(right) / 3, abs=1e-6)
    assert result.top5 == pytest.approx(sum(in_top) / 3, abs=1e-6)
    assert result.top1_interval95 == pytest.approx(wilson(sum(right), 3), abs=1e-6)
    assert {name: told.images for name, told in result.per_class.items()} == {"Egyptian cat": 1, "espresso": 2}
    assert sum(told.count for told in result.confusion_top) == 3 - sum(right)
    assert evaluate.Confusion("espresso", cat[0].label, 1) in result.confusion_top
    assert all(told.predicted in labels for told in result.confusion_top)


def test_the_result_is_json_with_the_keys_that_are_promised(classifier, photo_folders):
    document = json.loads(json.dumps(run(classifier, photo_folders).as_json()))
    assert {
        "images",
        "skipped",
        "top1",
        "top5",
        "top1_interval95",
        "per_class",
        "confusion_top",
        "latency_ms",
        "backends",
    } < set(document)
    assert document["model_sha256"] == classifier.bundle.sha256
    assert set(document["latency_ms"]) == {"preprocess", "invoke", "postprocess"}
    assert document["backends"] == {"cpu": 3}
    assert document["latency_ms"]["invoke"]["mean"] > 0
    assert document["latency_ms"]["invoke"]["p90"] is None
    assert document["insufficient"]["p90"] == "insufficient (3 of 64 samples)"


def test_pictures_that_the_cpu_answered_for_an_edge_tpu_are_counted_and_not_timed(
    compiled_bundle, photo_folders, standin
):
    settings = RuntimeSettings(name="edgetpu", fallback="cpu", library=standin.library)
    # One inference warms up, one is the golden input, one a picture's.
    standin.set(faults="abort@4+")
    with Classifier.open(str(compiled_bundle), runtime=settings, threads=1) as classifier:
        result = run(classifier, photo_folders)
    assert (result.images, result.backend, result.backends) == (3, "edgetpu-standin", {"edgetpu-standin": 1, "cpu": 2})
    assert result.latency_ms["invoke"].min == result.latency_ms["invoke"].max
    assert result.insufficient["p90"] == "insufficient (1 of 64 samples)"
    assert "of 1 pictures; others were answered elsewhere: 2 by cpu" in evaluate.text_of(result)


def test_text_tells_the_counts_and_why_percentiles_are_missing(classifier, photo_folders):
    text = evaluate.text_of(run(classifier, photo_folders))
    assert "3 pictures, 2 classes" in text
    assert "p90 insufficient (3 of 64 samples)" in text


def test_progress_counts_pictures(classifier, photo_folders):
    truth = class_folders.truth_of(photo_folders, classifier.bundle.labels)
    seen = []
    evaluate.evaluate(classifier, Directory(CameraSettings(source=str(photo_folders))), truth, seen.append)
    assert seen == [1, 2, 3]


def test_a_damaged_picture_is_skipped_and_counted(classifier, photo_folders):
    (photo_folders / "espresso" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    result = run(classifier, photo_folders)
    assert (result.images, result.skipped) == (3, 1)


def test_a_map_may_name_several_right_labels(classifier, photos, tmp_path, photo_files):
    (tmp_path / "pictures" / "katze").mkdir(parents=True)
    shutil.copy(photo_files["cat"], tmp_path / "pictures" / "katze")
    best = classifier.classify(photos["cat"]).predictions[0]
    mapping = tmp_path / "map.yaml"
    mapping.write_text(f"katze: [espresso, {best.class_id}]\n")
    result = run(classifier, tmp_path / "pictures", map_file=mapping)
    assert result.top1 == 1.0
    assert result.per_class == {"katze": evaluate.ClassResult(1, 1.0)}


def test_a_classifier_with_too_few_predictions_is_refused(photo_folders):
    with Classifier.open(MODEL, threads=1, top=1) as narrow, pytest.raises(ConfigError, match="top=5"):
        run(narrow, photo_folders)


class Labelled:
    """A source that gives one frame with a label of its own, or none."""

    name = "labelled"
    live = False

    def __init__(self, label: str, count: int = 1) -> None:
        self.label, self.left, self.ended = label, count, False

    def read(self, timeout_s=1.0):
        if not self.left:
            self.ended = True
            return None
        self.left -= 1
        return Frame(np.zeros((8, 8, 3), np.uint8), 0, 0, self.label)

    def close(self):
        pass


def test_frames_without_a_class_are_an_error(classifier):
    with pytest.raises(CameraError, match="gave no pictures"):
        evaluate.evaluate(classifier, Labelled("x", 0), {"x": frozenset({0})})
    with pytest.raises(ConfigError, match="label 'y'"):
        evaluate.evaluate(classifier, Labelled("y"), {"x": frozenset({0})})


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("tabby", 1),
        ("Tabby_Cat", 1),
        ("tabby, tabby cat", 1),
        ("egyptian-cat", 4),
        ("EGYPTIAN  CAT", 4),
        ("t_shirt", 7),
        ("maillot", 5),  # all of a label counts before one of several synonyms
        ("tank suit", 6),
    ],
)
def test_folder_names_match_labels_by_text(tmp_path, folder, index):
    assert class_folders.truth_of(folders(tmp_path, folder), LABELS) == {folder: frozenset({index})}


def test_unmatched_and_ambiguous_folders_are_told_at_once(tmp_path):
    folders(tmp_path, "tabby", "crane", "unicorn", "3")
    with pytest.raises(ConfigError) as error:
        class_folders.truth_of(tmp_path, LABELS)
    message = str(error.value)
    assert "3, unicorn match no label" in message
    assert "crane (2 or 3) match several" in message
    assert "--map" in message
    assert "tabby" not in message


@pytest.mark.parametrize(
    "text",
    ["crane: 3\nunicorn: tank suit\n", "unicorn: [tank suit, Egyptian_cat]\ncrane: ['2', 3]\nnot there: tabby\n"],
)
def test_map_settles_what_names_cannot(tmp_path, text):
    mapping = tmp_path / "map.txt"
    mapping.write_text(text)
    truth = class_folders.truth_of(folders(tmp_path / "p", "crane", "unicorn", "tabby"), LABELS, map_file=mapping)
    assert truth["tabby"] == {1}
    assert 3 in truth["crane"]
    assert 6 in truth["unicorn"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("crane: 8\n", r"crane \(8\) match no label"),
        ("crane: crane\n", "2 or 3"),
        ("- crane\n", "not a map"),
        ("crane: {a: b}\n", "not a map"),
        ("crane: [\n", "not a map"),
        ("", "not a map"),
        (None, "Cannot read"),
    ],
)
def test_bad_maps_are_one_error(tmp_path, text, match):
    mapping = tmp_path / "map.yaml"
    if text is not None:
        mapping.write_text(text)
    with pytest.raises(ConfigError, match=match):
        class_folders.truth_of(folders(tmp_path / "p", "crane"), LABELS, map_file=mapping)


def test_numbered_folders_are_indices_after_the_background(tmp_path):
    folders(tmp_path, "000_n01_tabby", "6", "0003")
    truth = class_folders.truth_of(tmp_path, LABELS, index_prefix=True, background_offset=1)
    assert truth == {"000_n01_tabby": {1}, "6": {7}, "0003": {4}}


@pytest.mark.parametrize("name", ["7_too_many", "tabby", "_3"])
def test_folders_without_a_usable_number_are_an_error(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"0 to 6; these do not: {name}"):
        class_folders.truth_of(folders(tmp_path, name), LABELS, index_prefix=True, background_offset=1)


def test_map_and_index_prefix_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="--map and --index-prefix"):
        class_folders.truth_of(folders(tmp_path, "tabby"), LABELS, map_file=tmp_path / "map", index_prefix=True)


def test_folders_without_classes_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        class_folders.truth_of(tmp_path / "absent", LABELS)
    with pytest.raises(ConfigError, match="holds no pictures"):
        class_folders.truth_of(tmp_path, LABELS)
    (tmp_path / "a.png").touch()
    folders(tmp_path, "tabby")
    with pytest.raises(ConfigError, match=r"1 picture lies in .* expected each in a folder"):
        class_folders.truth_of(tmp_path, LABELS)


def test_pictures_with_known_truth_are_mostly_right(classifier, data, tmp_path):
    pictures = sorted((data / "imagenet_sample").glob("*/*.jpg"))[::8]
    if not pictures:
        pytest.skip(f"no pictures in {data / 'imagenet_sample'}")
    for picture in pictures:
        (tmp_path / picture.parent.name).mkdir(exist_ok=True)
        (tmp_path / picture.parent.name / picture.name).symlink_to(picture)
    result = run(classifier, tmp_path, index_prefix=True, background_offset=classifier.output.background_offset)
    assert result.images == len(pictures) >= 100
    assert result.top1 > 0.75
    assert result.top5 > 0.9
    assert result.latency_ms["invoke"].p90 is not None
