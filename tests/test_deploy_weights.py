"""Where weights come from: the right file, or a sentence with the choices."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

from deploy import weights
from edge.errors import ModelError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package by the name that carries the weights of Lite0; its code must not run."""
    source = weights.SOURCES["efficientnet_lite0"]
    folder = tmp_path / source.module
    (folder / source.file).parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('the package was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, source.module, raising=False)
    return folder / source.file


def test_a_changed_file_is_refused_before_it_is_read(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package.write_bytes(b"not the weights")
    monkeypatch.setattr("deploy.checkpoints.read", lambda *_: pytest.fail("it was read"))
    given, expected = hashlib.sha256(b"not the weights").hexdigest(), weights.SOURCES["efficientnet_lite0"].sha256
    with pytest.raises(ModelError, match=f"sha256 is {given}, expected {expected}"):
        weights.find("efficientnet_lite0", None)


def test_a_package_without_its_file_is_named(package: Path) -> None:
    with pytest.raises(ModelError, match="Cannot read the weights"):
        weights.find("efficientnet_lite0", None)


def test_a_missing_package_names_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(ModelError, match=r'pip install "edge-runner\[convert\]".*--weights FILE.*--weights random'):
        weights.find("efficientnet_lite0", None)


@pytest.mark.parametrize("backbone", ["efficientnet_lite3", "efficientnet_lite4"])
def test_without_published_weights_the_choices_are_named(backbone: str) -> None:
    with pytest.raises(ModelError, match=r"--weights FILE .* --weights random"):
        weights.find(backbone, None)


def test_random_weights_say_so() -> None:
    found = weights.find("efficientnet_lite4", "random")
    assert found.tensors is None
    assert found.sha256 is None
    assert "random" in found.origin


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"Cannot read the weights no/such\.pth"):
        weights.find("efficientnet_lite3", "no/such.pth")


def test_the_published_weights_are_read() -> None:
    source = weights.SOURCES["efficientnet_lite0"]
    if importlib.util.find_spec(source.module) is None:
        pytest.skip(f"{source.package} is not installed (extra: convert)")
    found = weights.find("efficientnet_lite0", None)
    assert found.sha256 == source.sha256
    assert found.licence == "Apache-2.0"
    assert found.tensors is not None
    assert found.tensors["_fc.weight"].shape == (1000, 1280)
