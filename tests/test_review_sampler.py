"""Pictures from frames: small, masked, without metadata; and what happens when they cannot be kept."""

from __future__ import annotations

import logging
import os
import random
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Callable

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.privacy import PrivacySettings, Rectangle
from edge.records import Frame, Prediction, Record, Timings
from edge.review.sampler import Sampler, encode, miniature
from edge.review.settings import ReviewSettings
from edge.review.strata import block_ns

ON = ReviewSettings(keep_pictures=True)
NO_MASK = PrivacySettings()
BLOCK_NS = block_ns(ON.max_pictures_per_day)
LONG_S = 10.0

fractions = st.floats(0, 1)
rectangles = st.tuples(fractions, fractions, fractions, fractions).filter(lambda r: r[0] < r[2] and r[1] < r[3])


class Puppet:
    """A sampler with a stream that the test paces, and what it told."""

    def __init__(self, folder: Path, settings: ReviewSettings = ON, privacy: PrivacySettings = NO_MASK) -> None:
        self.rows: list[tuple[Record, str, float, str]] = []
        self.troubles: list[str] = []
        self.deleted: list[str] = []
        self.sequence = 0
        self.now_ns = 1_000_000_000
        self.sampler = Sampler(
            *(folder, settings, privacy, lambda *row: self.rows.append(row)),
            on_delete=self.deleted.append,
            on_trouble=self.troubles.append,
            rng=random.Random(1),
        )

    def see(self, pixels: np.ndarray, class_id: int = 0, score: float = 0.9, step_ns: int = 33_000_000) -> None:
        self.now_ns += step_ns
        seconds = self.now_ns / 1e9
        record = Record(
            run="00ff",
            sequence=self.sequence,
            utc=time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(1_767_225_600 + seconds)),
            monotonic_ns=self.now_ns,
            timings=Timings(0, 0, 0, 0),
            predictions=(Prediction(class_id, str(class_id), score),),
            backend="cpu",
        )
        self.sampler.see(Frame(pixels, self.sequence, self.now_ns), record)
        self.sequence += 1

    def next_block(self) -> None:
        self.now_ns += BLOCK_NS

    def wait(self, reached: Callable[[], Any]) -> None:
        until_s = time.monotonic() + LONG_S
        while not reached():
            assert time.monotonic() < until_s
            time.sleep(0.005)


@contextmanager
def puppet(folder: Path, settings: ReviewSettings = ON, privacy: PrivacySettings = NO_MASK) -> Iterator[Puppet]:
    made = Puppet(folder, settings, privacy)
    with closing(made.sampler):
        yield made


def grey(value: int = 100, height_px: int = 48, width_px: int = 64) -> np.ndarray:
    return np.full((height_px, width_px, 3), value, np.uint8)


