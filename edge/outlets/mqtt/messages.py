"""What is sent: topics, and payloads as JSON in UTF-8."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Union

import msgspec

from edge.device import throttled_now
from edge.overview import Overview
from edge.records import Event, Record

ONLINE, OFFLINE = b"online", b"offline"
LONGEST_BYTES = 65_536
"""Of an event: the rest of its text is cut off, and its detail left out."""
_LONGEST_TEXT = 1000


class Topics(NamedTuple):
    """Where messages go; a program that listens to PREFIX/NAME/# gets them all."""

    availability: str
    state: str
    change: str
    event: str
    frame: str

    @classmethod
    def below(cls, base: str) -> Topics:
        """The topics of the device whose base is PREFIX/NAME."""
        return cls(*(f"{base}/{name}" for name in cls._fields))


class Change(msgspec.Struct, frozen=True):
    """Another class came first than in the frame before."""

    run: str
    sequence: int
    utc: str
    label: str
    class_id: int
    score: float
    previous: Optional[str]
    """None for the first frame of a run."""
    backend: str
    truth: Optional[str]


class Happened(msgspec.Struct, frozen=True):
    """An event; `run` and `number` tell a repeat."""

    run: Optional[str]
    number: int
    utc: str
    kind: str
    detail: dict[str, Any]
    text: str


class State(msgspec.Struct, frozen=True):
    """How it goes; None is what is not known."""

    run: str
    sequence: Optional[int]
    utc: Optional[str]
    label: Optional[str]
    score: Optional[float]
    predictions: list[dict[str, Any]]
    latency_ms: Optional[float]
    """Capture to result: the median over the last frames."""
    invoke_ms: Optional[float]
    """The model's part of that."""
    fps: Optional[float]
    frames: int
    """Of the run."""
    dropped: int
    backend: str
    camera: str
    camera_lost: Optional[str]
    """Why there are no pictures."""
    asleep: Optional[str]
    """Until when, by the schedule."""
    backend_lost: Optional[str]
    """Why no accelerator works, where the run is for one."""
    temperature_c: Optional[float]
    throttled: Optional[bool]
    truth: Optional[str]


Message = Union[Change, Happened]


def change(record: Record, previous: Optional[str]) -> Change:
    """A frame whose first label is not `previous`."""
    best = record.predictions[0]
    return Change(
        record.run,
        record.sequence,
        record.utc,
        best.label,
        best.class_id,
        round(best.score, 4),
        previous,
        record.backend,
        record.truth,
    )


def happened(event: Event, run: Optional[str]) -> Happened:
    """Something that happened while a run was under way."""
    return Happened(run, event.sequence, event.utc, event.kind, event.detail, event.text)


def state(overview: Overview) -> State:
    """How a run goes; takes up to a millisecond."""
    newest, status, live, throttled = overview.newest, overview.status(), overview.live, overview.throttled
    best = newest.predictions[0] if newest else None
    return State(
        run=overview.run,
        sequence=newest.sequence if newest else None,
        utc=newest.utc if newest else None,
        label=best.label if best else None,
        score=round(best.score, 4) if best else None,
        predictions=status["newest"]["predictions"] if status["newest"] else [],
        latency_ms=status["latency"]["age"]["p50_ms"],
        invoke_ms=status["latency"]["invoke"]["p50_ms"],
        fps=status["fps_now"],
        frames=status["frames"],
        dropped=status["dropped"],
        backend=status["backend"],
        camera=str(status["camera"]),
        camera_lost=status.get("camera_lost"),
        asleep=status.get("asleep"),
        backend_lost=status.get("backend_lost"),
        temperature_c=live.temperature_c if live else None,
        throttled=None if throttled is None else bool(throttled_now(throttled)),
        truth=status["truth"],
    )


def encode(message: Union[Message, State, Record]) -> bytes:
    """A message's payload, whatever is in its texts."""
    if isinstance(message, Record):
        return _encode(message.as_json())
    payload = _encode(message)
    if isinstance(message, Happened) and len(payload) > LONGEST_BYTES:
        payload = _encode(msgspec.structs.replace(message, detail={}, text=message.text[:_LONGEST_TEXT]))
    return payload


def _encode(content: Any) -> bytes:
    try:
        return msgspec.json.encode(content, enc_hook=str)
    except UnicodeEncodeError:
        # Names of files may hold bytes that no UTF-8 has.
        return msgspec.json.encode(_plain(content), enc_hook=str)


def _plain(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode("utf-8", "replace").decode()
    if isinstance(content, msgspec.Struct):
        return _plain(msgspec.structs.asdict(content))
    if isinstance(content, dict):
        return {_plain(key): _plain(value) for key, value in content.items()}
    return [_plain(each) for each in content] if isinstance(content, (list, tuple)) else content
