"""What the process that holds an Edge TPU and the one that uses it say to each other, each word a packet.

From the child: `reached` a stage, `opened` (with the memory's descriptor) or `failed`, then DONE for each JOB.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Literal, Union

import msgspec

from edge.runtimes import TensorDetails
from edge.runtimes.edgetpu.options import delegate_options
from edge.runtimes.settings import RuntimeSettings

Stage = Literal["start", "library", "delegate", "allocate", "first inference", "inference"]
"""What the child does when something goes wrong."""
JOB = struct.Struct("<Q")
"""Run the model on what lies in the shared memory; a number that comes back."""
DONE = struct.Struct("<QQQ")
"""The output lies in the shared memory: the job's number, the nanoseconds that it took in the child, and when it was
done on the monotonic clock, which is the same for all processes."""
MOST_BYTES = 65_536
"""Of one packet; words are far shorter, and cut where they are not."""
_LONGEST_SAID = 2000


class Order(msgspec.Struct, frozen=True):
    """What the child is to open."""

    model: str
    interpreter: str
    """auto, litert or tflite."""
    threads: int
    library: str
    options: dict[str, str]
    """Of libedgetpu."""
    verbosity: int = 0
    """Of libedgetpu's log on stderr; 10 is all."""

    @classmethod
    def of(cls, model: Path, settings: RuntimeSettings, device: str, threads: int, verbosity: int = 0) -> Order:
        """What settings ask for, in paths that hold in whatever folder the child is."""
        library = settings.library
        return cls(
            str(model.resolve()),
            settings.interpreter,
            threads,
            str(Path(library).resolve()) if os.sep in library else library,
            delegate_options(device, settings.performance),
            verbosity,
        )


class Reached(msgspec.Struct, frozen=True, tag=True):
    """What the child begins to do."""

    stage: Stage


Cause = Literal["refused", "error", "died", "stalled"]
"""It does not open; an inference failed; its process ended; no answer in time."""


class Failure(msgspec.Struct, frozen=True, tag=True):
    """What went wrong; the child ends, or has ended."""

    stage: Stage
    cause: Cause
    said: str


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded and has run once."""

    interpreter: str
    interpreter_version: str
    library_version: str
    backend: str
    inputs: tuple[TensorDetails, ...]
    outputs: tuple[TensorDetails, ...]
    open_ns: int
    """Opening the Edge TPU and loading the model."""
    first_ns: int
    """The first inference, in which the model's parameters are sent."""


STAND_IN = "edgetpu-standin"
"""The backend of what imitates libedgetpu; see `backend_of`."""
Word = Union[Reached, Failure, Opened]


def reached(stage: Stage) -> bytes:
    """The packet that says so."""
    return msgspec.json.encode(Reached(stage))


def failed(failure: Failure) -> bytes:
    """The packet that says so."""
    return msgspec.json.encode(Failure(failure.stage, failure.cause, failure.said[:_LONGEST_SAID]))


def opened(told: Opened) -> bytes:
    """The packet that says so."""
    return msgspec.json.encode(told)


def word(packet: bytes) -> Word:
    """Read a packet that is no DONE."""
    return msgspec.json.decode(packet, type=Word)  # type: ignore[no-any-return]


def backend_of(library_version: str) -> str:
    """What results are called: one of a stand-in for libedgetpu must never pass for an Edge TPU's."""
    return STAND_IN if "STAND-IN" in library_version.upper() else "edgetpu"
