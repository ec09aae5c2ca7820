"""What pictures tell of the camera's health."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cameras.pictures import LIGHT_S, Freeze, Lighting, coarse, light


def picture(level: int, height: int = 480, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@settings(max_examples=30)
@given(st.integers(1, 1200), st.integers(1, 1200))
def test_some_thousand_points_of_all_colours_are_looked_at(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:] = (1, 2, 3)
    points = coarse(pixels)
    assert points.size >= min(height, 48) * min(width * 3, 48)
    assert points.size < 4 * 48 * 64
    counts = np.bincount(points.ravel(), minlength=4)[1:]
    assert counts.max() - counts.min() <= points.shape[0]


@pytest.mark.parametrize(
    ("level", "shown"), [(0, "dark"), (16, "dark"), (17, None), (249, None), (250, "saturated"), (255, "saturated")]
)
def test_what_counts_as_dark_and_as_saturated(level: int, shown: object) -> None:
    assert light(coarse(picture(level))) == shown


@pytest.mark.parametrize(("level", "other"), [(0, 255), (255, 0)])
def test_hot_pixels_are_no_light_and_a_lamp_is(level: int, other: int) -> None:
    pixels = picture(level)
    pixels.reshape(-1)[:: 997 * 3] = other
    assert light(coarse(pixels)) is not None
    pixels[200:280, 300:400] = other  # 3 % of the picture
    assert light(coarse(pixels)) is None


def test_a_picture_grows_old_until_another_one_comes() -> None:
    freeze, still = Freeze(), coarse(picture(90))
    assert [freeze.see(still, None, at_s) for at_s in (5.0, 6.0, 65.0)] == [0.0, 1.0, 60.0]
    assert freeze.see(coarse(picture(91)), None, 66.0) == 0.0
    assert freeze.see(still, None, 70.0) == 0.0  # seen before, not just before


def test_in_the_dark_nothing_grows_old_and_nothing_is_forgotten() -> None:
    freeze, still, black = Freeze(), coarse(picture(90)), coarse(picture(0))
    freeze.see(still, None, 0.0)
    assert [freeze.see(black, "dark", at_s) for at_s in (1.0, 99.0)] == [0.0, 0.0]
    assert freeze.see(still, None, 100.0) == 100.0


def test_light_is_told_when_it_has_lasted() -> None:
    lighting = Lighting()
    assert lighting.see("dark", 0.0) == []
    assert lighting.see("dark", LIGHT_S - 0.1) == []
    assert lighting.see("dark", LIGHT_S) == ["camera dark"]
    assert lighting.see("saturated", 20.0) == []
    assert lighting.see("dark", 25.0) == []
    assert lighting.see("saturated", 30.0) == []
    assert lighting.see("saturated", 30.0 + LIGHT_S) == ["camera dark over", "camera saturated"]
    assert lighting.see(None, 50.0) == []
    assert lighting.see(None, 50.0 + LIGHT_S) == ["camera saturated over"]
    assert lighting.see(None, 500.0) == []


@given(st.lists(st.tuples(st.sampled_from([None, "dark", "saturated"]), st.floats(0.0, 20.0)), max_size=40))
def test_each_light_is_over_before_another_one_begins(seen: list) -> None:
    lighting, now_s, events = Lighting(), 0.0, []
    for shown, after_s in seen:
        now_s += after_s
        events += lighting.see(shown, now_s)
    for begun, over in zip(events[::2], events[1::2]):
        assert over == f"{begun} over"
    assert all(not event.endswith("over") for event in events[::2])
