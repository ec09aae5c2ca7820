"""What stands before the camera now, as somebody says it; and classes by the names that people give them."""

from __future__ import annotations

import difflib
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any, Callable, NamedTuple, Optional, Union

import msgspec

from edge.errors import ControlError, LabelError
from edge.labels import ClassNames

_NEAR = 3
_NEAR_ENOUGH = 0.6


def label_of(name: str, labels: Sequence[str]) -> str:
    """A class's label as the model spells it, by any name that `edge.labels.ClassNames` finds it by.

    Raises:
        LabelError: no class is called so, or classes of different labels are; the nearest ones are told.
    """
    found = list(dict.fromkeys(labels[index] for index in sorted(ClassNames(labels).find(name))))
    if len(found) > 1:
        raise LabelError(f"{name!r} may be {_either(found)}: give the whole label.")
    if found:
        return found[0]
    near = nearest(name, labels)
    advice = f"did you mean {_either(near)}?" if near else "give one of the names in its label file."
    raise LabelError(f"{name!r} is none of the model's {len(labels)} classes: {advice}")


def nearest(name: str, labels: Sequence[str]) -> list[str]:
    """The few labels that are most like a name, or that hold it; none when nothing is like it."""
    plain = name.casefold().replace("_", " ").strip()
    likeness: dict[str, float] = {}
    matcher = difflib.SequenceMatcher(b=plain)
    for label in dict.fromkeys(labels):
        for synonym in label.casefold().split(","):
            matcher.set_seq1(synonym.strip())
            if plain and plain in synonym:
                likeness[label] = 1.0
            elif matcher.real_quick_ratio() >= _NEAR_ENOUGH and matcher.quick_ratio() >= _NEAR_ENOUGH:
                likeness[label] = max(likeness.get(label, 0.0), matcher.ratio())
    near = [label for label, ratio in likeness.items() if ratio >= _NEAR_ENOUGH]
    return sorted(near, key=lambda label: -likeness[label])[:_NEAR]


class Said(NamedTuple):
    """A truth, who said it, and when."""

    name: str
    by: str
    since_ns: int
    """On the monotonic clock."""


class Truth:
    """The present truth of a running daemon, for any number of threads."""

    def __init__(self, labels: Sequence[str], on_change: Callable[[Optional[str], str], object]) -> None:
        """Begin with no truth.

        Args:
            labels: the model's, by output index.
            on_change: called with the new truth (None: cleared) and who said it, one call after the other, on the
                thread of whoever said it; not when the same is said again.
        """
        self._labels = tuple(labels)
        self._on_change = on_change
        self._said: Optional[Said] = None
        self._over = False
        self._changing = threading.Lock()

    @property
    def current(self) -> Optional[str]:
        """The label, as the model spells it, of what stands before the camera; None when nobody said so."""
        said = self._said
        return said.name if said else None

    @property
    def said(self) -> Optional[Said]:
        """The present truth with who said it and since when."""
        return self._said

    def set(self, name: str, by: str) -> str:
        """Say what stands before the camera from now on; the label as the model spells it.

        Raises:
            LabelError: see `label_of`.
            ControlError: it was handed over.
        """
        label = label_of(name, self._labels)
        with self._changing:
            self._require_present()
            if self.current != label:
                self._said = Said(label, by, time.monotonic_ns())
                self._on_change(label, by)
        return label

    def hand_over(self) -> Optional[Said]:
        """The truth, for `take_over` of the run that follows; from now on nothing can be said here any more."""
        with self._changing:
            self._over = True
            return self._said

    def take_over(self, said: Optional[Said]) -> None:
        """Go on with the truth of an earlier run; a class that this model does not know is no truth any more."""
        if said is not None and said.name in self._labels:
            with self._changing:
                self._said = said
                self._on_change(said.name, said.by)

    def clear(self, by: str) -> None:
        """Say that it is not known any more what stands before the camera.

        Raises:
            ControlError: it was handed over.
        """
        with self._changing:
            self._require_present()
            if self._said is not None:
                self._said = None
                self._on_change(None, by)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the request "truth" of `edge.control`: set or clear when it holds `name`; then the present truth.

        Raises:
            ControlError: the request is not as it should be, or it was handed over.
            LabelError: see `label_of`.
        """
        try:
            wanted = msgspec.convert(request, _Request)
        except msgspec.ValidationError as error:
            raise ControlError(f'The request "truth" is not as it should be: {error}.') from None
        if isinstance(wanted.name, str):
            self.set(wanted.name, wanted.by)
        elif wanted.name is None:
            self.clear(wanted.by)
        said = self._said
        if said is None:
            return {"truth": None}
        return {"truth": said.name, "by": said.by, "for_s": round((time.monotonic_ns() - said.since_ns) / 1e9, 3)}

    def _require_present(self) -> None:
        if self._over:
            raise ControlError("The daemon begins a run: try again in a moment.")


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    do: str
    name: Union[str, msgspec.UnsetType, None] = msgspec.UNSET
    by: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "somebody"


def _either(labels: Sequence[str]) -> str:
    quoted = [repr(label) for label in labels]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
