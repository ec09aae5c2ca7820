"""A bundle's golden input: a known picture, and whether an answer to it is the one that was promised."""

from __future__ import annotations

from typing import Any, Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.model.bundle import Bundle, golden_picture
from edge.tensors import Preprocessor, top

_FIRST = 1


def tensor(bundle: Bundle) -> Optional[NDArray[np.generic]]:
    """The input tensor; None of a bare file, which has none.

    Returns:
        Shape and dtype of the model's input.
    """
    spec = bundle.input
    if bundle.contract is None or spec is None:
        return None
    filled = np.empty((1, spec.height_px, spec.width_px, 3), spec.dtype)
    picture = golden_picture(bundle.contract.golden.seed, spec.height_px, spec.width_px)
    Preprocessor(msgspec.structs.replace(spec, resize="squash")).fill(picture, filled)
    return filled


def wrong(bundle: Bundle, output: NDArray[Any], who: str, backend: str) -> Optional[str]:
    """What is wrong with the answer, if anything.

    An accelerator rounds in other places than the CPU, on which the bundle was verified, and that may swap classes that
    are nearly alike: of its answer only the first class must agree.

    Args:
        bundle: with a contract.
        output: the output tensor.
        who: the runtime with its version, for the sentence.
        backend: what answered.
    """
    contract = bundle.contract
    assert contract is not None  # else there is no input
    assert bundle.output is not None
    given = tuple(prediction.class_id for prediction in top(output, bundle.output, bundle.labels, 5))
    expected = contract.golden.top5 if backend == "cpu" else contract.golden.top5[:_FIRST]
    given = given[: len(expected)]
    if given == expected:
        return None
    which, are = ("first class", "is") if len(expected) == _FIRST else ("top 5", "are")
    return (
        f"The bundle {contract.name} fails its golden input on {who} ({backend}): its {which} {are} {list(given)}, "
        f"{contract.name} promises {list(expected)}; restore the bundle or use another runtime version."
    )
