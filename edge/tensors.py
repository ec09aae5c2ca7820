"""Pixels to input tensor, output tensor to scores.

Pure, and the only such code: the device classifies with it, and the host calibrates and verifies with it.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, Optional

import cv2
import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge.errors import ImageError, ModelError
from edge.records import Prediction

Array = NDArray[Any]
Resize = Literal["crop", "letterbox", "squash"]
Interpolation = Literal["bilinear", "bicubic", "area"]
Activation = Literal["softmax", "sigmoid", "logits"]
DTypeName = Literal["uint8", "int8", "float32"]

_INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
_LETTERBOX_PIXEL = 127


class InputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model's input expects: q = round(((pixel - mean) / std) / scale) + zero_point."""

    height_px: int
    width_px: int
    dtype: DTypeName
    mean: tuple[float, ...]
    """One value, or one for each of R, G, B."""
    std: tuple[float, ...]
    scale: Optional[float] = None
    """None for float32."""
    zero_point: Optional[int] = None
    color_order: Literal["RGB"] = "RGB"
    resize: Resize = "crop"
    """crop: the centre at the model's aspect; letterbox: all of it with grey bars; squash: all of it, stretched."""
    crop_fraction: float = 1.0
    """Side of the centre crop as a fraction of the largest that fits; only for crop."""
    interpolation: Interpolation = "bilinear"


class OutputSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model's output means: real = (q - zero_point) * scale."""

    classes: int
    dtype: DTypeName
    activation: Activation
    """What the model itself ends with; softmax is applied here to logits."""
    scale: Optional[float] = None
    zero_point: Optional[int] = None
    background_offset: int = 0
    """1 when output 0 is a background class."""


class Box(NamedTuple):
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int


def quantize(values: NDArray[np.floating], dtype: DTypeLike, scale: float, zero_point: int) -> Array:
    """Q = clip(round(values / scale) + zero_point), ties to even.

    Formula: TensorFlow Lite 8-bit quantization specification.
    """
    limits = np.iinfo(np.dtype(dtype))
    steps = np.rint(np.asarray(values, np.float64) / scale) + zero_point
    tensor: Array = np.clip(steps, limits.min, limits.max).astype(dtype)
    return tensor


def dequantize(values: Array, scale: Optional[float], zero_point: Optional[int]) -> NDArray[np.float32]:
    """Real = (q - zero_point) * scale, as float32; float values pass through when scale is None."""
    if scale is None:
        return values.astype(np.float32)
    real: NDArray[np.float32] = (values.astype(np.float32) - np.float32(zero_point or 0)) * np.float32(scale)
    return real


