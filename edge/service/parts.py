"""What a service is made of, beside the camera and the journal: the model, and whoever else gets its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Protocol

from edge.classifier import Classifier
from edge.config import Config
from edge.daemon import Watch
from edge.recording import Recording
from edge.sinks import Sink

LEAST_TOP = 5
"""A journal tells top-5 accuracy, however few predictions are wanted elsewhere."""


class Output(Protocol):
    """Where a service's records go beside the journal, and what a person is told."""

    def began(self, config: Config, camera: str, model: Classifier, recording: Optional[Recording]) -> Sequence[Sink]:
        """A run begins: where its records go."""

    def watch(self) -> Optional[Watch]:
        """Knows the board where no journal is written."""

    def abandoned(self, unwritten: bool) -> None:
        """The loop is stuck, and the process ends without it.

        Args:
            unwritten: what the journal took in since its last batch is lost.
        """


def open_model(config: Config) -> Classifier:
    """The model that a configuration names, on the runtime that it asks for.

    Raises:
        ModelError, RuntimeUnavailableError, ConfigError: it cannot be run.
    """
    return Classifier.open(
        config.model.path,
        runtime=config.runtime,
        top=config.model.top if config.journal.path is None else max(LEAST_TOP, config.model.top),
        options=config.model.bare,
    )
