"""Names in place of the numbers of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Optional

from edge.journal.packing import SCORE_UNITS
from edge.report.reading import Reader
from edge.report.rows import NO_CLASS, top_ids, top_scores


class Named:
    """Names of runs and classes, looked up once for each."""

    def __init__(self, reader: Reader) -> None:
        """Take the runs and models of a journal."""
        self._runs = {run.id: run.run for run in reader.runs.values()}
        self._backends = {run.id: run.backend for run in reader.runs.values()}
        self._models = {run.id: run.model for run in reader.runs.values()}
        self._known: dict[tuple[int, int], Optional[str]] = {}

    def runs(self, run_ids: Sequence[Optional[int]]) -> list[Optional[str]]:
        """What runs are called, by the ids of their rows."""
        return [None if run_id is None else self._runs.get(run_id) for run_id in run_ids]

    def backends(self, run_ids: Sequence[int]) -> list[Optional[str]]:
        """What runs are for, by the ids of their rows."""
        return [self._backends.get(run_id) for run_id in run_ids]

    def top(
        self, run_id: Sequence[int], class_id: Sequence[int], score: Sequence[int], others: Sequence[bytes]
    ) -> Iterator[list[Any]]:
        """Label and score of the first prediction, of the second, and so on."""
        ids, scores = top_ids(class_id, others), top_scores(score, others)
        for rank in range(ids.shape[1]):
            column = ids[:, rank].tolist()
            yield [self._label(key) for key in zip(run_id, column)]
            units = scores[:, rank].tolist()
            yield [None if each == NO_CLASS else unit / SCORE_UNITS for each, unit in zip(column, units)]

    def _label(self, key: tuple[int, int]) -> Optional[str]:
        if key not in self._known:
            model = self._models.get(key[0])
            self._known[key] = model.label(key[1]) if model and key[1] != NO_CLASS else None
        return self._known[key]
