"""`edge doctor` about models: real bundles, damaged ones, and runtimes that crash on them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from edge.doctor import golden, models
from edge.model.loading import BareOptions
from tests.accelerators import bound_by_permissions
from tests.conftest import MODEL, ROOT
from tests.doctoring import case, levels, package, told
from tests.edgetpu import compiled


def test_a_damaged_bundle_blocks_only_where_it_is_configured(
    bundle_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = bundle_copy.rename(tmp_path / "damaged")
    content = bytearray((damaged / "model.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "model.tflite").write_bytes(content)
    monkeypatch.setenv("EDGE_MODELS", str(tmp_path))
    found = list(models.examine(case()))
    assert levels(found) == ["ok", "warning"]
    assert f"{MODEL}: answers its golden input as promised" in told(found, "ok")
    assert "damaged: " in told(found, "warning")
    assert "is not the model of its contract" in told(found, "warning")
    assert "-> restore its files" in told(found, "warning")
    found = list(models.examine(case(Path("/"), None, "model.path=damaged")))
    assert "damaged: " in told(found, "blocks")


def test_a_model_that_is_not_there_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = models.examine(case(Path("/"), None, "model.path=nowhere"))
    assert "No model 'nowhere': expected" in told(found, "blocks")
    monkeypatch.setenv("EDGE_MODELS", str(tmp_path / "nowhere"))
    assert "EDGE_MODELS names" in told(models.examine(case()), "blocks")


def test_a_bare_model_is_run_as_it_is_configured(tiny: Any) -> None:
    bare = [f"model.path={tiny['softmax_uint8']}"]
    found = list(models.examine(case(Path("/"), None, *bare)))
    assert "has no labels inside" in told(found, "blocks")
    found = list(models.examine(case(Path("/"), None, *bare, f"model.bare.labels={tiny.labels}")))
    assert "softmax_uint8.tflite: can be opened and run" in told(found, "ok")
    assert not told(found, "blocks")


def test_an_answer_that_is_not_the_promised_one(bundle_copy: Path) -> None:
    contract = bundle_copy / "model.yaml"
    text = contract.read_text()
    seed = next(line for line in text.splitlines() if line.strip().startswith("seed:"))
    contract.write_text(text.replace(seed, f"{seed.rpartition(' ')[0]} 4711"))
    [tried] = golden.tried([golden.Question(str(bundle_copy), "litert", 1, BareOptions())])
    assert "fails its golden input" in (tried.why or "")


def test_what_crashes_the_runtime_keeps_no_other_from_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    package(tmp_path, "tflite_runtime/interpreter.py", code, monkeypatch)
    bundle = str(ROOT / "models" / MODEL)
    names = ("tflite", "litert", "tflite")
    found = list(golden.tried([golden.Question(bundle, name, 1, BareOptions()) for name in names]))
    assert [each.why for each in found] == ["it ends with SIGSEGV", None, "it ends with SIGSEGV"]
    assert found[1].golden


def test_what_never_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "tflite_runtime/interpreter.py", "import time; time.sleep(60)", monkeypatch)
    monkeypatch.setattr(golden, "LIMIT_S", 1.0)
    [found] = golden.tried([golden.Question(str(ROOT / "models" / MODEL), "tflite", 1, BareOptions())])
    assert found.why == "it was not done within 1 s"


def test_what_a_compiled_file_does_not_tell_is_asked_for_as_by_a_run(tiny: Any, tmp_path: Path) -> None:
    model = tmp_path / "tiny_edgetpu.tflite"
    model.write_bytes(compiled(Path(tiny["softmax_uint8"]).read_bytes()))
    labels, activation = f"model.bare.labels={tiny.labels}", "model.bare.activation=softmax"
    for name in ("auto", "edgetpu"):
        of = [Path("/"), None, f"model.path={model}", f"runtime.name={name}"]
        found = told(models.examine(case(*of, labels)), "blocks")
        assert (
            f"{model} does not tell what its outputs are: say --activation softmax, sigmoid or logits, or put the file "
            "that it was compiled from, tiny.tflite, beside it. -> correct what it names"
        ) in found
    assert "has no labels inside" in told(models.examine(case(*of, activation)), "blocks")
    assert not told(models.examine(case(*of, labels, activation)), "blocks")


def test_a_file_that_is_not_this_users_to_read(tiny: Any, tmp_path: Path) -> None:
    model = Path(shutil.copy(tiny["softmax_uint8"], tmp_path / "tiny.tflite"))
    model.chmod(0o060)
    with bound_by_permissions():
        found = models.examine(case(Path("/"), None, f"model.path={model}"))
        assert f"Permission denied. -> make it readable: `chmod a+r {model}`." in told(found, "blocks")


def test_the_compiled_twin_of_a_bundle_is_known(compiled_bundle: Path, compiled_model: Path, tiny: Any) -> None:
    assert models.compiled_file(compiled_bundle) == compiled_bundle / "model_edgetpu.tflite"
    assert models.compiled_file(compiled_model / "model_edgetpu.tflite") == compiled_model / "model_edgetpu.tflite"
    assert models.compiled_file(compiled_model / "model.tflite") is None
    labels = f"model.bare.labels={compiled_bundle / 'labels.txt'}"
    named = f"model.path={compiled_model / 'model_edgetpu.tflite'}"
    found = list(models.examine(case(Path("/"), None, named, labels)))
    assert "model.tflite: can be opened and run on" in told(found, "ok")
    assert "model_edgetpu.tflite is compiled for an Edge TPU" in told(found, "note")
    (compiled_model / "model.tflite").write_bytes(Path(tiny["softmax_uint8"]).read_bytes())
    found = told(models.examine(case(Path("/"), None, named, labels)), "blocks")
    assert "model.tflite is not the uncompiled twin of " in found
    assert "-> put the right model.tflite there." in found
    shutil.copy(compiled_bundle / "labels.txt", compiled_bundle / "model_edgetpu.tflite")
    assert models.compiled_file(compiled_bundle) is None
    found = list(models.examine(case(Path("/"), None, f"model.path={compiled_bundle}")))
    assert f"{compiled_bundle.name}: " in told(found, "blocks")
