from __future__ import annotations

from typing import Annotated, Any, Literal, Optional

import msgspec
import pytest
from msgspec import Meta

from edge.config.document import KEYS
from edge.expectations import in_words, unmet


class _Inner(msgspec.Struct):
    value: int = 0


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (bool, 1, "true or false"),
        (str, None, "text"),
        (int, True, "a whole number"),
        (float, "1", "a number"),
        (Annotated[int, Meta(ge=1)], 0, "a whole number of at least 1"),
        (Annotated[int, Meta(ge=1, le=9)], 10, "a whole number from 1 to 9"),
        (Annotated[float, Meta(ge=0.5, le=1_000_000)], float("nan"), "a number from 0.5 to 1000000"),
        (Optional[Annotated[int, Meta(ge=1)]], 0, "a whole number of at least 1, or null"),
        (Literal["area", "bicubic"], "x", "area or bicubic"),
        (tuple[str, ...], "x", "a list, each item text"),
        (tuple[float, float], [1], "a list of 2 values"),
        (Annotated[str, Meta(pattern="^a$", description="an a")], "b", "an a"),
        (_Inner, 1, "keys with values"),
    ],
)
def test_what_is_wrong_is_told_in_words(kind: Any, wrong: object, words: str) -> None:
    assert unmet(wrong, kind) == words


def test_an_immense_number_is_told_too() -> None:
    assert unmet(16**20_000, Annotated[float, Meta(ge=0, le=1)]) == "a number from 0 to 1"


def test_what_is_right_is_not_told() -> None:
    assert unmet(3, Optional[Annotated[int, Meta(ge=1, le=3)]]) is None
    assert unmet(["a"], tuple[str, ...]) is None


def test_every_number_of_the_configuration_has_both_bounds() -> None:
    for key, kind in KEYS.items():
        words = in_words(kind)
        assert "number" not in words or "number from" in words, key
