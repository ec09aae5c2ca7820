"""What is seen of a picture file, and which pictures are alike. Pillow, which scikit-image brings, writes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deploy.pictures import likeness
from edge.errors import ImageError


def distance(one: np.ndarray, other: np.ndarray) -> int:
    hashes = [likeness.perceptual_hash(rgb) for rgb in (one, other)]
    bits = [np.unpackbits(np.frombuffer(content, np.uint8)) for content in hashes if content is not None]
    return int((bits[0] != bits[1]).sum())


def changed(rgb: np.ndarray, change: str) -> np.ndarray:
    height_px, width_px = rgb.shape[:2]
    if change == "smaller":
        return cv2.resize(rgb, (width_px // 3, height_px // 3), interpolation=cv2.INTER_AREA)
    if change == "grey":
        return cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if change == "cropped":
        return rgb[height_px // 50 :, width_px // 50 :]
    if change == "brighter":
        return cv2.convertScaleAbs(rgb, alpha=1.2, beta=20)
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize("change", ["smaller", "grey", "cropped", "brighter", "recompressed"])
def test_a_changed_picture_stays_near(photos: dict[str, np.ndarray], change: str) -> None:
    for rgb in photos.values():
        assert distance(rgb, changed(rgb, change)) <= likeness.NEAR_BITS


def test_different_pictures_are_far_apart(photos: dict[str, np.ndarray]) -> None:
    cat, coffee, rocket = photos.values()
    assert min(distance(cat, coffee), distance(cat, rocket), distance(coffee, rocket)) > likeness.NEAR_BITS


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0)])
def test_a_picture_without_structure_is_like_nothing(colour: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (200, 300, 3), np.uint8)
    assert likeness.perceptual_hash(np.full((200, 300, 3), colour, np.uint8) ^ noise) is None


def test_pairs_that_a_person_judged(data: Path) -> None:
    folder = data / "flowers"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")

    def bits(*names: str) -> int:
        one, other = (cv2.imread(str(folder / f"{name}.jpg"), cv2.IMREAD_COLOR)[..., ::-1] for name in names)
        return distance(one, other)

    alike = [
        ("tulips/10163955604_ae0b830975_n", "tulips/10164073235_f29931d91e"),  # the next of a burst
        ("dandelion/506659320_6fac46551e", "dandelion/506660896_c903cca1f0"),  # in other colours
        ("dandelion/8979062599_86cac547b8", "dandelion/8980273068_cf7e8b880a_n"),
        ("sunflowers/4933824012_8cbfe606f6", "sunflowers/4933824130_b99839a80d"),
    ]
    different = [
        ("dandelion/19437710780_c5f2156438", "dandelion/8689302100_be76a16ccc_n"),
        ("dandelion/4669006062_6b3d260037_n", "dandelion/9200211647_be34ce978b"),
    ]
    assert all(bits(*pair) <= likeness.NEAR_BITS for pair in alike)
    assert all(bits(*pair) > likeness.NEAR_BITS for pair in different)


def test_what_is_seen_of_a_file(photos: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    picture = Image.fromarray(photos["cat"])

    def traits(**options: object) -> tuple[str, ...]:
        picture.save(path, **options)
        return likeness.look(path).traits

    assert traits() == ()
    exif = Image.Exif()
    exif[0x010F] = "a maker, so that the orientation is not the first entry"
    exif[0x0112] = 6
    assert traits(exif=exif) == ("rotated",)
    assert traits(exif=exif, progressive=True) == ("rotated",)
    exif[0x0112] = 1
    assert traits(exif=exif) == ()
    picture = picture.convert("CMYK")
    assert traits() == ("cmyk",)
    picture = Image.fromarray(photos["cat"]).convert("L")
    assert traits() == ("grey",)
    picture = picture.resize((31, 200)).convert("RGB")
    assert traits() == ("tiny", "grey")


@pytest.mark.parametrize("order", ["little", "big"])
def test_orientation_in_both_byte_orders(order: str) -> None:
    start = b"II*\0" if order == "little" else b"MM\0*"
    numbers = [(8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4), (8, 2), (0, 2), (0, 4)]
    tiff = start + b"".join(value.to_bytes(size, order) for value, size in numbers)
    content = b"\xff\xd8\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff + b"\xff\xda" + bytes(20)
    assert likeness.jpeg_header(content) == (0, 8)


@given(st.binary(max_size=300))
def test_any_header_is_read_to_an_end(rest: bytes) -> None:
    components, orientation = likeness.jpeg_header(b"\xff\xd8\xff" + rest)
    assert 0 <= components <= 255
    assert 1 <= orientation <= 8
    exif = b"\xff\xd8\xff\xe1" + (len(rest) + 8).to_bytes(2, "big") + b"Exif\0\0" + rest
    assert 1 <= likeness.jpeg_header(exif)[1] <= 8


def test_a_damaged_file_is_named(photo_files: dict[str, Path], tmp_path: Path) -> None:
    for name, content in {"cut.png": photo_files["cat"].read_bytes()[:5000], "text.jpg": b"no picture"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=name):
            likeness.look(tmp_path / name)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageError, match=r"gone\.jpg: No such file"):
        likeness.look(tmp_path / "gone.jpg")


def as_looks(hashes: list[bytes]) -> list[likeness.Look]:
    return [likeness.Look(1, str(index), (), content) for index, content in enumerate(hashes)]


@given(st.data())
def test_groups_are_the_pictures_of_a_class_that_are_like_their_first(draw: st.DataObject) -> None:
    count = draw.draw(st.integers(1, 12))
    seeds = st.sampled_from([bytes(32), b"\x01" + bytes(31), b"\x03" + bytes(31), b"\x07" + bytes(31), b"\xff" * 32])
    hashes = [draw.draw(seeds) for _ in range(count)]
    classes = [draw.draw(st.integers(0, 1)) for _ in range(count)]
    names = draw.draw(st.permutations([f"{index:02}" for index in range(count)]))
    looks = [likeness.Look(1, name, (), content) for name, content in zip(names, hashes)]
    labels = likeness.groups(looks, classes, near_bits=1)

    def near(one: int, other: int) -> bool:
        differ = np.unpackbits(np.frombuffer(hashes[one], np.uint8) ^ np.frombuffer(hashes[other], np.uint8)).sum()
        return classes[one] == classes[other] and bool(differ <= 1)

    firsts: list[int] = []
    for one in sorted(range(count), key=names.__getitem__):
        found = next((first for first in firsts if near(first, one)), one)
        firsts += [one] if found == one else []
        assert labels[one] == labels[found]
    assert len(set(labels.tolist())) == len(firsts)


def test_groups_reach_across_the_tiles_of_a_large_class() -> None:
    draw = np.random.default_rng(0)
    hashes = [draw.bytes(32) for _ in range(9000)]
    hashes[8999] = hashes[8500] = hashes[3]
    hashes[1500] = hashes[1400]
    labels = likeness.groups(as_looks(hashes), [0] * len(hashes))
    assert labels[3] == labels[8500] == labels[8999]
    assert labels[1400] == labels[1500]
    assert len(set(labels.tolist())) == len(hashes) - 3


def test_equal_files_are_one_group_in_any_class_and_without_near_ones() -> None:
    same = likeness.Look(1, "same", (), bytes(32))
    other = likeness.Look(1, "other", (), bytes(32))
    labels = likeness.groups([same, other, same], [0, 0, 1], near_bits=-1)
    assert labels[0] == labels[2] != labels[1]
    assert len(set(likeness.groups([same, other, same], [0, 0, 1]).tolist())) == 1
