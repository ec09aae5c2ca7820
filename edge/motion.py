"""Lets only those pictures through that differ from the last one that was classified."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class MotionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts as a change."""

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """Share of the picture that must have changed."""
    at_least_every_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 10.0
    """A picture is classified so often even when nothing moves."""
