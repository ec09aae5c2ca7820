"""The benchmark's structure, rules and verdict; how fast this machine is, is not tested."""

import json
import shutil

import pytest
import yaml

from edge.errors import AcceleratorError, ConfigError, ModelError
from edge.measuring import bench
from edge.model import bundle as bundles
from edge.model.loading import BareOptions
from edge.runtimes.settings import RuntimeSettings
from tests.conftest import MODEL
from tests.edgetpu import compiled
from tests.test_device import TREES

KEYS = [
    "model",
    "model_sha256",
    "runtime",
    "runtime_version",
    "backend",
    "threads",
    "samples",
    "seconds",
    "load_ms",
    "first_ms",
    "invoke_ms",
    "stages_ms",
    "device",
    "rules",
    "valid",
    "why_invalid",
]
DISTRIBUTION = {"mean", "std", "min", "p50", "p90", "p95", "p99", "p999", "max"}


@pytest.fixture(scope="module")
def result():
    return bench.bench(MODEL, threads=1, seconds=1.0, root=TREES / "x86_64")


def test_the_document_has_the_keys_that_are_promised(result):
    document = json.loads(json.dumps(result.as_json()))
    assert list(document) == KEYS
    assert set(document["invoke_ms"]) == DISTRIBUTION
    assert set(document["stages_ms"]) == {"preprocess", "postprocess"}
    assert all(set(stage) == DISTRIBUTION for stage in document["stages_ms"].values())
    assert document["threads"] == 1


def test_the_rules_were_kept(result):
    assert result.rules.warmup_runs >= 1
    assert result.rules.warmup_s >= 0.5
    assert result.samples >= 64
    assert result.seconds >= 1.0
    assert result.rules.stage_samples >= 64
    assert result.valid
    assert result.why_invalid == ()
    assert result.invoke_ms.p90 is not None


def test_percentiles_are_missing_exactly_where_a_reason_is_given(result):
    reasons = result.rules.insufficient
    for told, given in (
        (result.invoke_ms, reasons["invoke_ms"]),
        (result.stages_ms["preprocess"], reasons["stages_ms"]),
        (result.stages_ms["postprocess"], reasons["stages_ms"]),
    ):
        for name in ("p50", "p90", "p95", "p99", "p999"):
            assert (getattr(told, name) is None) == (name in given)


def test_figures_are_in_the_units_that_they_claim(result):
    assert result.samples * result.invoke_ms.mean / 1000 == pytest.approx(result.seconds, rel=0.5)
    assert result.invoke_ms.min <= result.invoke_ms.p50 <= result.invoke_ms.max
    assert result.load_ms > 0
    assert result.first_ms > 0
    assert 0 <= result.rules.overhead_us < 1000 * result.invoke_ms.min


def test_text_names_the_model_and_the_verdict(result):
    text = bench.text_of(result)
    assert text.startswith(f"{MODEL} on ")
    assert text.splitlines()[-1].startswith("valid: ")
    assert "invoke" in text


def test_too_short_a_run_is_invalid_and_says_so():
    short = bench.bench(MODEL, threads=1, seconds=0.001)
    assert short.samples == 64
    if short.seconds < 1.0:
        assert not short.valid
        assert "too short" in short.why_invalid[0]
        assert "INVALID: too short" in bench.text_of(short)


