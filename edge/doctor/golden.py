"""Whether models answer as promised, tried in a process of its own, which a damaged file or library may end.

`python -m edge.doctor.golden` takes a `Question` a line, and answers each with one JSON line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Optional

import msgspec

from edge.doctor.processes import python
from edge.model.loading import BareOptions

LIMIT_S = 60.0
"""For all of them; a large model on a slow Pi takes seconds."""
_NS_PER_MS = 1e6


class Question(msgspec.Struct, frozen=True):
    """A model to be tried."""

    model: str
    """A bundle's folder, or a .tflite."""
    runtime: str
    """One for the CPU."""
    threads: Optional[int]
    bare: BareOptions


class Tried(msgspec.Struct, frozen=True):
    """How it went."""

    why: Optional[str]
    """What is wrong; None where all is well."""
    golden: bool = False
    """It has a golden input, and answered it as promised."""
    took_ms: float = 0.0
    """To open it and run it once."""


def tried(questions: Sequence[Question]) -> Iterator[Tried]:
    """An answer to each question, in their order; one that ends the process does not keep the others from theirs."""
    left = list(questions)
    until_s = time.monotonic() + LIMIT_S
    while left:
        given = b"".join(msgspec.json.encode(each) + b"\n" for each in left).decode()
        ended = python(["-m", "edge.doctor.golden"], max(1.0, until_s - time.monotonic()), given)
        answers = [msgspec.json.decode(line, type=Tried) for line in ended.out.splitlines()[: len(left)]]
        yield from answers
        left = left[len(answers) :]
        if left:
            yield Tried(f"it was not done within {LIMIT_S:g} s" if ended.code is None else f"it ends with {ended.how}")
            left = left[1:]


def _try(question: Question) -> Tried:
    from edge.classifier import Classifier
    from edge.errors import EdgeError

    began_ns = time.monotonic_ns()
    try:
        with Classifier.open(
            question.model, runtime=question.runtime, threads=question.threads, options=question.bare
        ) as classifier:
            golden = classifier.bundle.contract is not None
            if not golden:
                classifier.runtime.invoke()
    except EdgeError as error:
        return Tried(str(error))
    except Exception as error:  # what a runtime raises that does not fit
        return Tried(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Tried(None, golden, (time.monotonic_ns() - began_ns) / _NS_PER_MS)


if __name__ == "__main__":
    for line in sys.stdin:
        answer = _try(msgspec.json.decode(line, type=Question))
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        sys.stdout.flush()
