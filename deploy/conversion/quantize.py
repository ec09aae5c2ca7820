"""Keras to TensorFlow Lite by recipes, whose names tell what is in the file: w for weights, a for activations."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.heavy import quiet, require_tensorflow
from edge import images
from edge.errors import ConfigError, EdgeError, ModelError
from edge.tensors import InputSpec, Preprocessor


class Recipe(msgspec.Struct, frozen=True):
    """One way to store and compute a model in TensorFlow Lite."""

    name: str
    words: str
    """What it is, for a person."""
    calibrated: bool = False
    """Whether the ranges of the activations are measured on pictures; input and output are uint8 then, else float32."""


RECIPES = {
    row.name: row
    for row in (
        # weights per channel in convolutions, per tensor in dense layers
        Recipe("static_wi8_ai8", "full integer", calibrated=True),
        Recipe("dynamic_wi8", "weights in int8, activations quantized anew for each picture"),
        Recipe("float16", "weights in float16, computed in float32"),
        Recipe("float32", "float32, as trained"),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; names those that are known.
    """
    if name not in RECIPES:
        raise ConfigError(f"No recipe {name!r}: expected one of {', '.join(RECIPES)}.")
    return RECIPES[name]


def calibration_tensors(paths: Sequence[Path], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    """The pictures as the float model's input, shape (1, height_px, width_px, 3).

    The range of a pixel is known, not measured: two pixels of the first picture are set to 0 and 255, so that
    the input's scale is exactly 1 / std and a pixel needs no arithmetic on the device.
    """
    preprocessor = Preprocessor(spec)
    for number, path in enumerate(paths):
        tensor = np.empty((1, spec.height_px, spec.width_px, 3), np.float32)
        preprocessor.fill(images.read_rgb(path), tensor)
        if number == 0:
            mean, std = np.asarray(spec.mean), np.asarray(spec.std)
            tensor[0, 0, 0], tensor[0, 0, 1] = (0 - mean) / std, (255 - mean) / std
        yield tensor


def to_float(model: Any) -> bytes:
    """A Keras model as float32 TensorFlow Lite: the reference that the quantized one is measured against.

    Args:
        model: one input of any shape; a batch of any size becomes one picture.

    Raises:
        ModelError: TensorFlow refuses to convert it.
    """
    return to_tflite(model, RECIPES["float32"])


def to_tflite(model: Any, row: Recipe, paths: Sequence[Path] = (), spec: Optional[InputSpec] = None) -> bytes:
    """A Keras model by a recipe, for one picture at a time; the same bytes for the same arguments.

    Args:
        model: input (None or 1, height_px, width_px, 3) float32.
        row: the recipe.
        paths: the pictures to calibrate on, where the recipe is calibrated.
        spec: what the float model expects, where the recipe is calibrated.

    Raises:
        ModelError: TensorFlow refuses to convert it.
        ImageError: a picture cannot be read.
    """
    tf = require_tensorflow()
    converter = _converter(model)
    if row.name != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if row.name == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if row.calibrated:
        if spec is None or not paths:
            raise ValueError(f"{row.name} needs pictures to calibrate on")
        converter.representative_dataset = lambda: ([tensor] for tensor in calibration_tensors(paths, spec))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    # per-channel dense layers are new in the format: runtimes of Coral's time and the Edge TPU compiler refuse them
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return _convert(converter, model.name)


def _converter(model: Any) -> Any:
    """A converter from the model's traced function: `from_keras_model` does not work with Keras 3."""
    tf = require_tensorflow()
    (shape,) = [(1, *tensor.shape[1:]) for tensor in model.inputs]
    function = tf.function(
        lambda image: model(image, training=False), input_signature=[tf.TensorSpec(shape, tf.float32, name="image")]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], model)
    converter.experimental_lower_to_saved_model = False  # on that way the weights of some Keras 3 models get lost
    return converter


def _convert(converter: Any, name: str) -> bytes:
    with quiet() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as: the input's statistics are missing, which calibration brings
        try:
            return bytes(converter.convert())
        except EdgeError:
            raise
        except Exception as error:  # TensorFlow raises what it likes, down to bare Exception
            detail = " ".join(str(error).split())[:300]
            raise ModelError(f"TensorFlow could not convert {name}: {detail}.") from RuntimeError(said())
