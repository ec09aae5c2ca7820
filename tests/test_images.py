"""Pictures of every kind end as the right RGB, or as a clear error. Pillow, which scikit-image brings, writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.errors import ImageError
from edge.images import read_rgb

RED, BLUE = (250, 10, 10), (10, 10, 250)


def halves() -> Image.Image:
    """60 x 40, red on the left, blue on the right."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30], pixels[:, 30:] = RED, BLUE
    return Image.fromarray(pixels)


def assert_halves(pixels: np.ndarray, tolerance: int = 12) -> None:
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[20, 10].astype(int), RED, atol=tolerance)
    np.testing.assert_allclose(pixels[20, 50].astype(int), BLUE, atol=tolerance)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_colour_pictures(tmp_path: Path, suffix: str) -> None:
    halves().save(tmp_path / f"p{suffix}", quality=95)
    assert_halves(read_rgb(tmp_path / f"p{suffix}"))


def test_alpha_is_dropped(tmp_path: Path) -> None:
    picture = halves().convert("RGBA")
    picture.putalpha(128)
    picture.save(tmp_path / "p.png")
    assert_halves(read_rgb(tmp_path / "p.png"))


def test_palette(tmp_path: Path) -> None:
    halves().quantize(8).save(tmp_path / "p.png")
    assert_halves(read_rgb(tmp_path / "p.png"))


def test_cmyk(tmp_path: Path) -> None:
    halves().convert("CMYK").save(tmp_path / "p.jpg", quality=95)
    assert_halves(read_rgb(tmp_path / "p.jpg"), tolerance=40)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.new("L", (60, 40), 77).save(tmp_path / "p.png")
    pixels = read_rgb(tmp_path / "p.png")
    assert pixels.shape == (40, 60, 3)
    assert (pixels == 77).all()


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60), 77 * 257, np.uint16)).save(tmp_path / "p.png")
    np.testing.assert_allclose(read_rgb(tmp_path / "p.png"), 77, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = halves().transpose(undo[orientation]) if orientation in undo else halves()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "p.jpg", exif=exif, quality=95)
    assert_halves(read_rgb(tmp_path / "p.jpg"))


def test_a_real_photograph(photo_files: dict[str, Path], photos: dict[str, np.ndarray]) -> None:
    for name, path in photo_files.items():
        np.testing.assert_array_equal(read_rgb(path), photos[name])


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "is empty"), (b"not a picture", "is not a picture"), (None, "No such file")]
)
def test_what_is_no_picture(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "p.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=sentence):
        read_rgb(path)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_truncated_picture_is_refused(
    tmp_path: Path, photos: dict[str, np.ndarray], suffix: str, kept: float
) -> None:
    path = tmp_path / f"cut{suffix}"
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xd9"
    Image.fromarray(photos["cat"]).save(path, exif=thumbnail, quality=90)
    whole = path.read_bytes()
    assert read_rgb(path).shape == photos["cat"].shape
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ImageError, match="cut"):
        read_rgb(path)
