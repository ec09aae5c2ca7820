"""The table of backbones."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.backbones import BACKBONES, backbone
from edge.errors import ConfigError
from edge.tensors import Preprocessor

# What each network's authors feed it, worked out by hand for the pixel (10, 100, 200).
EXPECTED = {
    "mobilenet_v2": (10 / 127.5 - 1, 100 / 127.5 - 1, 200 / 127.5 - 1),
    "efficientnet_lite3": ((10 - 127) / 128, (100 - 127) / 128, (200 - 127) / 128),
    "efficientnet_b1": (10, 100, 200),
    "resnet50": (10 - 123.68, 100 - 116.779, 200 - 103.939),
    "xception": (10 / 127.5 - 1, 100 / 127.5 - 1, 200 / 127.5 - 1),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_pixels_become_what_the_weights_expect(name: str) -> None:
    spec = backbone(name).float_input()
    tensor = np.empty((1, spec.height_px, spec.width_px, 3), np.float32)
    Preprocessor(spec).fill(np.full((400, 500, 3), (10, 100, 200), np.uint8), tensor)
    np.testing.assert_allclose(tensor[0, 7, 9], EXPECTED[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size_px", "fraction"),
    [
        ("mobilenet_v2", 224, 0.875),
        ("efficientnet_lite0", 224, 224 / 256),
        ("efficientnet_lite4", 300, 300 / 332),
        ("efficientnet_b2", 260, 260 / 292),
        ("inception_v3", 299, 0.875),
    ],
)
def test_size_and_crop_are_those_of_the_evaluation(name: str, size_px: int, fraction: float) -> None:
    spec = backbone(name).float_input()
    assert (spec.height_px, spec.width_px) == (size_px, size_px)
    assert spec.crop_fraction == pytest.approx(fraction, abs=1e-3)


def test_an_unknown_name_lists_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"No backbone 'lenet': expected one of mobilenet_v2, efficientnet_lite0, .*"):
        backbone("lenet")
    assert all(backbone(name).name == name for name in BACKBONES)