def source_box(height_px: int, width_px: int, spec: InputSpec) -> Box:
    """The part of a frame that is shown to the model, at least 1 x 1."""
    if spec.resize != "crop":
        return Box(0, 0, height_px, width_px)
    # the largest box of the model's aspect that fits, then the fraction of it
    unit = min(height_px / spec.height_px, width_px / spec.width_px) * spec.crop_fraction
    height = min(height_px, max(1, math.floor(unit * spec.height_px + 0.5)))
    width = min(width_px, max(1, math.floor(unit * spec.width_px + 0.5)))
    return Box((height_px - height) // 2, (width_px - width) // 2, height, width)


def target_box(height_px: int, width_px: int, spec: InputSpec) -> Box:
    """The part of the input tensor that the frame fills; all of it except with letterbox."""
    if spec.resize != "letterbox":
        return Box(0, 0, spec.height_px, spec.width_px)
    unit = min(spec.height_px / height_px, spec.width_px / width_px)
    height = min(spec.height_px, max(1, math.floor(unit * height_px + 0.5)))
    width = min(spec.width_px, max(1, math.floor(unit * width_px + 0.5)))
    return Box((spec.height_px - height) // 2, (spec.width_px - width) // 2, height, width)


def native_size_px(spec: InputSpec) -> tuple[int, int]:
    """Height and width of the frame that needs cropping only: for cameras that can resize by themselves."""
    fraction = spec.crop_fraction if spec.resize == "crop" else 1.0
    return math.ceil(spec.height_px / fraction), math.ceil(spec.width_px / fraction)


def pixel_table(spec: InputSpec) -> Optional[Array]:
    """Tensor value of each of the 256 pixel values, shape (1, 256, 1 or 3); None when it is the pixel itself."""
    pixels = np.arange(256, dtype=np.float64)[:, None]
    real: Array = (pixels - np.asarray(spec.mean)) / np.asarray(spec.std)
    if spec.scale is None or spec.zero_point is None:
        return real.astype(np.float32)[None]
    table = quantize(real, spec.dtype, spec.scale, spec.zero_point)
    if spec.dtype == "uint8" and np.array_equal(table, np.broadcast_to(np.arange(256)[:, None], table.shape)):
        return None
    return table[None]


class Preprocessor:
    """Fills input tensors from frames. Keeps one scratch picture, so use one for each thread."""

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._table = pixel_table(spec)
        self._interpolation = _INTERPOLATIONS[spec.interpolation]
        self._scratch: NDArray[np.uint8] = np.empty((spec.height_px, spec.width_px, 3), np.uint8)

    def fill(self, pixels: NDArray[np.uint8], tensor: Array) -> None:
        """Crop, resize and quantize a frame into an input tensor.

        Args:
            pixels: uint8 RGB, shape (height_px, width_px, 3).
            tensor: shape (1, height_px, width_px, 3) or without the 1, of the spec's dtype, C-contiguous;
                written in place.

        Raises:
            ImageError: `pixels` is not an RGB picture of bytes.
        """
        if not isinstance(pixels, np.ndarray):
            raise ImageError(
                f"{type(pixels).__name__} was given: expected pixels as a NumPy array; edge.images reads files."
            )
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ImageError(
                f"A frame of shape {pixels.shape} and type {pixels.dtype} was given: expected uint8 RGB of "
                "shape (height, width, 3)."
            )
        target = tensor.reshape(self._scratch.shape)  # a view: the tensor is contiguous
        picture = target if self._table is None else self._scratch
        self._resize(pixels, picture)
        if self._table is not None:
            _write(cv2.LUT(picture, self._table, dst=target), target)

    def _resize(self, pixels: NDArray[np.uint8], picture: Array) -> None:
        height, width = pixels.shape[:2]
        source, target = source_box(height, width, self.spec), target_box(height, width, self.spec)
        part = pixels[source.top : source.top + source.height, source.left : source.left + source.width]
        if (target.height, target.width) == picture.shape[:2]:
            inner = picture
        else:
            picture[...] = _LETTERBOX_PIXEL
            inner = picture[target.top : target.top + target.height, target.left : target.left + target.width]
        if (source.height, source.width) == (target.height, target.width):
            inner[...] = part
            return
        size = (target.width, target.height)
        _write(cv2.resize(part, size, dst=inner, interpolation=self._interpolation), inner)


def _write(result: Array, target: Array) -> None:
    """OpenCV writes into `dst` where it can; where it made an array of its own, copy."""
    if not np.may_share_memory(result, target):
        target[...] = result


def scores(output: Array, spec: OutputSpec) -> NDArray[np.float32]:
    """Class scores in [0, 1], shape (classes,), float32, from an output tensor of any shape with that size.

    Raises:
        ModelError: the model gave something that is not a number.
    """
    real = dequantize(output.reshape(-1), spec.scale, spec.zero_point)
    if spec.scale is None and not np.isfinite(real).all():
        raise ModelError("The model puts out values that are not finite numbers: the file is damaged.")
    if spec.activation == "logits":
        real = np.exp(real - real.max())
        real /= real.sum()
    return real


def top(output: Array, spec: OutputSpec, labels: tuple[str, ...], count: int) -> tuple[Prediction, ...]:
    """The `count` highest classes, highest first; ties go to the lowest index.

    Raises:
        ModelError: the model gave something that is not a number.
    """
    flat = output.reshape(-1)
    # By what the model gave: a softmax would make small values equal. ~x ranks integers as -x, without overflow.
    order = np.argsort(-flat if flat.dtype.kind == "f" else ~flat, kind="stable")[:count]
    # A softmax needs all values; otherwise only the best are worth dequantizing.
    whole = spec.activation == "logits" or spec.scale is None
    chosen = scores(flat, spec)[order] if whole else scores(flat[order], spec)
    return tuple(
        Prediction(index, labels[index], min(1.0, score)) for index, score in zip(order.tolist(), chosen.tolist())
    )
