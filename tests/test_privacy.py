"""Masks: what is refused, and that nothing of what they cover is left."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.privacy import PrivacySettings, black_out, without_passwords

fractions = st.floats(0, 1)
rectangles = st.tuples(fractions, fractions, fractions, fractions).filter(lambda r: r[0] < r[2] and r[1] < r[3])


@pytest.mark.parametrize(
    "rectangle",
    [
        *((0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (0, 1, 1, 1), (0, 0.9, 1, 0.1), (-0.1, 0, 1, 1), (0, 0, 1, 1.5)),
        (0, 0, float("nan"), 1),
    ],
)
def test_an_impossible_rectangle_is_named(rectangle: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.mask\[1\] is \[.*left < right and top < bottom"):
        PrivacySettings(((0, 0, 1, 1), rectangle))


def test_settings_come_from_a_document() -> None:
    assert msgspec.convert({"mask": [[0, 0.5, 0.25, 1]]}, PrivacySettings).mask == ((0, 0.5, 0.25, 1),)
    with pytest.raises(msgspec.ValidationError, match="length 4"):
        msgspec.convert({"mask": [[0, 0.5, 0.25]]}, PrivacySettings)
    with pytest.raises(msgspec.ValidationError, match="unknown field `masks`"):
        msgspec.convert({"masks": []}, PrivacySettings)
    with pytest.raises(ConfigError, match=r"\[1, 0, 0, 1\]"):
        msgspec.convert({"mask": [[1, 0, 0, 1]]}, PrivacySettings)


@given(st.lists(rectangles, max_size=3), st.integers(1, 40), st.integers(1, 40))
def test_every_pixel_that_a_rectangle_touches_is_black_and_no_other(
    mask: list[tuple[float, float, float, float]], height_px: int, width_px: int
) -> None:
    pixels = np.full((height_px, width_px, 3), 255, np.uint8)
    black_out(pixels, tuple(mask))
    rows, columns = np.arange(height_px)[:, None], np.arange(width_px)
    touched = np.zeros((height_px, width_px), bool)
    for left, top, right, bottom in mask:
        touched |= (
            (rows + 1 > top * height_px)
            & (rows < bottom * height_px)
            & (columns + 1 > left * width_px)
            & (columns < right * width_px)
        )
    assert (pixels == np.where(touched, 0, 255)[..., None]).all()


def test_a_rectangle_is_left_top_right_bottom() -> None:
    pixels = np.full((10, 20, 3), 200, np.uint8)
    black_out(pixels, ((0.5, 0.0, 1.0, 0.2),))
    assert not pixels[:2, 10:].any()
    assert (pixels[2:] == 200).all()
    assert (pixels[:, :10] == 200).all()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://ann:secret@cam.local/1", "rtsp://ann:***@cam.local/1"),
        ("rtsp://ann:p@ss/word@cam.local/1", "rtsp://ann:***@cam.local/1"),
        ("http://secret@cam.local/1", "http://***@cam.local/1"),
        ("http://cam.local/?user=ann&password=secret&x=1", "http://cam.local/?user=ann&password=***&x=1"),
        ("rtsp://cam.local/user=admin_password=secret_channel=1", "rtsp://cam.local/user=admin_password=***"),
        ("RTSP stream rtsp://ann:secret@cam.local/1, 640x480", "RTSP stream rtsp://ann:***@cam.local/1, 640x480"),
        ("rtsp://cam.local:554/stream", "rtsp://cam.local:554/stream"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_passwords_are_not_told(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