def read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_a_run_leaves_a_picture_of_each_stratum_and_block(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    with puppet(folder) as stream:
        for value in range(10):
            stream.see(grey(value), score=0.9 if value < 6 else 0.2)
        stream.see(grey(10), class_id=1)
        stream.next_block()
        stream.see(grey(11), class_id=1)
    assert stream.troubles == []
    told = [(stratum, stands_for) for _, stratum, stands_for, _ in stream.rows]
    assert told == [("changed", 1.0), ("unsure", 4.0), ("ordinary", 6.0), ("ordinary", 1.0)]
    assert sorted(os.listdir(folder)) == sorted(file for _, _, _, file in stream.rows)
    for record, _, _, file in stream.rows:
        assert file.startswith("20260101-00")
        assert file.endswith(f"-00ff-{record.sequence}.jpg")
        # the frame's own picture, not another's
        assert np.abs(read(folder / file).astype(int) - record.sequence).max() <= 2


def test_nothing_is_kept_unless_it_was_asked_for(tmp_path: Path) -> None:
    with puppet(tmp_path / "pictures", ReviewSettings()) as stream:
        for _ in range(3):
            stream.see(grey())
    assert stream.rows == []
    assert os.listdir(tmp_path) == []


def test_frames_without_pixels_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with puppet(tmp_path / "pictures") as stream:
        for _ in range(3):
            stream.see(np.empty((0, 0, 3), np.uint8))
        assert "read ahead" in (stream.sampler.trouble or "")
    assert len(stream.troubles) == len(caplog.records) == 1
    assert "read ahead" in (stream.sampler.trouble or "")
    assert os.listdir(tmp_path) == []


def test_trouble_is_told_once_and_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "pictures"
    folder.write_text("in the way")
    with caplog.at_level(logging.WARNING), puppet(folder) as stream:
        for _ in range(3):
            stream.see(grey())
            stream.next_block()
        stream.wait(lambda: stream.sampler.trouble)
        assert len(stream.troubles) == len(caplog.records) == 1
        assert f"Cannot keep pictures in {folder}: " in stream.troubles[0]
        folder.unlink()
        stream.see(grey())
        stream.wait(lambda: stream.sampler.trouble is None)
    assert len(stream.rows) in (2, 3)  # the second block may have come after the way was free
    assert len(stream.troubles) == 1


def test_old_pictures_make_room_and_are_told(tmp_path: Path) -> None:
    one = len(encode(grey(), ON.quality))
    with puppet(tmp_path, msgspec.structs.replace(ON, max_bytes=2 * one)) as stream:
        for count in range(1, 5):
            stream.see(grey())
            stream.next_block()
            stream.wait(lambda count=count: len(stream.rows) == count - 1)
    files = [file for _, _, _, file in stream.rows]
    assert sorted(os.listdir(tmp_path)) == files[2:]
    assert stream.deleted == files[:2]


def test_memory_holds_a_few_frames_however_many_come(tmp_path: Path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    with puppet(tmp_path) as stream:
        for number in range(2_000):
            pixels = grey(height_px=4, width_px=4)
            alive.append(weakref.ref(pixels))
            stream.see(pixels, class_id=number % 7 // 6, score=(number % 5) / 5)
            if number % 400 == 399:
                stream.next_block()
            del pixels
            # three candidates of the block under way, of two that wait and of one that is written; one on its way
            assert number % 100 or sum(reference() is not None for reference in alive) <= 13


def test_a_stuck_medium_costs_pictures_not_frames(tmp_path: Path) -> None:
    entered, blocked = [], [True]

    def picture(*row: Any) -> None:
        entered.append(row)
        while blocked:
            time.sleep(0.005)

    stream = Puppet(tmp_path)
    sampler = stream.sampler = Sampler(tmp_path, ON, NO_MASK, picture, on_trouble=stream.troubles.append)
    stream.see(grey())
    stream.next_block()
    stream.see(grey())
    stream.wait(lambda: entered)
    for _ in range(5):
        stream.next_block()
        stream.see(grey())
    assert len(stream.troubles) == 1
    assert "takes too long" in stream.troubles[0]
    blocked.clear()
    stream.wait(lambda: sampler.trouble is None)
    sampler.close()
    assert len(entered) == 3  # two blocks could wait, and the last frames' is the third; the others are lost
    sampler.close()


@settings(max_examples=30)
@given(
    rectangles,
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(16, 100),
    st.integers(0, 2**32 - 1),
)
def test_nothing_of_what_a_mask_covers_is_left(
    rectangle: Rectangle, size_px: tuple[int, int], longest_side_px: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    one = draw.integers(0, 256, (*size_px, 3), np.uint8)
    other = one.copy()
    left, top, right, bottom = rectangle
    rows = slice(int(np.ceil(top * size_px[0])), int(np.floor(bottom * size_px[0])))
    columns = slice(int(np.ceil(left * size_px[1])), int(np.floor(right * size_px[1])))
    other[rows, columns] = draw.integers(0, 256, other[rows, columns].shape, np.uint8)
    small = [miniature(pixels, longest_side_px, (rectangle,)) for pixels in (one, other)]
    assert max(small[0].shape) <= longest_side_px
    assert (small[0] == small[1]).all()
    stored = cv2.imdecode(np.frombuffer(encode(small[0], 80), np.uint8), cv2.IMREAD_COLOR)
    assert stored.shape == small[0].shape
    height_px, width_px = stored.shape[:2]
    # a JPEG works in blocks of 8 px: those that lie within the mask are wholly black
    inner = stored[
        int(np.floor(top * height_px)) + 8 : max(0, int(np.ceil(bottom * height_px)) - 8),
        int(np.floor(left * width_px)) + 8 : max(0, int(np.ceil(right * width_px)) - 8),
    ]
    assert not inner.any()


def test_a_mask_is_black_in_the_file_and_the_frame_is_left_alone(tmp_path: Path, photos: dict[str, np.ndarray]) -> None:
    cat = photos["cat"].copy()
    before = cat.copy()
    mask = PrivacySettings(((0.251, 0.333, 0.749, 0.9),))
    with puppet(tmp_path, msgspec.structs.replace(ON, longest_side_px=200), mask) as stream:
        stream.see(cat)
    assert (cat == before).all()
    ((_, _, _, file),) = stream.rows
    stored = read(tmp_path / file)
    assert stored.shape == (133, 200, 3)  # of 300 x 451
    height_px, width_px = stored.shape[:2]
    inner = stored[
        int(0.333 * height_px) + 8 : int(0.9 * height_px) - 8, int(0.251 * width_px) + 8 : int(0.749 * width_px) - 8
    ]
    assert inner.size
    assert not inner.any()
    outside = cv2.resize(cat, (width_px, height_px), interpolation=cv2.INTER_AREA)[:40]
    assert np.abs(stored[:40].astype(int) - outside).mean() < 5


def test_files_hold_no_metadata() -> None:
    content, position, kinds = encode(grey(), 80), 2, set[int]()
    while content[position + 1] != 0xDA:  # start of scan
        kinds.add(content[position + 1])
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    # APP0 (that it is a JFIF file), tables and the frame's header; no EXIF (APP1), no other APP, no comment (FE)
    assert kinds <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDD}


def test_a_view_of_a_larger_picture_can_be_kept(tmp_path: Path, photos: dict[str, np.ndarray]) -> None:
    with puppet(tmp_path) as stream:
        stream.see(photos["coffee"][::-1, ::-1])
    assert len(stream.rows) == 1
