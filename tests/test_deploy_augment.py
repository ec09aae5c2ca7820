"""Varied views of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.pictures import augment
from edge.errors import ConfigError

KINDS = st.lists(st.sampled_from(sorted(augment.KINDS)), unique=True)
SHA256 = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.integers(1, 40), st.integers(1, 40), KINDS, st.integers(0, 1000), SHA256)
def test_a_view_is_a_picture_and_always_the_same(
    height: int, width: int, kinds: list[str], number: int, sha256: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    before = pixels.copy()
    view = augment.view(pixels, kinds, number, sha256)
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    assert view.shape[2] == 3
    assert all(round(0.75 * whole) <= part <= whole for part, whole in zip(view.shape, pixels.shape[:2]))
    if "crop" not in kinds:
        assert view.shape == pixels.shape
    if number == 0 or not kinds:
        assert np.array_equal(view, pixels)
    assert np.array_equal(pixels, before)
    assert np.array_equal(augment.view(pixels, kinds, number, sha256), view)


@pytest.mark.parametrize("kind", sorted(augment.KINDS))
def test_views_differ_by_number_and_by_picture(kind: str, photos: dict[str, np.ndarray]) -> None:
    cat = photos["cat"]
    of_one = {augment.view(cat, [kind], number, "ab" * 32).tobytes() for number in range(1, 9)}
    of_others = {augment.view(cat, [kind], 1, f"{number:064x}"[::-1]).tobytes() for number in range(8)}
    assert (len(of_one), len(of_others)) == (2, 2) if kind == "flip" else len(of_one) + len(of_others) == 16


def test_what_each_kind_does(photos: dict[str, np.ndarray]) -> None:
    cat = photos["cat"]
    flips = [augment.view(cat, ["flip"], number, "ab" * 32) for number in range(1, 401)]
    turned = sum(np.array_equal(flip, cat[:, ::-1]) for flip in flips)
    assert 160 < turned < 240  # half, within four standard deviations
    assert turned + sum(np.array_equal(flip, cat) for flip in flips) == 400
    for number in range(1, 9):
        part = augment.view(cat, ["crop"], number, "ab" * 32)
        assert part.tobytes() in {
            cat[top : top + part.shape[0], left : left + part.shape[1]].tobytes()
            for top in range(cat.shape[0] - part.shape[0] + 1)
            for left in range(cat.shape[1] - part.shape[1] + 1)
            if np.array_equal(cat[top, left], part[0, 0])
        }
        changed = augment.view(cat, ["colour"], number, "ab" * 32)
        assert 0.75 < changed.mean() / cat.mean() < 1.25
        likeness = np.corrcoef(cat.mean(axis=2).ravel(), changed.mean(axis=2).ravel())[0, 1]
        assert likeness > 0.98
    grey = np.full((8, 8, 3), 100, np.uint8)
    assert np.ptp(augment.view(grey, ["colour"], 1, "ab" * 32)) == 0


def test_unknown_kinds_are_refused() -> None:
    augment.check(["flip", "crop", "colour"])
    for kind in ("spin", "", "Flip"):
        with pytest.raises(ConfigError, match=f"No augmentation {kind!r}: expected some of flip, crop, colour"):
            augment.check(["flip", kind])
