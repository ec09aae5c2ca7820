"""A run with its journal, as the service puts it together, for tests that have a loop of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from edge import Classifier
from edge.config import Config
from edge.journal import journal_path
from edge.overview import Overview
from edge.recording import Recording


class Run(NamedTuple):
    """What belongs to a run."""

    overview: Overview
    recording: Recording


@contextmanager
def recorded(config: Config, classifier: Classifier, camera: str = "camera", opened_ns: int = 0) -> Iterator[Run]:
    """A run, from its beginning to its end."""
    overview = Overview(classifier.run, classifier.ran, classifier.bundle.labels, camera, journal_path(config.journal))
    with closing(Recording(config, classifier, overview, opened_ns)) as recording, closing(overview):
        overview.begin()
        recording.answer()
        yield Run(overview, recording)
