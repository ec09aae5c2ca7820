"""What is kept for a person to look at."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class ReviewSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which pictures are kept, and how many."""

    keep_pictures: bool = False
    """Off: no picture is ever stored."""
    max_pictures_per_day: Annotated[int, Meta(ge=1, le=100_000)] = 200
    max_bytes: Annotated[int, Meta(ge=0, le=1_000_000_000_000)] = 200_000_000
    """Of the folder; the oldest pictures are deleted first."""
    unsure_below: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """A frame whose best score is lower counts as unsure."""
    longest_side_px: Annotated[int, Meta(ge=16, le=65_535)] = 480
    """Larger pictures are made smaller."""
    quality: Annotated[int, Meta(ge=1, le=100)] = 80
    """Of the JPEG files."""
