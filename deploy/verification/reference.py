"""The float model that a bundle is measured against, as the device would run it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional, cast

import msgspec

from deploy.conversion import keras_files, quantize
from deploy.verification.verify import Side
from edge.errors import ConfigError, ModelError
from edge.model import tflite_file
from edge.model.bundle import Bundle, open_bundle
from edge.runtimes import open_runtime
from edge.runtimes.trial import require_sound
from edge.tensors import Activation, InputSpec, OutputSpec


def side_of(bundle: Bundle) -> Side:
    """A bundle that was opened with its contract."""
    assert bundle.input is not None
    assert bundle.output is not None
    return Side(bundle.path, bundle.input, bundle.output)


@contextlib.contextmanager
def float_side(path: Path, bundle: Bundle, backbone: Optional[str], say: Callable[[str], None]) -> Iterator[Side]:
    """The float model as a .tflite file that is there as long as the context.

    Args:
        path: a .keras file, a float .tflite file, or the folder of a bundle with one.
        bundle: what was made of it; its contract says how to feed a .tflite, as far as that itself does not.
        backbone: row of `deploy.backbones` for a .keras file without a card; see `keras_files.load`.
        say: is told what takes long.

    Raises:
        ConfigError: a .keras file has no card, and `backbone` is None or not its architecture's.
        ModelError: it cannot be read, is quantized itself, or has another input or other classes than the bundle.
        RuntimeUnavailableError: a TFLite runtime is missing, or TensorFlow for a .keras file.
    """
    if path.is_dir():
        opened = open_bundle(path)
        side = side_of(opened)
        _require_same(path, side.input, opened.labels, bundle)
        yield _checked(opened.path, path, side.input, side.output.background_offset, bundle)
    elif path.suffix == keras_files.SUFFIX:
        with tempfile.TemporaryDirectory(prefix="edge-deploy-") as scratch:
            target = Path(scratch, "float.tflite")
            card = _convert(path, bundle, backbone, target, say)
            yield _checked(target, path, card.input, card.background_offset, bundle)
    elif path.suffix == ".tflite":
        own, facts = side_of(bundle), tflite_file.read(path)
        require_sound("auto", path.resolve())
        as_float = msgspec.structs.replace(own.input, dtype="float32", scale=None, zero_point=None)
        if facts.mean and facts.std:
            as_float = msgspec.structs.replace(as_float, mean=facts.mean, std=facts.std)
        yield _checked(path, path, as_float, own.output.background_offset, bundle)
    else:
        raise ModelError(f"{path} is not a float model: expected a .keras file, a .tflite file or a bundle's folder.")


def _convert(
    path: Path, bundle: Bundle, backbone: Optional[str], target: Path, say: Callable[[str], None]
) -> keras_files.Card:
    """Write the Keras model as float .tflite; what its card says."""
    card = keras_files.read_card(path)
    labels = None
    if card is not None:
        _require_same(path, card.input, card.labels, bundle)  # before TensorFlow, which takes seconds to come
        origin = bundle.contract.provenance.weights_sha256 if bundle.contract else None
        if origin and card.weights_sha256 and origin != card.weights_sha256:
            raise ModelError(_stranger(path, f"began from other weights ({card.weights})", bundle, "from its own"))
    elif backbone is None:
        raise ConfigError(f"{path} does not say how its pictures are prepared: give --backbone NAME.")
    elif bundle.contract is not None:
        labels = bundle.path.with_name(bundle.contract.labels)
    say(f"converting {path} to float TensorFlow Lite")
    model, card = keras_files.load(path, backbone, labels)
    target.write_bytes(quantize.to_float(model))
    return card


def _require_same(path: Path, spec: InputSpec, labels: Sequence[str], bundle: Bundle) -> None:
    """The two take pictures of one size and tell the same classes apart."""
    own = side_of(bundle).input
    size, own_size = (f"{each.width_px} x {each.height_px} px" for each in (spec, own))
    if size != own_size:
        raise ModelError(_stranger(path, f"takes pictures of {size}", bundle, own_size))
    if len(labels) != len(bundle.labels):
        raise ModelError(_stranger(path, f"has {len(labels)} classes", bundle, str(len(bundle.labels))))
    for index, (given, expected) in enumerate(zip(labels, bundle.labels)):
        if given != expected:
            raise ModelError(_stranger(path, f"calls class {index} {given!r}", bundle, repr(expected)))


def _checked(tflite: Path, path: Path, spec: InputSpec, background_offset: int, bundle: Bundle) -> Side:
    """A float .tflite that came of `path`, held to the bundle's shapes."""
    own = side_of(bundle)
    runtime = open_runtime("auto", tflite)
    inputs, outputs = runtime.input_details, runtime.output_details
    runtime.close()
    if {detail.dtype for detail in (*inputs, *outputs)} != {"float32"}:
        raise ModelError(f"{path} is quantized itself: give the float model that {bundle.name} was made of.")
    shapes = [list(detail.shape) for detail in inputs]
    expected = [[1, own.input.height_px, own.input.width_px, 3]]
    if shapes != expected:
        raise ModelError(_stranger(path, f"takes inputs of shape {shapes}", bundle, str(expected)))
    classes = [max(detail.shape, default=0) for detail in outputs]
    if classes != [own.output.classes]:
        raise ModelError(_stranger(path, f"has outputs of {classes}", bundle, str([own.output.classes])))
    activation = cast(Optional[Activation], tflite_file.read(tflite).activation) or own.output.activation
    return Side(tflite, spec, OutputSpec(own.output.classes, "float32", activation, None, None, background_offset))


def _stranger(path: Path, given: str, bundle: Bundle, expected: str) -> str:
    return f"{path} {given}, {bundle.name} {expected}: give the float model that the bundle was made of."