@pytest.mark.parametrize(
    ("board", "bits", "word"),
    [
        ("raspberry_pi_3", "80008", "soft temperature limit"),
        ("raspberry_pi_3", "1", "under-voltage"),
        ("raspberry_pi_5", "0x4", "throttled"),
    ],
)
def test_a_board_that_is_held_back_makes_the_run_invalid(tmp_path, board, bits, word):
    tree = tmp_path / board
    shutil.copytree(TREES / board, tree)
    if board == "raspberry_pi_3":
        (tree / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text(f"{bits}\n")
    else:
        (tree / "usr/bin/vcgencmd").write_text(f"#!/bin/sh\necho throttled={bits}\n")
    found = bench.bench(MODEL, threads=1, seconds=1.0, root=tree)
    assert not found.valid
    assert word in " ".join(found.why_invalid)
    assert found.device["during"]["throttled"] == (word,)


def test_sensors_of_the_run_are_reported(tmp_path):
    found = bench.bench(MODEL, threads=1, seconds=0.01, root=TREES / "raspberry_pi_5")
    assert found.device["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert found.device["during"] == {
        "temperature_c": {"min": 52.1, "max": 52.1},
        "clock_mhz": {"min": 2400.0, "max": 2400.0},
        "throttled": (),
    }
    assert "Raspberry Pi 5" in bench.text_of(found)


def test_a_model_that_answers_wrongly_gets_no_figures(tmp_path):
    bundle = tmp_path / MODEL
    shutil.copytree(bundles.locate(MODEL), bundle)
    contract = yaml.safe_load((bundle / "model.yaml").read_text())
    contract["golden"]["top5"].reverse()
    (bundle / "model.yaml").write_text(yaml.safe_dump(contract))
    with pytest.raises(ModelError, match="golden input"):
        bench.bench(str(bundle), threads=1, seconds=0.01)


def test_errors_are_those_of_opening_the_model(tmp_path):
    with pytest.raises(ConfigError, match="more than 0"):
        bench.bench(MODEL, seconds=0.0)
    page = tmp_path / "page.tflite"
    page.write_text("<html>404</html>")
    with pytest.raises(ModelError, match=r"page\.tflite"):
        bench.bench(str(page))
    with pytest.raises(ModelError, match="No model 'absent'"):
        bench.bench("absent")
    with pytest.raises(ConfigError, match="No runtime 'gpu'"):
        bench.bench(MODEL, runtime="gpu")


@pytest.fixture
def tiny_pair(tiny, tmp_path):
    """A tiny compiled model with its twin beside it, and what it needs to be opened."""
    pytest.importorskip("flatbuffers", reason="flatbuffers comes with ai-edge-litert and TensorFlow")
    content = tiny["softmax_uint8"].read_bytes()
    (tmp_path / "tiny.tflite").write_bytes(content)
    (tmp_path / "tiny_edgetpu.tflite").write_bytes(compiled(content))
    return {"model": str(tmp_path / "tiny_edgetpu.tflite"), "options": BareOptions(labels=str(tiny.labels))}


def test_figures_of_a_stand_in_never_pass_for_an_edge_tpus(tiny_pair, standin):
    standin.set(create_ms=40, first_ms=30, invoke_ms=3)
    result = bench.bench(**tiny_pair, runtime=RuntimeSettings(library=standin.library), threads=1, seconds=0.1)
    assert result.backend == "edgetpu-standin"
    assert result.load_ms >= 40
    assert result.first_ms >= 30
    assert result.invoke_ms.min >= 3
    assert result.rules.choice.startswith("auto chose an Edge TPU")
    assert not result.valid
    assert "stand-in" in result.why_invalid[-1]
    text = bench.text_of(result)
    assert "(edgetpu-standin, 1 thread)" in text
    assert result.rules.choice in text


def test_an_edge_tpu_that_failed_meanwhile_is_no_valid_run(tiny_pair, standin):
    settings = RuntimeSettings(name="edgetpu", library=standin.library)
    standin.set(invoke_ms=5, faults="abort@110")  # no sooner than in the steady state, no later than in the stages
    result = bench.bench(**tiny_pair, runtime=settings, threads=1, seconds=0.5)
    assert "failures of the Edge TPU during the run: 1" in result.why_invalid


@pytest.mark.parametrize("state", [{"devices": ""}, {"invoke_ms": 5, "faults": "abort@30+"}])
def test_figures_of_an_edge_tpu_and_the_cpu_are_never_mixed(tiny_pair, standin, state):
    standin.set(**state)
    settings = RuntimeSettings(name="edgetpu", fallback="cpu", library=standin.library)
    with pytest.raises(AcceleratorError, match=r"cannot be measured|answered in place of the Edge TPU"):
        bench.bench(**tiny_pair, runtime=settings, threads=1, seconds=0.5)


def test_the_cpu_that_auto_chose_is_measured_as_such(tiny_pair, standin):
    standin.set(devices="")
    result = bench.bench(**tiny_pair, runtime=RuntimeSettings(library=standin.library), threads=1, seconds=0.01)
    assert result.backend == "cpu"
    assert "none is plugged in" in result.rules.choice
