"""The values that travel through the program: a frame goes in, a record comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NS_PER_MS = 1_000_000
NO_BACKEND = "no backend"
"""Why frames were dropped while no accelerator worked, and nothing was to answer in its place."""
UNCHANGED = "unchanged"
"""What frames that a gate kept back are counted as, among the reasons for not classifying one."""


class Frame(msgspec.Struct, frozen=True):
    """One picture from a camera."""

    pixels: NDArray[np.uint8]
    """Shape (height_px, width_px, 3), RGB."""
    sequence: int
    """Position in the source's own count, from 0; a gap means frames that were dropped."""
    captured_ns: int
    """When the sensor took it (or the source produced it), on the monotonic clock."""
    label: Optional[str] = None
    """The truth, where the source knows it."""
    source: Optional[str] = None
    """Where it came from when the source has many parts, such as the path of a picture."""


class Timings(msgspec.Struct, frozen=True, gc=False):
    """How long each stage of one frame took, in integer nanoseconds of the monotonic clock."""

    wait_ns: int
    """All of the age that no other stage accounts for: the wait for pick-up, and queues between the stages."""
    preprocess_ns: int
    """Crop, resize, quantize and write into the interpreter's input."""
    invoke_ns: int
    """The interpreter's own work."""
    postprocess_ns: int
    """Reading the output, dequantizing and ranking."""

    @property
    def age_ns(self) -> int:
        """Capture to result: the sum of the stages."""
        return self.wait_ns + self.preprocess_ns + self.invoke_ns + self.postprocess_ns

    def as_ms(self) -> dict[str, float]:
        """The stages and their sum in milliseconds, rounded to the microsecond."""
        return {
            "wait": round(self.wait_ns / NS_PER_MS, 3),
            "preprocess": round(self.preprocess_ns / NS_PER_MS, 3),
            "invoke": round(self.invoke_ns / NS_PER_MS, 3),
            "postprocess": round(self.postprocess_ns / NS_PER_MS, 3),
            "age": round(self.age_ns / NS_PER_MS, 3),
        }


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One class and how sure the model is of it."""

    class_id: int
    """Index into the model's output."""
    label: str
    score: float
    """In [0, 1]."""


class Record(msgspec.Struct, frozen=True):
    """What became of one frame."""

    run: str
    """Identifies the process's run."""
    sequence: int
    utc: str
    """When the result was there, ISO 8601; a stamp only, never used for durations."""
    monotonic_ns: int
    """The same moment on the monotonic clock."""
    timings: Timings
    predictions: tuple[Prediction, ...]
    """Highest score first; ties go to the lowest class_id."""
    backend: str
    """What really ran, for example "cpu"."""
    truth: Optional[str] = None
    dropped: int = 0
    """Frames that the camera gave since the previous record and nobody classified."""
    drop_reason: str = "busy"
    """Why: "busy", the model was; "paced", fewer were asked for; "no backend", what runs the model was lost."""
    unchanged: int = 0
    """Frames since the previous record that a gate found unchanged, and kept back; they are not in `dropped`."""
    source: Optional[str] = None
    throttled: Optional[int] = None
    """Raspberry Pi throttling bits at the time, where the board tells them."""

    def as_json(self) -> dict[str, Any]:
        """The record as one JSON object, with its timings in milliseconds."""
        document = msgspec.to_builtins(self)
        document["timings_ms"] = self.timings.as_ms()
        del document["timings"]
        return document  # type: ignore[no-any-return]


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a service, such as a camera that was lost."""

    sequence: int
    """From 0 in each process."""
    utc: str
    """ISO 8601; a stamp only."""
    monotonic_ns: int
    kind: str
    """Such as "camera lost"; edge/journal/README.md lists them."""
    detail: dict[str, Any]
    text: str
    """The same for a person."""


class Ran(msgspec.Struct, frozen=True):
    """What gave an answer or a measurement: results begin with it."""

    model: str
    model_sha256: str
    runtime: str
    runtime_version: str
    backend: str
    threads: int

    def title(self) -> str:
        """The same for a person."""
        return f"{self.model} on {self.runtime} {self.runtime_version} ({self.backend}, {in_words(self.threads)})"


def in_words(threads: int) -> str:
    """A number of threads for a person: one thread, two threads and so on, in digits."""
    return "1 thread" if threads == 1 else f"{threads} threads"
