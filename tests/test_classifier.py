"""The shipped model on real photographs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from edge import Classifier, Frame
from edge.errors import ConfigError, ImageError, ModelError, RuntimeUnavailableError
from edge.images import read_rgb
from edge.runtimes import open_runtime
from edge.runtimes.settings import RuntimeSettings
from tests.conftest import MODEL
from tests.edgetpu import Standin

CATS = {"tabby", "tiger cat", "Egyptian cat"}


@pytest.fixture(scope="module", params=["litert", "tflite"])
def lite0(request: pytest.FixtureRequest) -> Classifier:
    try:
        with Classifier.open(MODEL, runtime=request.param, threads=1) as opened:
            yield opened
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))


def test_photographs_are_what_they_show(lite0: Classifier, photos: dict[str, np.ndarray]) -> None:
    best = {name: lite0.classify(pixels).predictions[0].label for name, pixels in photos.items()}
    assert best["cat"] in CATS
    assert best["coffee"] in ("espresso", "cup")
    assert best["rocket"] in ("missile", "projectile", "space shuttle")


def test_bgr_would_be_noticed(lite0: Classifier, photos: dict[str, np.ndarray]) -> None:
    right = lite0.classify(photos["coffee"]).predictions[0]
    swapped = lite0.classify(np.ascontiguousarray(photos["coffee"][..., ::-1])).predictions[0]
    assert (swapped.label, swapped.score) != (right.label, right.score)


def test_the_answer_is_the_same_each_time_and_belongs_to_its_frame(
    lite0: Classifier, photos: dict[str, np.ndarray]
) -> None:
    first = {name: lite0.classify(pixels).predictions for name, pixels in photos.items()}
    for name in ("rocket", "cat", "cat", "coffee"):
        assert lite0.classify(photos[name]).predictions == first[name]


def test_a_record_carries_what_the_frame_knew(lite0: Classifier, photos: dict[str, np.ndarray]) -> None:
    captured_ns = time.monotonic_ns() - 50_000_000
    record = lite0.classify(Frame(photos["cat"], 7, captured_ns, "tabby", "cat.png"), dropped=2)
    assert (record.sequence, record.truth, record.source, record.dropped) == (7, "tabby", "cat.png", 2)
    assert record.timings.wait_ns >= 50_000_000
    assert record.timings.age_ns <= time.monotonic_ns() - captured_ns
    assert record.run == lite0.run


def test_the_number_of_predictions_is_what_was_asked_for(photos: dict[str, np.ndarray]) -> None:
    with Classifier.open(MODEL, top=2) as classifier:
        assert len(classifier.classify(photos["cat"]).predictions) == 2


def test_pixels_that_are_no_picture_leave_the_classifier_usable(
    lite0: Classifier, photos: dict[str, np.ndarray]
) -> None:
    before = lite0.classify(photos["cat"]).predictions
    with pytest.raises(ImageError, match="expected uint8 RGB"):
        lite0.classify(np.zeros((10, 10), np.uint8))
    assert lite0.classify(photos["cat"]).predictions == before


def test_runtimes_agree_on_photographs(photos: dict[str, np.ndarray], runtime_name: str) -> None:
    """A runtime with one thread against the default with several: the same best class, scores within a few steps."""
    with Classifier.open(MODEL) as first, Classifier.open(MODEL, runtime=runtime_name, threads=1) as other:
        for pixels in photos.values():
            a, b = first.classify(pixels).predictions[0], other.classify(pixels).predictions[0]
            assert a.class_id == b.class_id
            assert a.score == pytest.approx(b.score, abs=0.04)


def test_a_runtime_by_name_works_or_fails(tiny: object) -> None:
    with pytest.raises(ConfigError, match="No runtime 'tpu': expected one of auto, litert, tflite, edgetpu"):
        open_runtime("tpu", Path("x.tflite"))
    with pytest.raises(ConfigError, match="0 threads"):
        open_runtime("auto", Path("x.tflite"), 0)


def test_an_accelerator_has_to_agree_on_the_first_class_of_the_golden_input(
    compiled_bundle: Path, standin: Standin
) -> None:
    """It rounds differently; the CPU is held to all five."""
    contract = compiled_bundle / "model.yaml"
    document = yaml.safe_load(contract.read_text())
    first, second, *others = document["golden"]["top5"]

    def opened(runtime: str, *top5: int) -> str:
        document["golden"]["top5"] = [*top5, *others[len(top5) - 2 :]]
        contract.write_text(yaml.safe_dump(document))
        settings = RuntimeSettings(runtime, 1, library=standin.library)
        with Classifier.open(str(compiled_bundle), runtime=settings) as classifier:
            return classifier.runtime.answered_by

    assert opened("edgetpu", first, others[0], second) == "edgetpu-standin"
    with pytest.raises(ModelError, match=f"its top 5 are .{first}, {second}, .* promises .{first}, {others[0]}, "):
        opened("litert", first, others[0], second)
    with pytest.raises(ModelError, match=rf"its first class is \[{first}\], .* promises \[{second}\]"):
        opened("edgetpu", second, first)


def test_accuracy_on_a_thousand_photographs(data: Path) -> None:
    """Every fourth picture of the sample; its own truth is in the folder names."""
    from edge.cameras.directory import find_pictures

    paths = find_pictures(data / "imagenet_sample")[::4]
    with Classifier.open(MODEL) as classifier:
        answers = [(path, classifier.classify(read_rgb(path)).predictions[0].class_id) for path in paths]
    right = sum(int(path.parent.name[:3]) == answer for path, answer in answers)
    assert right / len(answers) > 0.8
