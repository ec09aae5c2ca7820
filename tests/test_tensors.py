from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.errors import ImageError, ModelError
from edge.tensors import (
    InputSpec,
    OutputSpec,
    Preprocessor,
    dequantize,
    native_size_px,
    pixel_table,
    quantize,
    scores,
    source_box,
    target_box,
    top,
)

LITE0 = InputSpec(224, 224, "uint8", (127.0,), (128.0,), 1 / 128, 127, crop_fraction=0.875, interpolation="bicubic")
SIDE = st.integers(1, 7680)
RESIZES = st.sampled_from(["crop", "letterbox", "squash"])
FINITE = st.floats(-1e6, 1e6, width=32)


@given(
    st.lists(FINITE, min_size=1, max_size=50),
    st.sampled_from(["uint8", "int8"]),
    st.floats(1e-6, 1e3),
    st.integers(-128, 255),
)
def test_quantize_is_the_formula(values: list[float], dtype: str, scale: float, zero_point: int) -> None:
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    expected = [min(high, max(low, round(float(np.float32(value)) / scale) + zero_point)) for value in values]
    assert quantize(np.array(values, np.float32), dtype, scale, zero_point).tolist() == expected


@given(st.sampled_from(["uint8", "int8"]), st.floats(1e-4, 1e3), st.data())
def test_dequantize_undoes_quantize_for_every_value(dtype: str, scale: float, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    zero_point = data.draw(st.integers(limits.min, limits.max))
    every = np.arange(limits.min, limits.max + 1).astype(dtype)
    real = dequantize(every, scale, zero_point)
    assert real.dtype == np.float32
    np.testing.assert_allclose(real, (every.astype(float) - zero_point) * scale, rtol=1e-5)
    np.testing.assert_array_equal(quantize(real, dtype, float(np.float32(scale)), zero_point), every)


def test_floats_pass_through_dequantize() -> None:
    np.testing.assert_array_equal(dequantize(np.array([0.25, 0.75], np.float64), None, None), np.float32([0.25, 0.75]))


def test_the_lite_input_takes_the_pixel_itself() -> None:
    assert pixel_table(LITE0) is None


@pytest.mark.parametrize(
    ("spec", "black", "white"),
    [
        (replace(LITE0, dtype="int8", zero_point=-1), -128, 127),
        (replace(LITE0, dtype="float32", scale=None, zero_point=None), -127 / 128, 1.0),
        (replace(LITE0, dtype="float32", scale=None, zero_point=None, mean=(0.0,), std=(255.0,)), 0.0, 1.0),
        (replace(LITE0, mean=(0.0,), std=(255.0,), scale=1 / 127, zero_point=0), 0, 127),
    ],
)
@pytest.mark.parametrize("resize", ["crop", "letterbox", "squash"])
def test_black_and_white_reach_the_tensor_as_the_formula_says(
    spec: InputSpec, black: float, white: float, resize: str
) -> None:
    preprocessor = Preprocessor(replace(spec, resize=resize))
    tensor = np.zeros((1, 224, 224, 3), spec.dtype)
    for level, expected in ((0, black), (255, white)):
        preprocessor.fill(np.full((300, 300, 3), level, np.uint8), tensor)
        np.testing.assert_allclose(tensor, expected)


def test_each_channel_has_its_own_mean_and_the_order_is_rgb() -> None:
    spec = InputSpec(8, 8, "float32", (10.0, 20.0, 30.0), (1.0, 2.0, 4.0))
    tensor = np.zeros((1, 8, 8, 3), np.float32)
    Preprocessor(spec).fill(np.full((8, 8, 3), (30, 20, 10), np.uint8), tensor)
    np.testing.assert_allclose(tensor[0, 0, 0], [20.0, 0.0, -5.0])


@given(SIDE, SIDE, RESIZES, st.floats(0.05, 1.0), st.integers(8, 600), st.integers(8, 600))
def test_boxes_fit_their_picture_and_are_centred(
    height: int, width: int, resize: str, fraction: float, model_height: int, model_width: int
) -> None:
    spec = InputSpec(model_height, model_width, "uint8", (0,), (1,), 1.0, 0, resize=resize, crop_fraction=fraction)
    for box, (frame_height, frame_width) in (
        (source_box(height, width, spec), (height, width)),
        (target_box(height, width, spec), (model_height, model_width)),
    ):
        assert box.height >= 1
        assert box.width >= 1
        assert 0 <= box.top <= frame_height - box.height
        assert 0 <= box.left <= frame_width - box.width
        assert abs(2 * box.top + box.height - frame_height) <= 1
        assert abs(2 * box.left + box.width - frame_width) <= 1


@given(SIDE, SIDE, st.floats(0.05, 1.0))
def test_a_crop_keeps_the_models_aspect_and_its_fraction(height: int, width: int, fraction: float) -> None:
    box = source_box(height, width, replace(LITE0, crop_fraction=fraction))
    assert box.height == box.width
    assert abs(box.height - min(height, width) * fraction) <= 1


@given(SIDE, SIDE)
def test_a_letterbox_keeps_the_frames_aspect(height: int, width: int) -> None:
    box = target_box(height, width, replace(LITE0, resize="letterbox"))
    assert max(box.height, box.width) == 224
    assert min(box.height, box.width) == pytest.approx(max(1, 224 * min(height, width) / max(height, width)), abs=0.51)


@settings(max_examples=60)
@given(
    st.integers(1, 2000),
    st.integers(1, 2000),
    RESIZES,
    st.sampled_from(["bilinear", "bicubic", "area"]),
    st.sampled_from(["uint8", "int8", "float32"]),
)
def test_any_frame_size_fills_the_whole_tensor(height: int, width: int, resize: str, how: str, dtype: str) -> None:
    scale, zero_point = (None, None) if dtype == "float32" else (1 / 128, -1 if dtype == "int8" else 127)
    spec = InputSpec(32, 48, dtype, (127.0,), (128.0,), scale, zero_point, resize=resize, interpolation=how)
    tensor = np.full((1, 32, 48, 3), 99, dtype)
    Preprocessor(spec).fill(np.full((height, width, 3), 127, np.uint8), tensor)
    np.testing.assert_array_equal(tensor, zero_point or 0)


def test_letterbox_bars_are_grey_and_follow_the_frame() -> None:
    spec = replace(LITE0, resize="letterbox")
    preprocessor, tensor = Preprocessor(spec), np.zeros((1, 224, 224, 3), np.uint8)
    preprocessor.fill(np.full((100, 200, 3), 255, np.uint8), tensor)
    assert tensor[0, 0].max() == 127
    assert tensor[0, 112].min() == 255
    preprocessor.fill(np.full((200, 100, 3), 255, np.uint8), tensor)
    assert tensor[0, :, 0].max() == 127
    assert tensor[0, :, 112].min() == 255


@given(st.sampled_from([0.5, 0.875, 0.9, 1.0]), st.integers(32, 400), st.integers(32, 400))
def test_a_native_frame_needs_no_resizing(fraction: float, height: int, width: int) -> None:
    spec = replace(LITE0, crop_fraction=fraction, height_px=height, width_px=height)
    native_height, native_width = native_size_px(spec)
    box = source_box(native_height, native_width, spec)
    assert abs(box.height - spec.height_px) <= 1
    assert abs(box.width - spec.width_px) <= 1
    assert native_size_px(LITE0) == (256, 256)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.uint16),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected uint8 RGB"):
        Preprocessor(LITE0).fill(pixels, np.zeros((1, 224, 224, 3), np.uint8))


