"""Sees every frame and keeps pictures of a few: chosen where frames are classified, stored on a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections import deque
from pathlib import Path
from typing import Callable, Optional, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import EdgeError
from edge.privacy import PrivacySettings, Rectangle, black_out
from edge.records import Frame, Record
from edge.review.album import Album, file_name
from edge.review.settings import ReviewSettings
from edge.review.strata import Candidate, Kept, Strata, block_ns

# A program that is stopped by a signal is to end within a second.
CLOSE_S = 0.5
_WAITING_BLOCKS = 2  # so many may wait for a medium that is stuck; their pictures are small by then


class NotePicture(Protocol):
    """What takes note of a picture; see `edge.journal`. Called on the sampler's thread."""

    def __call__(self, record: Record, stratum: str, stands_for: float, file: str, /) -> object:
        """Note that `file`, of the folder of pictures, shows the frame of `record`."""


class Sampler:
    """Keeps one picture of each stratum and block of time, with the number of frames that it stands for.

    A frame that is not chosen costs a few comparisons and a random number; one that is costs a reference besides. All
    else happens on a thread: the chosen frame is made small, the masked rectangles black, and at the end of the block
    it becomes a file. What goes wrong with files is told once, until it has come right; frames are classified on, and
    the next block is a new try.
    """

    def __init__(
        self,
        folder: Path,
        settings: ReviewSettings,
        privacy: PrivacySettings,
        picture: NotePicture,
        *,
        on_delete: Callable[[str], object] = lambda _file: None,
        on_trouble: Callable[[str], object] = lambda _sentence: None,
        rng: Optional[random.Random] = None,
    ) -> None:
        """Start the thread, unless `settings.keep_pictures` is off: then nothing is ever done.

        Args:
            folder: for the pictures; made when the first comes.
            settings: how many and which.
            privacy: what nobody is to see.
            picture: is told of each file that was written, on the sampler's thread.
            on_delete: gets the name of each file that was deleted to make room, on the sampler's thread.
            on_trouble: gets a sentence when pictures cannot be kept, on either thread; so does the log.
            rng: draws; a seeded one for tests.
        """
        self.trouble: Optional[str] = None
        """Why the newest pictures were not kept; None when all is well."""
        self._settings = settings
        self._mask = privacy.mask
        self._folder = folder
        self._picture = picture
        self._on_trouble = on_trouble
        self._strata = Strata(block_ns(settings.max_pictures_per_day), settings.unsure_below, rng or random.Random())
        self._album = Album(folder, settings.max_bytes, settings.max_pictures_per_day, on_delete)
        self._blocks: deque[list[Kept]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._left_behind = False
        self._sees = settings.keep_pictures
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
        if self._sees:
            self._thread.start()

    def see(self, frame: Frame, record: Record) -> None:
        """Take note of a frame and its answer; for the thread that classifies, which it never makes wait.

        The frame's pixels must not change afterwards. A frame without pixels (see `edge.loop.ahead`) ends the sampling.
        """
        if not self._sees:
            return
        if not frame.pixels.size:
            self._sees = False
            self._complain("This source is read ahead, and its frames' pixels are gone by then: no pictures are kept.")
            return
        if self._strata.is_over(record.monotonic_ns):
            self._end_block()
        if self._strata.see(frame, record):
            self._wake.set()

    def close(self) -> None:
        """End the block under way, store its pictures and end the thread; one that is stuck is left behind."""
        self._sees = False
        if self._closing or not self._thread.is_alive():
            return
        self._end_block()
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S)
        self._left_behind = self._thread.is_alive()
        if self._left_behind:
            self._complain(f"Writing pictures to {self._folder} takes too long: the last ones may be lost.")

    def _end_block(self) -> None:
        block = self._strata.close()
        if len(self._blocks) < _WAITING_BLOCKS:
            self._blocks.append(block)
            self._wake.set()
        else:
            self._complain(f"Writing pictures to {self._folder} takes too long: those that came since are left out.")

    def _work(self) -> None:
        with contextlib.suppress(OSError):  # tried again with the first picture, and told then
            self._album.look()
        closing = False
        while not closing:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing
            for candidate in tuple(self._strata.chosen):
                if candidate is not None:
                    with contextlib.suppress(cv2.error, MemoryError):  # tried again when it is stored, and told then
                        self._prepare(candidate)
            while self._blocks:
                self._store(self._blocks[0])
                self._blocks.popleft()

    def _prepare(self, candidate: Candidate) -> None:
        if not candidate.ready:
            candidate.pixels = miniature(candidate.pixels, self._settings.longest_side_px, self._mask)
            candidate.ready = True

    def _store(self, block: list[Kept]) -> None:
        reasons = [reason for kept in block if (reason := self._try(kept))]
        if reasons:
            self._complain(reasons[0])
        elif block:
            self.trouble = None

    def _try(self, kept: Kept) -> Optional[str]:
        """Store a picture; returns what kept it from that."""
        try:
            self._prepare(kept.candidate)
            self._keep(kept)
        except (EdgeError, cv2.error, MemoryError) as error:
            return f"A picture was not kept: {' '.join(str(error).split())}"
        except OSError as error:
            return f"Cannot keep pictures in {self._folder}: {error.strerror or error}."
        return None

    def _keep(self, kept: Kept) -> None:
        record = kept.candidate.record
        content = encode(kept.candidate.pixels, self._settings.quality)
        name = file_name(record.utc, record.run, record.sequence)
        self._album.make_room(record.utc, len(content))
        self._album.keep(name, content)
        if not self._left_behind:  # else whoever was told of pictures is gone
            self._picture(record, kept.stratum, float(kept.stands_for), name)

    def _complain(self, sentence: str) -> None:
        if self.trouble is None:
            logging.getLogger(__name__).warning("%s", sentence)
            self._on_trouble(sentence)
        self.trouble = sentence


def miniature(pixels: NDArray[np.uint8], longest_side_px: int, mask: tuple[Rectangle, ...]) -> NDArray[np.uint8]:
    """A copy that is no larger than `longest_side_px`, with the masked rectangles black; shape (height, width, 3)."""
    height_px, width_px = pixels.shape[:2]
    scale = min(1.0, longest_side_px / max(height_px, width_px))
    size_px = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    # By area: each pixel is a mean of those that it covers, so nothing from within a mask gets out of it.
    small = cv2.resize(np.ascontiguousarray(pixels), size_px, interpolation=cv2.INTER_AREA)
    copy = small.astype(np.uint8)
    black_out(copy, mask)
    return copy


def encode(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG file without metadata.

    Args:
        pixels: RGB, shape (height_px, width_px, 3).
        quality: 1 to 100.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    # Colour at full size: at half of it a mask's black would be stained up to 16 px deep.
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, content = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    return content.tobytes()
