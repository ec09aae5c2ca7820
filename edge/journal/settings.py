"""What a journal may cost, and how it does."""

from __future__ import annotations

from typing import Annotated, Optional

import msgspec
from msgspec import Meta

_MOST_BYTES = 1_000_000_000_000


class JournalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether and how a run is recorded."""

    path: Optional[str] = None
    """The journal's file; null: nothing is recorded."""
    commit_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """What happened is written so often, as long as the day's budget allows; a crash or a kill loses no more."""
    max_bytes: Annotated[int, Meta(ge=1_000_000, le=_MOST_BYTES)] = 500_000_000
    """Size of the file, at which the oldest frames go; minutes and events stay."""
    max_bytes_per_day: Annotated[int, Meta(ge=1_000_000, le=_MOST_BYTES)] = 20_000_000
    """Written to the medium. Where more would be, batches become rarer (up to five minutes), then rows of frames."""
    min_free_bytes: Annotated[int, Meta(ge=0, le=_MOST_BYTES)] = 100_000_000
    """No frame gets a row while the disk has less."""
    window_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Length of the windows in which all frames are counted."""


class JournalStatus(msgspec.Struct, frozen=True):
    """How a journal does."""

    path: str
    recording: bool
    why: Optional[str]
    """Why it is not recording."""
    frames: int
    """Taken in."""
    kept: int
    """Rows of frames written."""
    unrecorded: int
    """Frames, or their rows, that were lost."""
    keep_every: int
    """One of so many frames gets a row at present."""
    batch_s: float
    """What happened is written so often at present: a crash or a kill loses no more."""
    file_bytes: int
    written_bytes: int
    """To the medium, since the start."""
    moved_aside: Optional[str]
    """The new name of a damaged journal that was found."""
