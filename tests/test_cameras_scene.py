"""The drawn scene: honest about what it is, right by the shipped model, the same for the same seed."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from edge import Classifier
from edge.cameras import CameraSettings, open_camera
from edge.cameras.scene import TURN_S, Scene
from edge.errors import CameraError

LABELS = ("wall clock", "traffic light", "computer keyboard", "crossword puzzle")
FPS = 30.0
PER_TURN = int(TURN_S * FPS)


def at(hour: int, minute: int, second: int = 0) -> time.struct_time:
    return time.struct_time((2026, 1, 1, hour, minute, second, 3, 1, 0))


def test_it_calls_itself_drawn() -> None:
    assert open_camera(CameraSettings(source="scene")).name == "drawn scene, 640x480 at 30 fps"
    assert Scene(CameraSettings(), "no camera found").name == "drawn scene (no camera found), 640x480 at 30 fps"


def test_the_things_take_turns() -> None:
    scene = Scene(CameraSettings(width_px=64, height_px=48))
    labels = [scene.draw(turn * PER_TURN + offset)[1] for turn in range(5) for offset in (0, PER_TURN - 1)]
    assert labels == [label for label in (*LABELS, LABELS[0]) for _ in range(2)]


def test_the_truth_is_a_label_of_the_model(classifier: Classifier) -> None:
    for label in LABELS:
        assert classifier.bundle.labels.count(label) == 1


@pytest.mark.parametrize("size_px", [(480, 640), (720, 1280), (240, 320)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_shipped_model_recognises_each_thing(classifier: Classifier, seed: int, size_px: tuple[int, int]) -> None:
    scene = Scene(CameraSettings(seed=seed, height_px=size_px[0], width_px=size_px[1]))
    for turn, label in enumerate(LABELS):
        found = Counter(
            classifier.classify(scene.draw(turn * PER_TURN + offset)[0]).predictions[0].label
            for offset in range(0, PER_TURN, 10)
        )
        assert found[label] >= 0.9 * sum(found.values()), (label, found)


def test_the_clock_is_recognised_at_any_time(classifier: Classifier) -> None:
    found: Counter[str] = Counter()
    for hour in range(12):
        now = at(hour, hour * 17 % 60, hour * 7 % 60)
        scene = Scene(CameraSettings(), local_time=lambda now=now: now)  # type: ignore[misc]
        found[classifier.classify(scene.draw(3 * hour)[0]).predictions[0].label] += 1
    assert found["wall clock"] >= 11, found


def test_the_same_seed_and_number_give_the_same_picture() -> None:
    def draw(seed: int, sequence: int) -> np.ndarray:
        return Scene(CameraSettings(seed=seed), local_time=lambda: at(10, 8)).draw(sequence)[0]

    for sequence in (5, PER_TURN * 3 + 5):
        assert np.array_equal(draw(1, sequence), draw(1, sequence))
        assert not np.array_equal(draw(1, sequence), draw(2, sequence))
        assert not np.array_equal(draw(1, sequence), draw(1, sequence + 1))


def test_the_clock_shows_the_time() -> None:
    def draw(now: time.struct_time) -> np.ndarray:
        return Scene(CameraSettings(), local_time=lambda: now).draw(0)[0].astype(int)

    noon, three = draw(at(12, 0)), draw(at(3, 0))
    right = np.s_[225:255, 345:370]
    assert three[right].mean() < noon[right].mean() - 20  # the hour hand left the top and points to the right


def test_the_traffic_light_changes_and_its_red_is_red() -> None:
    scene = Scene(CameraSettings())
    lit = []
    for offset in range(0, PER_TURN, 5):
        red, green, blue = (scene.draw(PER_TURN + offset)[0][..., channel].astype(int) for channel in range(3))
        counts = {
            "red": int(((red > 200) & (green < 90) & (blue < 90)).sum()),
            "green": int(((green > 200) & (red < 120) & (blue < 170)).sum()),
            "yellow": int(((red > 200) & (green > 160) & (blue < 90)).sum()),
        }
        lit.append(max(counts, key=lambda name: counts[name]))
    assert {"red", "green", "yellow"} == set(lit)
    assert lit[0] == "red"


def test_frames_come_at_the_rate_that_was_asked() -> None:
    scene = open_camera(CameraSettings(source="scene", fps=50.0, width_px=64, height_px=48))
    started_s = time.monotonic()
    while (frame := scene.read()) is None or frame.sequence < 10:
        pass
    assert time.monotonic() - started_s >= 0.15  # number 10 is due 0.2 s after it was opened


def test_a_read_that_is_too_early_waits_no_longer_than_it_may() -> None:
    scene = open_camera(CameraSettings(source="scene", fps=0.1, width_px=64, height_px=48))
    assert scene.read(0.0) is not None
    assert scene.read(0.01) is None


def test_a_size_that_cannot_be_drawn() -> None:
    with pytest.raises(CameraError, match="cannot be 16x16"):
        open_camera(CameraSettings(source="scene", width_px=16, height_px=16))
