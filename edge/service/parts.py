"""What a service is made of, beside the camera and the journal: the model, and whoever else gets its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from edge.cameras.lasting import Lasting
from edge.cameras.newest import patience_s
from edge.classifier import Classifier
from edge.config import Config
from edge.errors import AcceleratorError
from edge.outlets import OutletStatus
from edge.recording import Recording
from edge.runtimes import ConcurrentRuntime
from edge.sinks import Sink

LEAST_TOP = 5
"""A journal tells top-5 accuracy, however few predictions are wanted elsewhere."""
_SENTENCES = {
    "backend found": "The {backend} ({device}) answers again, after {after:.1f} s.",
    "fell back": "The accelerator is left alone for a while, and the {to} answers: {why}",
    "backend lost": "{why}",
    "reload refused": "The new configuration is refused, and the old one goes on: {why}",
    "asleep": "By its schedule it is asleep until {until}.",
    "awake": "By its schedule it is awake again.",
    "truth set": "{by} says that this is before the camera: {truth}.",
    "truth cleared": "{by} says that it is not known any more what is before the camera.",
}


class Begun(NamedTuple):
    """A run that begins."""

    config: Config
    camera: str
    model: Classifier
    recording: Optional[Recording]
    """None: no journal is written."""
    outlets: Mapping[str, OutletStatus]
    """By their names."""


class Output(Protocol):
    """Where a service's records go beside the journal, and what a person is told."""

    wants_board: bool
    """Records are to tell how throttled the board was, also where no journal is written."""

    def began(self, run: Begun) -> Sequence[Sink]:
        """A run begins: where its records go."""

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


def open_beside(present: Classifier, config: Config) -> Classifier:
    """The model that another configuration names, opened while the present one goes on.

    Raises:
        ModelError, RuntimeUnavailableError, ConfigError: it cannot be run; also because the present one has its device.
    """
    try:
        return open_model(config)
    except AcceleratorError as error:
        if not isinstance(present.runtime, ConcurrentRuntime):
            raise
        raise AcceleratorError(
            f"{error} The model that runs now may hold it: restart the service to change over, or set runtime.fallback "
            "to cpu, and the new model begins on the CPU."
        ) from error


def rhythm_s(config: Config, model: Classifier) -> tuple[float, float]:
    """How much time lies between two results when all is well, and after how much more something counts as lost."""
    period_s = 1 / config.fps if config.fps else 0.0
    still_s = config.motion.at_least_every_s if config.gate else 0.0
    stall_s = patience_s(config.camera.stall_s, config.camera.fps)
    if isinstance(model.runtime, ConcurrentRuntime):
        stall_s = max(stall_s, config.runtime.invoke_s)
    return max(period_s, still_s), stall_s


def sentence(kind: str, detail: dict[str, Any]) -> str:
    """What happened to a service, for a person."""
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(detail)
    if kind == "reloaded":
        return f"Reloaded: {', '.join(detail['changed']) or 'nothing has changed'}."
    told = ", ".join(f"{name}: {value}" for name, value in detail.items())
    return f"{kind} ({told})" if told else kind


def health(camera: Optional[Lasting], model: Classifier) -> dict[str, Any]:
    """What `edge status` tells of the camera and of accelerators."""
    runtime = model.runtime
    elsewhere = runtime if isinstance(runtime, ConcurrentRuntime) else None
    return {
        "camera_lost": camera.lost if camera else None,
        "camera_faults": camera.faults if camera else 0,
        "backend_lost": " ".join(elsewhere.troubles.values()) or elsewhere.lost if elsewhere else None,
        "backend_faults": elsewhere.faults if elsewhere else 0,
    }
