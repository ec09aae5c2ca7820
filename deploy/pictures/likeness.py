"""What a picture file is, and which pictures show the same: a perceptual hash and groups of its neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ImageError
from edge.images import decode_rgb, path_text

SMALLEST_PX = 32
"""A shorter side below this counts as tiny: the smallest backbone input is seven times as large."""
NEAR_BITS = 76
"""The most bits of 256 by which the hashes of near duplicates differ.

Chosen by eye on the 3,670 pictures of tf_flowers (6.7 million pairs): all 39 pairs up to 76 bits show one picture twice
(cropped a little, in other colours, or the next of a burst); the one at 78 shows one rose with and without its leaves,
both at 80 and nearly all of those at 82 to 88 show different flowers. On 2,000 cats and dogs one pair lies at 6 bits, a
true one, and the next, a false one, at 84.
"""
_SIDE_PX = 64
_FREQUENCIES = 16
_FLAT = 2.0  # standard deviation in grey levels below which a hash would be that of the noise
_ROWS, _COLUMNS = 1024, 8192  # a tile of distances: 32 MB
_ORIENTATION = 0x0112  # EXIF 2.3, table 4
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))


class Look(msgspec.Struct, frozen=True):
    """What was seen of one picture file."""

    size_bytes: int
    sha256: str
    traits: tuple[str, ...]
    """Of "tiny" (shorter side below 32 px), "grey" (all channels equal), "cmyk" and "rotated" (by EXIF)."""
    hash: Optional[bytes]
    """256 bits (see `perceptual_hash`); None for a picture without structure, which resembles nothing."""


def look(path: Path) -> Look:
    """Read and decode a picture file, through the same code as the device's.

    Raises:
        ImageError: it cannot be read or is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"Cannot read the picture {path_text(path)}: {error.strerror or error}.") from None
    rgb = decode_rgb(content, path_text(path))
    small = cv2.resize(rgb, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    components, orientation = jpeg_header(content)
    seen = {
        "tiny": min(rgb.shape[:2]) < SMALLEST_PX,
        "grey": bool(np.ptp(small, axis=2).max() == 0),
        "cmyk": components == 4,
        "rotated": orientation > 1,
    }
    return Look(
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        traits=tuple(trait for trait, holds in seen.items() if holds),
        hash=perceptual_hash(small.astype(np.uint8, copy=False)),
    )


def perceptual_hash(rgb: NDArray[np.uint8]) -> Optional[bytes]:
    """256 bits that stay mostly the same when a picture is scaled, recompressed, brightened or coloured otherwise.

    The 16 x 16 lowest frequencies of the discrete cosine transform of the picture in grey, 64 x 64 px, each a bit:
    whether it exceeds their median (Zauner, "Implementation and benchmarking of perceptual image hash functions",
    2010, section 3.2.1, which takes 8 x 8 of 32 x 32: too few to tell one dandelion from another).

    Args:
        rgb: uint8, shape (height_px, width_px, 3).

    Returns:
        32 bytes, or None when the picture has no structure.
    """
    grey = cv2.cvtColor(cv2.resize(rgb, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    if grey.std() < _FLAT:
        return None
    lowest = cv2.dct(grey.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES]
    return np.packbits(lowest > np.median(lowest)).tobytes()


def groups(looks: Sequence[Look], classes: Sequence[int], near_bits: int = NEAR_BITS) -> NDArray[np.int64]:
    """Group equal files of any class, and within each class pictures that look like the first of their group.

    First is the one of the lowest SHA-256. Likeness does not reach on through others, as then a slow change over many
    frames would join them all. Alike pictures of two classes stay apart: there the difference is what is to be
    learned, as with a camera that does not move. All pairs of a class are compared, 2 x 256 operations each, by matrix
    multiplication: 100,000 pictures of one class take about as long as decoding them.

    Args:
        looks: of n pictures.
        classes: their class indices.
        near_bits: the most bits that differ between alike pictures; below 0 only equal files are grouped.

    Returns:
        int64, shape (n,): for each picture the index of one of its group, the same for all of them.
    """
    first: dict[str, int] = {}
    labels = np.array([first.setdefault(seen.sha256, index) for index, seen in enumerate(looks)], np.int64)
    by_class: dict[int, list[int]] = {}
    for index in sorted(range(len(looks)), key=lambda index: looks[index].sha256):
        if looks[index].hash is not None:
            by_class.setdefault(classes[index], []).append(index)
    for indices in by_class.values():
        firsts = _firsts([looks[index].hash or b"" for index in indices], near_bits)
        for index, first_place in zip(indices, firsts.tolist()):
            own, joined = labels[indices[first_place]], labels[index]
            if own != joined:
                labels[labels == joined] = own
    return labels


def _firsts(hashes: list[bytes], near_bits: int) -> NDArray[np.int64]:
    """The place of the first of each one's group: of the first near one that began a group, or its own."""
    bits = np.unpackbits(np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), -1), axis=1)
    signs = 2 * bits.astype(np.float32) - 1
    least = bits.shape[1] - 2 * near_bits  # the product of signs is: equal bits - different bits
    firsts = np.arange(len(hashes))
    for top in range(0, len(hashes), _ROWS):
        for left in range(top, len(hashes), _COLUMNS):
            alike = signs[top : top + _ROWS] @ signs[left : left + _COLUMNS].T >= least
            for row in np.flatnonzero(alike.sum(axis=1) > (left == top)):
                near = left + np.flatnonzero(alike[row])
                if firsts[top + row] == top + row:
                    firsts[near[(near > top + row) & (firsts[near] == near)]] = top + row
    return firsts


def jpeg_header(content: bytes) -> tuple[int, int]:
    """The number of colour components and the EXIF orientation (1 is upright) of a JPEG file; (0, 1) for others."""
    components, orientation = 0, 1
    position = 2
    if not content.startswith(b"\xff\xd8\xff"):
        return components, orientation
    while content[position : position + 1] == b"\xff" and len(content) > position + 10:
        kind = content[position + 1]
        if kind in (0x01, 0xFF, *range(0xD0, 0xD8)):  # without a length, or filling (ITU-T T.81, B.1)
            position += 1 if kind == 0xFF else 2
            continue
        size = int.from_bytes(content[position + 2 : position + 4], "big")
        if kind == 0xE1 and content[position + 4 : position + 10] == b"Exif\0\0":
            orientation = _orientation(content[position + 10 : position + 2 + size])
        elif kind in _FRAMES:
            components = content[position + 9]
        elif kind == 0xDA:  # the scan begins: no header comes after it
            break
        position += 2 + size
    return components, orientation


def _orientation(tiff: bytes) -> int:
    """The orientation told in the first directory of EXIF data (TIFF 6.0, section 2)."""
    order = "little" if tiff[:2] == b"II" else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * min(number(directory, 2), len(tiff) // 12), 12):
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
