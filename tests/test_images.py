"""Pictures of every kind end as the right RGB, or as a clear error. Pillow, which scikit-image brings, writes them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import zlib
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


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    halves().save(stream, kind, quality=95)
    return stream.getvalue()


def test_markers_with_fill_bytes_and_without_a_length(tmp_path: Path) -> None:
    content = encoded("JPEG")
    assert content[2:4] == b"\xff\xe0"
    (tmp_path / "p.jpg").write_bytes(content[:2] + b"\xff\x01" + b"\xff\xff\xff" + content[3:])
    assert_halves(read_rgb(tmp_path / "p.jpg"))


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xff", b"\xff\xe0", b"\xff\xe0\x00"])
def test_a_jpeg_that_ends_in_its_header(tmp_path: Path, end: bytes) -> None:
    (tmp_path / "p.jpg").write_bytes(encoded("JPEG")[:20] + end)
    with pytest.raises(ImageError, match="is a truncated JPEG picture"):
        read_rgb(tmp_path / "p.jpg")


def test_a_wrong_checksum_of_what_a_png_can_do_without(tmp_path: Path) -> None:
    content = encoded("PNG")
    note = b"tEXt" + b"Comment\0red and blue"
    chunk = (len(note) - 4).to_bytes(4, "big") + note
    for checksum in (zlib.crc32(note), 7):
        (tmp_path / "p.png").write_bytes(content[:33] + chunk + checksum.to_bytes(4, "big") + content[33:])
        assert_halves(read_rgb(tmp_path / "p.png"))


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(encoded("PNG"),), daemon=True)
    writer.start()
    assert_halves(read_rgb(tmp_path / "pipe"))
    code = "from pathlib import Path; from edge.images import read_rgb; print(read_rgb(Path('/dev/stdin')).shape)"
    result = subprocess.run([sys.executable, "-c", code], input=encoded("JPEG"), capture_output=True, check=False)
    assert (result.stdout, result.stderr) == (b"(40, 60, 3)\n", b"")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_picture(path: str) -> None:
    with pytest.raises(ImageError, match=rf"^{path} is a device: expected a picture file or a pipe\.$"):
        read_rgb(Path(path))


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="Is a directory"):
        read_rgb(tmp_path)


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.images._MOST_BYTES", 1024 * 1024)
    with (tmp_path / "p.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ImageError, match=r"is no picture: it holds more than 1 MB\.$"):
        read_rgb(tmp_path / "p.png")


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    path.write_bytes(encoded("PNG"))
    assert_halves(read_rgb(path))
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="\ufffd\\.png is empty"):
        read_rgb(path)


def test_an_error_comes_alone(tmp_path: Path) -> None:
    """In a process of its own, for what is written past Python; OpenCV's own settings are those of the process."""
    png, bmp = encoded("PNG"), encoded("BMP")
    bad = {
        "cut.png": png[: len(png) // 2],
        "signature.png": png[:8],
        "no_end.png": png[:-12],
        "flipped.png": png[:60] + bytes([png[60] ^ 1]) + png[61:],
        "size.png": png[:20] + b"\x7f\x7f\x7f\x7f" + png[24:],
        "cut.bmp": bmp[: len(bmp) // 2],
        "size.bmp": bmp[:20] + b"\x7f" * 8 + bmp[28:],
        "cut.jpg": encoded("JPEG")[:300],
        "cut.webp": encoded("WEBP")[:-20],
        "cut.tif": encoded("TIFF")[:200],
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    code = f"""
from pathlib import Path
from edge.errors import ImageError
from edge.images import read_rgb
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    try:
        read_rgb(path)
    except ImageError as error:
        assert str(error).count("\\n") == 0
        continue
    raise SystemExit(f"{{path}} was read")
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENCV_LOG_LEVEL"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
