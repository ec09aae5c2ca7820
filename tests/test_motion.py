"""Only pictures that changed pass: photographs with noise, shake, exposure, light and things that move."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.motion import Gate, MotionSettings

Pixels = NDArray[np.uint8]
NS = 10**9
WIDTH, HEIGHT, MARGIN = 640, 480, 8
NOISE_LEVELS = 30.0
NOISE = np.random.default_rng(0).normal(128, NOISE_LEVELS, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)
NEVER = MotionSettings(at_least_every_s=86_400)


@pytest.fixture(scope="module", params=["cat", "coffee", "rocket"])
def scene(request: pytest.FixtureRequest, photos: dict[str, Pixels]) -> Pixels:
    """A photograph, a little larger than the camera's picture."""
    size = (WIDTH + MARGIN, HEIGHT + MARGIN)
    return np.asarray(cv2.resize(photos[request.param], size, interpolation=cv2.INTER_AREA), np.uint8)


def taken(scene: Pixels, seed: int, shift_px: int = 0, exposure: float = 1.0, noise: float = 8.0) -> Pixels:
    """What a camera would give of a scene, with noise of its own."""
    seen = scene[shift_px : shift_px + HEIGHT, shift_px : shift_px + WIDTH]
    own = np.roll(NOISE, 1_234_567 * seed, axis=None).reshape(NOISE.shape)
    return np.asarray(cv2.addWeighted(seen, exposure, own, noise / NOISE_LEVELS, -128 * noise / NOISE_LEVELS), np.uint8)


def changes(*pictures: Pixels, settings: MotionSettings = NEVER) -> list[bool]:
    """Which of the pictures after the first pass, shown a second apart."""
    gate = Gate(settings)
    passed = [gate.passes(pixels, NS * number) for number, pixels in enumerate(pictures)]
    assert passed[0]
    return passed[1:]


@pytest.mark.parametrize("noise", [0.0, 8.0, 25.0])
def test_noise_is_no_change(scene: Pixels, noise: float) -> None:
    assert not any(changes(*(taken(scene, seed, noise=noise) for seed in range(6))))


def test_a_shake_of_the_pole_is_no_change(scene: Pixels) -> None:
    assert not any(changes(*(taken(scene, seed, shift_px) for seed, shift_px in enumerate([2, 3, 1, 4, 2, 0]))))


def test_exposure_that_flickers_is_no_change(scene: Pixels) -> None:
    factors = [1.0, 0.93, 1.04, 0.9, 0.97, 0.85]
    assert not any(changes(*(taken(scene, seed, exposure=factor) for seed, factor in enumerate(factors))))


def test_light_that_goes_off_and_on_is_a_change(scene: Pixels) -> None:
    factors = [1.0, 0.4, 0.4, 1.0, 1.0, 0.1, 0.1]
    expected = [True, False, True, False, True, False]
    assert changes(*(taken(scene, seed, exposure=factor) for seed, factor in enumerate(factors))) == expected


def test_dusk_passes_now_and_then(scene: Pixels) -> None:
    factors = np.linspace(1.0, 0.2, 80)
    passed = sum(changes(*(taken(scene, seed, exposure=factor) for seed, factor in enumerate(factors))))
    assert 3 <= passed <= 20


@pytest.mark.parametrize(("size", "seen"), [(0.05, False), (0.25, True), (0.5, True)])
def test_something_that_moves_is_a_change_when_it_is_large_enough(
    scene: Pixels, photos: dict[str, Pixels], size: float, seen: bool
) -> None:
    """Its size is a share of the picture's width and height."""
    wide, high = round(WIDTH * size), round(HEIGHT * size)
    thing = cv2.resize(photos["cat"][::-1, :, ::-1], (wide, high), interpolation=cv2.INTER_AREA)
    pictures = [taken(scene, 0)]
    for place in range(1, 8):
        before = scene.copy()
        left, top = (WIDTH - wide) * place // 8, (HEIGHT - high) * place // 8
        before[top : top + high, left : left + wide] = thing
        pictures.append(taken(before, place))
    passed = changes(*pictures)
    assert sum(passed) >= 6 if seen else not any(passed)


def test_what_moves_slowly_passes_in_the_end(scene: Pixels, photos: dict[str, Pixels]) -> None:
    """A leaf that unfolds by 2 pixels a second: no two pictures in a row differ enough."""
    pictures = []
    for second in range(60):
        before = scene.copy()
        before[100 : 100 + 2 * second, 200:360] += 128
        pictures.append(taken(before, second))
    passed = changes(*pictures)
    assert 2 <= sum(passed) <= 12


@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.3, 1.0])
def test_the_threshold_is_the_share_that_must_have_changed(threshold: float) -> None:
    white = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    for columns in (0, 1, 4, 9, 10, 15):
        darker, share = white.copy(), columns / 32
        darker[:, : WIDTH // 32 * columns] = 20
        assert changes(white, darker, settings=MotionSettings(threshold, 86_400)) == [share >= threshold]


def test_nothing_moves_and_still_one_passes_in_time(scene: Pixels) -> None:
    gate, pixels = Gate(MotionSettings(at_least_every_s=10.0)), taken(scene, 0)
    assert [second for second in range(35) if gate.passes(pixels, second * NS)] == [0, 10, 20, 30]


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (24, 32, 3), (241, 333, 3), (1080, 1920, 3)])
def test_any_size_and_a_change_of_it(scene: Pixels, shape: tuple[int, ...]) -> None:
    gate, dark = Gate(NEVER), np.zeros(shape, np.uint8)
    assert [gate.passes(each, 0) for each in (dark, dark, dark + 90, dark + 90)] == [True, False, True, False]
    resized = cv2.resize(scene, (320, 240), interpolation=cv2.INTER_AREA)
    assert changes(scene, np.asarray(resized, np.uint8)) == [False]


def test_black_and_white_are_pictures_too(scene: Pixels) -> None:
    black, white = np.zeros_like(scene), np.full_like(scene, 255)
    assert changes(black, black, scene, black, white, white) == [False, True, True, True, False]


def test_a_picture_that_is_a_view_of_a_larger_one(scene: Pixels) -> None:
    views: list[Any] = [scene[:, 4:-4], scene[:, 4:-4].copy(), scene[::-1, ::-1]]
    assert changes(*views) == [False, True]


def test_it_costs_a_fraction_of_a_millisecond(scene: Pixels) -> None:
    gate, pixels = Gate(NEVER), np.ascontiguousarray(scene[:HEIGHT, :WIDTH])
    gate.passes(pixels, 0)
    took_ns = []
    for _ in range(60):
        began_ns = time.thread_time_ns()
        gate.passes(pixels, 1)
        took_ns.append(time.thread_time_ns() - began_ns)
    assert min(took_ns) < 1_000_000  # 120,000 as measured; machines differ
