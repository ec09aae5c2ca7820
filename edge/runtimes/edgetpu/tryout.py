"""Looks whether an Edge TPU works, in a process of its own."""

from __future__ import annotations

import select
import time
from pathlib import Path
from typing import Optional

import msgspec
import numpy as np

from edge.runtimes.edgetpu.diagnosis import why
from edge.runtimes.edgetpu.process import Child, Over
from edge.runtimes.edgetpu.words import Failure, Opened, Order, Stage
from edge.runtimes.settings import RuntimeSettings

_NS_PER_MS = 1e6


class Trial(msgspec.Struct, frozen=True):
    """How it went."""

    ok: bool
    device: str
    stage: Stage
    """What was reached last."""
    why: Optional[str] = None
    """What went wrong, and what to do."""
    version: Optional[str] = None
    """What libedgetpu calls itself."""
    backend: Optional[str] = None
    open_ms: Optional[float] = None
    """Opening the Edge TPU and loading the model."""
    first_ms: Optional[float] = None
    """The first inference, in which the model's parameters are sent."""
    invoke_ms: Optional[float] = None
    """The second one; a single sample."""
    log: str = ""
    """What libedgetpu wrote."""


def try_out(model: Path, settings: RuntimeSettings, verbosity: int = 10) -> Trial:
    """Open the first Edge TPU that the settings name, and run a model on it twice.

    Args:
        model: a .tflite compiled for the Edge TPU.
        settings: which Edge TPU, and the deadlines.
        verbosity: of libedgetpu's log; 10 is all.

    Raises:
        OSError: no process can be started.
    """
    device = settings.devices[0]
    child = Child(Order.of(model, settings, device, 1, verbosity), keep_log=True)
    try:
        opened, failure = _opened(child, settings)
        invoke_ms = None
        if opened:
            tensor = np.zeros(opened.inputs[0].shape, opened.inputs[0].dtype)
            child.give(0, tensor)
            over = _heard(child, settings.invoke_s)
            failure = over if isinstance(over, Failure) else None
            invoke_ms = over.inner_ns / _NS_PER_MS if isinstance(over, Over) else None
    finally:
        child.end(at_once=False)
    return Trial(
        ok=failure is None,
        device=device,
        stage=child.stage,
        why=why(failure.stage, failure.said, settings, device) if failure else None,
        version=opened.library_version if opened else None,
        backend=opened.backend if opened else None,
        open_ms=opened.open_ns / _NS_PER_MS if opened else None,
        first_ms=opened.first_ns / _NS_PER_MS if opened else None,
        invoke_ms=invoke_ms,
        log=child.log,
    )


def _opened(child: Child, settings: RuntimeSettings) -> tuple[Optional[Opened], Optional[Failure]]:
    heard = _heard(child, settings.open_s)
    return (None, heard) if isinstance(heard, Failure) else (heard, None) if isinstance(heard, Opened) else (None, None)


def _heard(child: Child, limit_s: float) -> object:
    """The next word, or that there was none in time."""
    deadline_s = time.monotonic() + limit_s
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(child.log_fd, select.POLLIN)
    while (heard := child.hear()) is None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return Failure(child.stage, "stalled", f"no answer in {limit_s:g} s")
        poll.poll(left_s * 1000)
        child.read_log()
    return heard