def labels(count: int) -> tuple[str, ...]:
    return tuple(str(index) for index in range(count))


@given(st.lists(st.integers(0, 255), min_size=2, max_size=60), st.integers(1, 10))
def test_top_is_a_stable_sort_with_ties_to_the_lowest_index(values: list[int], count: int) -> None:
    spec = OutputSpec(len(values), "uint8", "softmax", 1 / 256, 0)
    found = top(np.array([values], np.uint8), spec, labels(len(values)), count)
    expected = sorted(range(len(values)), key=lambda index: (-values[index], index))[:count]
    assert [prediction.class_id for prediction in found] == expected
    assert [prediction.label for prediction in found] == [str(index) for index in expected]
    assert [prediction.score for prediction in found] == [values[index] / 256 for index in expected]


@given(st.lists(FINITE, min_size=2, max_size=50))
def test_logits_become_probabilities(values: list[float]) -> None:
    found = scores(np.array([values], np.float32), OutputSpec(len(values), "float32", "logits"))
    assert math.isclose(float(found.sum()), 1.0, rel_tol=1e-4)
    assert found.min() >= 0
    assert found[np.argmax(np.float32(values))] == found.max()


@given(st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=60), st.integers(1, 10))
def test_logits_rank_by_themselves_however_small_their_probability(values: list[float], count: int) -> None:
    spec = OutputSpec(len(values), "float32", "logits")
    found = top(np.array([values], np.float32), spec, labels(len(values)), count)
    expected = sorted(range(len(values)), key=lambda index: (-values[index], index))[:count]
    assert [prediction.class_id for prediction in found] == expected


@given(st.lists(st.integers(-128, 127), min_size=2, max_size=60), st.sampled_from(["softmax", "sigmoid", "logits"]))
def test_int8_values_rank_by_themselves(values: list[int], activation: str) -> None:
    spec = OutputSpec(len(values), "int8", activation, 1.0, 3)
    found = top(np.array([values], np.int8), spec, labels(len(values)), 5)
    expected = sorted(range(len(values)), key=lambda index: (-values[index], index))[:5]
    assert [prediction.class_id for prediction in found] == expected


def test_int8_outputs_are_dequantized() -> None:
    found = scores(np.array([[-128, 127, 0]], np.int8), OutputSpec(3, "int8", "softmax", 1 / 256, -128))
    np.testing.assert_allclose(found, [0.0, 255 / 256, 0.5])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("activation", ["softmax", "logits"])
def test_outputs_that_are_not_numbers_are_an_error(bad: float, activation: str) -> None:
    with pytest.raises(ModelError, match="not finite"):
        scores(np.array([[0.5, bad]], np.float32), OutputSpec(2, "float32", activation))
