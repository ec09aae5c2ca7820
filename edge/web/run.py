"""What the page tells of one run: counted on the thread that classifies, put together on the server's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Optional

from edge.labels import ClassNames
from edge.overview import Overview
from edge.records import Record
from edge.web.messages import in_json
from edge.web.recent import Recent

_MOST_ANSWERS = 10_000
"""Truths and answers to them that are told apart; a camera that makes up truths must not fill the memory."""


def sha_of(labels: Sequence[str]) -> str:
    """Another one means other labels."""
    return hashlib.sha256("\0".join(labels).encode("utf-8", "surrogatepass")).hexdigest()


class Run:
    """A run as the page sees it."""

    def __init__(self, overview: Overview) -> None:
        """It begins now."""
        self.overview = overview
        self.recent = Recent(time.monotonic_ns(), self._temperature_c)
        self._answers: dict[tuple[str, int], int] = {}

    def write(self, record: Record) -> None:
        """Take in a frame's record."""
        self.recent.add(record)
        if record.truth is not None:
            answer = (record.truth, record.predictions[0].class_id)
            if answer in self._answers:
                self._answers[answer] += 1
            elif len(self._answers) < _MOST_ANSWERS:
                self._answers[answer] = 1

    def told(self) -> dict[str, Any]:
        """How it goes; costs up to a millisecond."""
        overview = self.overview
        newest = overview.newest
        shown = newest.predictions[:5] if newest else ()
        return {
            "status": overview.status(),
            "said": overview.answer_truth({"do": "truth"}),
            "predictions": [
                {"label": each.label, "score": round(each.score, 4), "class_id": each.class_id} for each in shown
            ],
            "events": [
                {"sequence": each.sequence, "utc": each.utc, "kind": each.kind, "text": each.text}
                for each in list(overview.events)
            ],
            "labels_sha": self.labels_sha,
        }

    @cached_property
    def labels_sha(self) -> str:
        """Another one means other labels."""
        return sha_of(self.overview.labels)

    @cached_property
    def labels(self) -> bytes:
        """The class names in JSON."""
        return in_json({"labels": self.overview.labels, "sha": self.labels_sha})

    def live_accuracy(self) -> dict[str, Any]:
        """How many of this run's frames with a truth were answered with it."""
        counted = right = 0
        for (truth, class_id), frames in list(self._answers.items()):
            meant = self._names.find(truth)
            counted += frames if meant else 0
            right += frames if class_id in meant else 0
        return {"frames": counted, "right": right, "share": round(right / counted, 6) if counted else None}

    @cached_property
    def _names(self) -> ClassNames:
        return ClassNames(self.overview.labels)

    def _temperature_c(self) -> Optional[float]:
        live = self.overview.live
        return live.temperature_c if live else None
