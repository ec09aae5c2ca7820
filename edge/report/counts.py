"""What all windows of a journal add up to."""

from __future__ import annotations

from collections import Counter, defaultdict

from edge.report.reading import Reader, SparseHistograms
from edge.report.rows import Window


class Counts:
    """Sums over windows."""

    def __init__(self, reader: Reader) -> None:
        """Begin with nothing; the reader tells the labels."""
        self._reader = reader
        self.long_ns = self.frames = self.unchanged = self.unrecorded = self.windows = 0
        self.tells_throttling = False
        self.drops: Counter[str] = Counter()
        self.governors: dict[str, None] = {}
        self.states: defaultdict[int, Counter[str]] = defaultdict(Counter)
        """Run id -> state -> answers."""
        self._predicted: Counter[tuple[int, int]] = Counter()

    def add(self, window: Window, histograms: SparseHistograms) -> None:
        """Count a window."""
        self.windows += 1
        self.long_ns += max(0, window.ended_ns - window.began_ns)
        self.frames += window.frames
        self.unchanged += window.unchanged
        self.unrecorded += window.unrecorded
        self.tells_throttling |= window.throttled is not None
        self.drops.update(window.drops)
        if window.governor is not None:
            self.governors[window.governor] = None
        for state, stages in histograms.items():
            if "age" in stages:
                self.states[window.run_id][state] += stages["age"].samples
        for answer in window.answers:
            self._predicted[window.run_id, answer.class_id] += answer.frames

    def predicted(self) -> dict[str, int]:
        """First predictions by label, the most frequent first."""
        labels: Counter[str] = Counter()
        for (run_id, class_id), frames in self._predicted.items():
            run = self._reader.runs.get(run_id)
            labels[run.model.label(class_id) if run else f"class {class_id}"] += frames
        return dict(sorted(labels.items(), key=lambda item: (-item[1], item[0])))
